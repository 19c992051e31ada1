// SPDX-License-Identifier: MIT
/** What passes an interface of a namespace, both ways, by a packet socket (packet(7)). */
import { errnoName } from '../../../kernel/error.js';
import { errno, libc } from '../../../kernel/native.js';
import { formatAddress } from '../../../kernel/record/record.js';
import { setInteger } from '../../../kernel/socket.js';
import { testLibc } from './libc.js';
import type { Namespace } from './namespace.js';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const ETH_P_ALL = 3;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const MSG_TRUNC = 0x20;
const PACKET_OUTGOING = 4;
const SOCKADDR_LL = 20;
const ETHERNET = 14;
/** Enough for every header that is looked at. */
const SNAP = 256;
const BUFFER = 256 << 20;

export const Flag = {
  FIN: 1,
  SYN: 2,
  RST: 4,
  PSH: 8,
  ACK: 16,
  URG: 32,
  ECE: 64,
  CWR: 128,
} as const;

/** The headers of one packet. */
export interface Seen {
  /** It left through the interface; else it came in. */
  out: boolean;
  family: 4 | 6;
  from: string;
  to: string;
  protocol: number;
  ttl: number;
  /** TOS or traffic class; the lowest two bits are ECN. */
  tos: number;
  /** Of the IP packet. */
  length: number;
  /** Of IPv4; of IPv6 all extension headers before TCP. */
  ipOptions: Buffer;
  id: number;
  dontFragment: boolean;
  moreFragments: boolean;
  /** In octets. */
  fragmentOffset: number;
  tcp?: Tcp;
  icmp?: Icmp;
}

export interface Tcp {
  sourcePort: number;
  destinationPort: number;
  seq: number;
  ack: number;
  flags: number;
  window: number;
  urgent: number;
  options: Buffer;
  /** Octets, of a bundle all together. */
  payload: number;
}

export interface Icmp {
  type: number;
  code: number;
  /** Second word of the header: the MTU, where it says one. */
  value: number;
  /** The packet that it is about, as far as it is quoted. */
  about?: Seen;
}

const ICMP = { 4: 1, 6: 58 } as const;
/** Types that quote a packet. */
const isError = (family: 4 | 6, type: number): boolean =>
  family === 4 ? [3, 11, 12].includes(type) : type < 128;

function readTcp(b: Buffer, payloadAt: (header: number) => number): Tcp {
  const whole = b.length >= 20; // a quoted one is 8 octets
  const header = whole ? (b[12] >> 4) * 4 : 0;
  return {
    sourcePort: b.readUInt16BE(0),
    destinationPort: b.readUInt16BE(2),
    seq: b.readUInt32BE(4),
    ack: whole ? b.readUInt32BE(8) : 0,
    flags: whole ? b[13] : 0,
    window: whole ? b.readUInt16BE(14) : 0,
    urgent: whole ? b.readUInt16BE(18) : 0,
    options: b.subarray(20, header),
    payload: payloadAt(header),
  };
}

/** Hop-by-hop and destination options; returns what comes behind them. */
function withoutExtensions(b: Buffer, seen: Seen): Buffer {
  let rest = b;
  while ((seen.protocol === 0 || seen.protocol === 60) && rest.length >= 8) {
    seen.protocol = rest[0];
    rest = rest.subarray((rest[1] + 1) * 8);
  }
  seen.ipOptions = b.subarray(0, b.length - rest.length);
  return rest;
}

/** The headers of an IP packet of either family; undefined for what is none. */
export function read(b: Buffer, out: boolean): Seen | undefined {
  const family = b[0] >> 4;
  if (family !== 4 && family !== 6) return undefined;
  const v4 = family === 4;
  const fixed = v4 ? (b[0] & 15) * 4 : 40;
  if (b.length < fixed) return undefined;
  const mapped = (at: number): Buffer =>
    v4
      ? Buffer.concat([Buffer.from('00000000000000000000ffff', 'hex'), b.subarray(at, at + 4)])
      : b.subarray(at, at + 16);
  const fragment = v4 ? b.readUInt16BE(6) : 0x4000;
  const seen: Seen = {
    out,
    family,
    from: formatAddress(mapped(v4 ? 12 : 8)),
    to: formatAddress(mapped(v4 ? 16 : 24)),
    protocol: b[v4 ? 9 : 6],
    ttl: b[v4 ? 8 : 7],
    tos: v4 ? b[1] : (b.readUInt16BE(0) >> 4) & 0xff,
    length: v4 ? b.readUInt16BE(2) : b.readUInt16BE(4) + 40,
    ipOptions: b.subarray(20, v4 ? fixed : 20),
    id: v4 ? b.readUInt16BE(4) : 0,
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
  };
  const rest = v4 ? b.subarray(fixed) : withoutExtensions(b.subarray(fixed), seen);
  const header = b.length - rest.length;
  if (seen.fragmentOffset > 0 || rest.length < 8) return seen;
  if (seen.protocol === 6) seen.tcp = readTcp(rest, (tcp) => seen.length - header - tcp);
  if (seen.protocol === ICMP[family]) {
    const [type, code, value] = [rest[0], rest[1], rest.readUInt32BE(4)];
    const about = isError(family, type) ? read(rest.subarray(8), !out) : undefined;
    seen.icmp = { type, code, value, ...(about && { about }) };
  }
  return seen;
}

export class Capture {
  readonly #fd: number;
  readonly #seen: Seen[] = [];

  constructor(space: Namespace, device = 'eth0') {
    this.#fd = space.run(() => {
      const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
      setInteger(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER);
      const address = Buffer.alloc(SOCKADDR_LL);
      address.writeUInt16LE(AF_PACKET, 0);
      address.writeUInt16BE(ETH_P_ALL, 2);
      address.writeUInt32LE(libc.ifNameToIndex(device), 4);
      if (fd < 0 || libc.bind(fd, address, address.length)) {
        throw new Error(`packet socket on ${device}: ${errnoName(errno())}`);
      }
      return fd;
    });
  }

  /** Everything since the capture began. */
  get seen(): readonly Seen[] {
    for (;;) {
      const frame = Buffer.alloc(SNAP);
      const from = Buffer.alloc(SOCKADDR_LL);
      const length = testLibc.recvfrom(this.#fd, frame, SNAP, MSG_TRUNC, from, [SOCKADDR_LL]);
      if (Number(length) < 0) return this.#seen;
      const ip = frame.subarray(ETHERNET, Math.min(SNAP, Number(length)));
      const packet = read(ip, from[10] === PACKET_OUTGOING);
      if (packet) this.#seen.push(packet);
    }
  }

  /** The packets with TCP headers, for whoever wants both at hand. */
  get segments(): (Seen & { tcp: Tcp })[] {
    return this.seen.filter((packet): packet is Seen & { tcp: Tcp } => packet.tcp !== undefined);
  }

  get errors(): (Seen & { icmp: Icmp })[] {
    return this.seen.filter(
      (packet): packet is Seen & { icmp: Icmp } => packet.icmp?.about !== undefined,
    );
  }

  close(): void {
    libc.close(this.#fd);
  }
}
