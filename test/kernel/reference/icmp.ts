// SPDX-License-Identifier: MIT
/**
 * ICMP errors about translated packets. They reach this node, whose address the packet carried, but are
 * meant for its true sender, who knows it by other numbers (RFC 792, 1191, 4443, 5927, 8201).
 */
import { errorAbout, ICMP_TYPES, type IcmpError, type Quoted } from './answer.js';
import { type Entry, type Leg, other } from './entry.js';
import { receiverNext } from './judge.js';
import { isTorn } from './life.js';
import { IPPROTO_TCP, isMapped, mapped } from './packet.js';
import type { Datagram } from './parse.js';
import { ahead, before, subtract } from './serial.js';
import type { Outcome, Passage } from './world.js';

/** From either end of what is under way, where only one is known. */
const NEAR_BYTES = 2 ** 30;
const MTU_MIN_IPV6 = 1280;
/** By what an IPv6 header is longer than an IPv4 header. */
const LONGER = 20;

interface Complaint {
  error: IcmpError;
  mtu: number;
  /** The packet that it is about, as it left this node. */
  quoted: Quoted;
}

/** Undefined: it is not about a packet of a splice. */
export function icmp(p: Passage, datagram: Datagram): Outcome | undefined {
  const complaint = readComplaint(datagram);
  const e = p.entry;
  const leg = e && complaint && legLeftOn(e, complaint.quoted);
  if (!e || !complaint || leg === undefined) return undefined;
  if (!isTorn(e) && (e.state[leg] === 'CLOSE' || e.state[leg] === 'ESTABLISHED')) {
    return undefined;
  }
  const { error, mtu, quoted } = complaint;
  if (e.open[leg] && before(quoted.seq, e.ownEnd[leg])) return undefined; // the socket's own

  const sender = other(leg); // the leg that the segment came in on, and its direction
  const seq = subtract(quoted.seq, e.seqDelta[sender]);
  if (!underWay(e, sender, seq)) return p.drop('icmp_refused');
  if (!p.world.mayComplain) return p.drop('icmp_limited');
  const { far, near, farPort, nearPort } = e.tuple[sender];
  const route = p.world.route(far);
  if (!route) return p.drop('drop_route');
  const from = isMapped(e.tuple[leg].far) ? 4 : 6;
  const to = isMapped(far) ? 4 : 6;
  const longer = from === to ? 0 : to === 6 ? LONGER : -LONGER;
  const original: Quoted = {
    source: far,
    destination: near,
    sourcePort: farPort,
    destinationPort: nearPort,
    seq,
    length: quoted.length + longer,
  };
  p.count('icmp_relayed');
  const message = errorAbout(error, original, error === 'too big' ? carriedMtu(mtu, from, to) : 0);
  return p.relay(Buffer.concat([datagram.ethernet, message]));
}

/** What an error says of a TCP segment; undefined for any other message. */
function readComplaint({ ip, body }: Datagram): Complaint | undefined {
  if (body.length < 8) return undefined;
  const kinds = Object.entries(ICMP_TYPES[ip.version]) as [IcmpError, [number, number]][];
  const error = kinds.find(
    ([, [type, code]]) => body[0] === type && (body[1] === code || isTooBig6(ip.version, type)),
  )?.[0];
  if (!error || error === 'time exceeded') return undefined;
  const mtu = ip.version === 4 ? body.readUInt16BE(6) : body.readUInt32BE(4);
  const quoted = readQuoted(ip.version, body.subarray(8));
  return quoted && { error, mtu, quoted };
}

/** RFC 4443 section 3.2: the code of "packet too big" is ignored by the receiver. */
const isTooBig6 = (version: 4 | 6, type: number): boolean => version === 6 && type === 2;

function readQuoted(version: 4 | 6, packet: Buffer): Quoted | undefined {
  if (packet.length < (version === 4 ? 20 : 40)) return undefined;
  const v4 = version === 4;
  if (packet[v4 ? 9 : 6] !== IPPROTO_TCP) return undefined;
  const header = v4 ? (packet[0] & 15) * 4 : 40;
  if (v4 && (header < 20 || (packet.readUInt16BE(6) & 0x1fff) !== 0)) return undefined;
  if (packet.length < header + 8) return undefined;
  return {
    source: v4 ? mapped(packet.subarray(12, 16)) : packet.toString('hex', 8, 24),
    destination: v4 ? mapped(packet.subarray(16, 20)) : packet.toString('hex', 24, 40),
    sourcePort: packet.readUInt16BE(header),
    destinationPort: packet.readUInt16BE(header + 2),
    seq: packet.readUInt32BE(header + 4),
    length: v4 ? packet.readUInt16BE(2) : 40 + packet.readUInt16BE(4),
  };
}

function legLeftOn(e: Entry, quoted: Quoted): Leg | undefined {
  const leg = e.tuple.findIndex(
    (t) =>
      t.near === quoted.source &&
      t.far === quoted.destination &&
      t.nearPort === quoted.sourcePort &&
      t.farPort === quoted.destinationPort,
  );
  return leg < 0 ? undefined : (leg as Leg);
}

/** Sent and not acknowledged, as far as that is known: the only segments that errors are about. */
function underWay(e: Entry, direction: Leg, seq: number): boolean {
  const next = receiverNext(e, direction);
  const near = (distance: number): boolean => distance >= 0 && distance <= NEAR_BYTES;
  if (next !== undefined && !near(ahead(seq, next))) return false;
  return !e.seen[direction] || near(ahead(e.seenEnd[direction], seq));
}

/** What the sender's own leg may carry. A router that does not say (0, RFC 1191) is taken at the least. */
function carriedMtu(mtu: number, from: 4 | 6, to: 4 | 6): number {
  if (from === to) return mtu;
  if (to === 6) return Math.max(MTU_MIN_IPV6, mtu + LONGER);
  return Math.max(MTU_MIN_IPV6, mtu) - LONGER;
}
