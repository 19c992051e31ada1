// SPDX-License-Identifier: MIT
/** Packets that the node says itself: a segment without data, and ICMP errors (RFC 792, RFC 4443). */
import { checksum } from './checksum.js';
import { OptionKind } from './options.js';
import {
  type Address,
  ETHERNET,
  type Flags,
  type Ipv4,
  type Ipv6,
  ipHeaderLength,
  isMapped,
  type Packet,
  pseudoChecksum,
  serialise,
  serialiseIp,
} from './packet.js';
import type { Outcome, Passage } from './world.js';

const OWN_HOP_LIMIT = 64;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
/** Of a quoted segment: TCP's header without options, and IP's if they are no longer than this. */
export const QUOTED_TCP = 20;
const QUOTED_IP_MAX = 124;

export const NO_FLAGS: Flags = {
  cwr: false,
  ece: false,
  urg: false,
  ack: false,
  psh: false,
  rst: false,
  syn: false,
  fin: false,
};

/** An IP header as the node makes it, of the family of its addresses. */
export function ownIp(source: Address, destination: Address): Ipv4 | Ipv6 {
  const common = { source, destination, trafficClass: 0, hopLimit: OWN_HOP_LIMIT };
  if (!isMapped(source)) return { version: 6, ...common, flowLabel: 0, extensions: [] };
  return {
    version: 4,
    ...common,
    id: 0,
    reserved: false,
    dontFragment: true,
    moreFragments: false,
    fragmentOffset: 0,
    options: Buffer.alloc(0),
    sumError: 0,
  };
}

/** Back to where it came from, whoever that was. */
export function swapped(ethernet: Buffer): Buffer {
  return Buffer.concat([ethernet.subarray(6, 12), ethernet.subarray(0, 6), ethernet.subarray(12)]);
}

/** A bare segment from a packet's destination to its source: the packet turned round, and emptied. */
export function answerSegment(
  p: Passage,
  { ethernet, ip, tcp }: Packet,
  seq: number,
  ack: number,
  flags: Partial<Flags>,
): Outcome {
  const answer: Packet = {
    ethernet: swapped(ethernet),
    ip: { ...ip, source: ip.destination, destination: ip.source, hopLimit: OWN_HOP_LIMIT },
    tcp: {
      ...tcp,
      sourcePort: tcp.destinationPort,
      destinationPort: tcp.sourcePort,
      seq,
      ack,
      reserved: 0,
      flags: { ...NO_FLAGS, ...flags },
      window: 0,
      urgent: 0,
      options: Buffer.alloc(tcp.options.length, OptionKind.NOP),
    },
    payload: Buffer.alloc(0),
    padding: Buffer.alloc(0),
  };
  if (answer.ip.version === 4 && answer.ip.options.length > 0) {
    answer.ip.options = Buffer.alloc(answer.ip.options.length, OptionKind.NOP);
    p.count('ip_options');
  }
  return p.answer(serialise(answer));
}

export type IcmpError = 'too big' | 'no route' | 'no host' | 'time exceeded';

/** Type and code, by family. */
export const ICMP_TYPES: Record<4 | 6, Record<IcmpError, [type: number, code: number]>> = {
  4: { 'too big': [3, 4], 'no route': [3, 0], 'no host': [3, 1], 'time exceeded': [11, 0] },
  6: { 'too big': [2, 0], 'no route': [1, 0], 'no host': [1, 3], 'time exceeded': [3, 0] },
};

/** The segment that an error is about, as its sender sent it. */
export interface Quoted {
  source: Address;
  destination: Address;
  sourcePort: number;
  destinationPort: number;
  seq: number;
  /** Of its IP packet. */
  length: number;
}

/** An error about a segment that is not at hand: what is known of it, under bare headers. */
export function errorAbout(error: IcmpError, quoted: Quoted, mtu: number): Buffer {
  const { source, destination, sourcePort, destinationPort, seq, length } = quoted;
  const ip = ownIp(source, destination);
  const tcp = Buffer.alloc(QUOTED_TCP);
  tcp.writeUInt16BE(sourcePort, 0);
  tcp.writeUInt16BE(destinationPort, 2);
  tcp.writeUInt32BE(seq, 4);
  tcp[12] = (QUOTED_TCP / 4) << 4;
  const header = ipHeaderLength(ip);
  const packet = serialiseIp(ip, Buffer.alloc(Math.max(0, length - header)));
  const quote = Buffer.concat([packet.subarray(0, header), tcp]);
  return icmpError(error, source, destination, quote, mtu);
}

/**
 * The error, from where a packet was to go to where it came from: IP's headers of that packet, and
 * TCP's. The quoted TCP checksum is nobody's business (isolated in compare.ts).
 */
function icmpError(
  error: IcmpError,
  source: Address,
  destination: Address,
  quote: Buffer,
  mtu: number,
): Buffer {
  const outer = ownIp(destination, source);
  const [type, code] = ICMP_TYPES[outer.version][error];
  const head = Buffer.alloc(8);
  head[0] = type;
  head[1] = code;
  head.writeUInt32BE(mtu, 4);
  const icmp = Buffer.concat([head, quote]);
  icmp.writeUInt16BE(icmpChecksum(outer, icmp), 2);
  return serialiseIp(outer, icmp, outer.version === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/** Over the message, and in IPv6 over the addresses too (RFC 4443 section 2.3). */
export function icmpChecksum({ version, source, destination }: Ipv4 | Ipv6, icmp: Buffer): number {
  return version === 4 ? checksum(icmp) : pseudoChecksum(source, destination, icmp, IPPROTO_ICMPV6);
}

/** Drops the packet, counted as `why`, and tells its sender. */
export function complain(
  p: Passage,
  packet: Packet,
  why: 'drop_ttl' | 'drop_mtu',
  mtu = 0,
): Outcome {
  const header = ipHeaderLength(packet.ip);
  if (header > QUOTED_IP_MAX) return p.drop(why);
  p.forget();
  p.count(why);
  if (!p.world.mayComplain) {
    p.count('icmp_limited');
    return p.end('drop');
  }
  const { source, destination } = packet.ip;
  const quote = serialise(packet).subarray(ETHERNET, ETHERNET + header + QUOTED_TCP);
  const error = why === 'drop_ttl' ? 'time exceeded' : 'too big';
  p.count(why === 'drop_ttl' ? 'icmp_ttl' : 'icmp_too_big');
  return p.answer(
    Buffer.concat([swapped(packet.ethernet), icmpError(error, source, destination, quote, mtu)]),
  );
}
