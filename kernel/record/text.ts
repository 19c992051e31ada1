/**
 * The table as text: the columns of the old /proc/net/tcp_splice_conn, then ours. The pinned
 * iterator prints the same columns from inside the kernel (kernel/bpf/print.h).
 */
import type { Counters } from './counted.js';
import { isMapped, type RecordView } from './record.js';
import { expires, type NodeNames, nodeName, overallState, type Rendering } from './rendering.js';

const HEX = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).toUpperCase().padStart(2, '0'),
);

/** 8 hexadecimal digits for IPv4, 32 for IPv6, in the order of the packet. */
function hexAddress(bytes: Uint8Array, at: number): string {
  let hex = '';
  for (let i = at + (isMapped(bytes, at) ? 12 : 0); i < at + 16; i++) hex += HEX[bytes[i]];
  return hex;
}

function hexPort(port: number): string {
  return HEX[port >> 8] + HEX[port & 0xff];
}

/** A name is one column, whatever a peer calls itself. */
function column(name: string): string {
  return name.replace(/[^\x21-\x7e]/g, '?').padEnd(8);
}

function counts(counters: Counters): string {
  return (
    ` ${String(counters.packets(0)).padStart(8)} ${String(counters.bytes(0)).padStart(9)}` +
    ` ${String(counters.packets(1)).padStart(9)} ${String(counters.bytes(1)).padStart(10)}`
  );
}

export const text: Rendering = {
  head: (counted) =>
    'FromIP   FPrt ToIP     TPrt LocalIP  LPrt DestIP   DPrt ' +
    'State       Expires Origin   Owner    Epoch Gen Id' +
    `${counted ? ' OrigPkts OrigBytes ReplyPkts ReplyBytes' : ''}\n`,

  record(record: RecordView, names: NodeNames, counters?: Counters): string {
    const { bytes } = record;
    const client = record.tuple(0);
    const server = record.tuple(1);
    return (
      `${hexAddress(bytes, client.offset)} ${hexPort(client.sourcePort)} ` +
      `${hexAddress(bytes, client.offset + 16)} ${hexPort(client.destinationPort)} ` +
      `${hexAddress(bytes, server.offset + 16)} ${hexPort(server.destinationPort)} ` +
      `${hexAddress(bytes, server.offset)} ${hexPort(server.sourcePort)} ` +
      `${overallState(record).padEnd(11)} ${String(expires(record)).padStart(7)} ` +
      `${column(nodeName(record.origin, names))} ${column(nodeName(record.owner, names))} ` +
      `${String(record.epoch).padStart(5)} ${String(record.generation).padStart(3)} ${record.id}` +
      `${counters ? counts(counters) : ''}\n`
    );
  },

  tail: '',
};
