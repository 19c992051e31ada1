/**
 * The table as text: the columns of the old /proc/net/tcp_splice_conn, then ours. The pinned
 * iterator prints the same columns from inside the kernel (kernel/bpf/print.h).
 */
import type { Counters } from './counted.js';
import { RecordOffset, TUPLE_SIZE, TupleOffset } from './layout.js';
import type { Page } from './page.js';
import { isMapped, type RecordView } from './record.js';
import { expires, type NodeNames, nodeName, overallState, type Rendering } from './rendering.js';

/** 8 hexadecimal digits for IPv4, 32 for IPv6, in the order of the packet; and 4 for the port. */
function end(page: Page, bytes: Uint8Array, address: number, port: number): void {
  page.hex(bytes, address + (isMapped(bytes, address) ? 12 : 0), address + 16);
  page.text(' ');
  page.hex(bytes, port, port + 2);
  page.text(' ');
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

  record(page: Page, record: RecordView, names: NodeNames, counters?: Counters): void {
    const { bytes } = record;
    const client = record.offset + RecordOffset.tuple;
    const server = client + TUPLE_SIZE;
    end(page, bytes, client + TupleOffset.saddr, client + TupleOffset.sport);
    end(page, bytes, client + TupleOffset.daddr, client + TupleOffset.dport);
    end(page, bytes, server + TupleOffset.daddr, server + TupleOffset.dport);
    end(page, bytes, server + TupleOffset.saddr, server + TupleOffset.sport);
    page.text(
      `${overallState(record).padEnd(11)} ${String(expires(record)).padStart(7)} ` +
        `${column(nodeName(record.origin, names))} ${column(nodeName(record.owner, names))} ` +
        `${String(record.epoch).padStart(5)} ${String(record.generation).padStart(3)} ${record.id}` +
        `${counters ? counts(counters) : ''}\n`,
    );
  },

  tail: '',
};
