/**
 * A segment that asks one end of a splice whether it still knows the connection: an acknowledgement
 * without data that the end cannot take, as a keep-alive is (RFC 9293 section 3.8.4). An end that lives
 * answers it by an acknowledgement with its true numbers; one that does not, by RST or not at all.
 */
import { Option } from './record/layout.js';
import { isMapped, type Leg, type RecordView } from './record/record.js';

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const TCP_HEADER = 20;
const IPPROTO_TCP = 6;
const ACK = 0x10;
const HOPS = 64;
/** Were it ever taken for a true one, it should neither close nor flood the sender's window. */
const WINDOW = 1024;
/** No window is larger (RFC 7323 section 2.3). */
const WINDOW_MAX = 2 ** 30;
/** Two NOPs, then timestamps: kind 8, length 10, TSval 1, TSecr 0. */
const TIMESTAMPS = Buffer.from([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]);

/** Ones' complement sum of 16-bit words (RFC 1071), onto sum. */
function add(sum: number, bytes: Buffer): number {
  let total = sum;
  for (let at = 0; at < bytes.length; at += 2) total += bytes.readUInt16BE(at);
  return total;
}

function checksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return ~folded & 0xffff;
}

/**
 * Of the record alone, since no packet has told more: the numbers are those of the moment when the
 * splice began. They are old as a rule, and an end answers to old numbers too. By accident (2^32 octets
 * later) they could be such as it takes in silence; each further round therefore asks from elsewhere.
 *
 * Timestamps come in the second round only. An end may drop what lacks them in silence (RFC 7323
 * section 3.2, FreeBSD), and another what has old ones (Linux since 6.14).
 *
 * @param leg whose far end is asked
 * @param round from 1
 */
function tcpHeader(record: RecordView, leg: Leg, round: number): Buffer {
  const other: Leg = leg === 0 ? 1 : 0;
  const timed = round === 2 && record.options & (leg === 0 ? Option.TS0 : Option.TS1);
  const header = Buffer.alloc(TCP_HEADER + (timed ? TIMESTAMPS.length : 0));
  const tuple = record.tuple(leg);
  const expected = record.base(other) + record.seqDelta(other);
  header.writeUInt16BE(tuple.destinationPort, 0);
  header.writeUInt16BE(tuple.sourcePort, 2);
  header.writeUInt32BE((expected - 1 - (round - 1) * WINDOW_MAX) >>> 0, 4);
  header.writeUInt32BE(record.base(leg), 8);
  header[12] = (header.length / 4) << 4;
  header[13] = ACK;
  header.writeUInt16BE(WINDOW, 14);
  if (timed) TIMESTAMPS.copy(header, TCP_HEADER);
  return header;
}

/** The whole IP packet, with the addresses of the leg turned round: from this node to the far end. */
export function probeSegment(record: RecordView, leg: Leg, round: number): Buffer {
  const { bytes, offset } = record.tuple(leg);
  const tuple = Buffer.from(bytes.buffer, bytes.byteOffset + offset, 32);
  const v4 = isMapped(bytes, offset);
  const [from, to] = [tuple.subarray(v4 ? 28 : 16), tuple.subarray(v4 ? 12 : 0, 16)];
  const tcp = tcpHeader(record, leg, round);
  const pseudo = add(add(IPPROTO_TCP + tcp.length, from), to);
  tcp.writeUInt16BE(checksum(add(pseudo, tcp)), 16);
  const ip = v4 ? ipv4Header(tcp.length) : ipv6Header(tcp.length);
  from.copy(ip, v4 ? 12 : 8);
  to.copy(ip, v4 ? 16 : 24);
  if (v4) ip.writeUInt16BE(checksum(add(0, ip)), 10);
  return Buffer.concat([ip, tcp]);
}

function ipv4Header(length: number): Buffer {
  const ip = Buffer.alloc(IPV4_HEADER);
  ip[0] = 0x45;
  ip.writeUInt16BE(IPV4_HEADER + length, 2);
  ip.writeUInt16BE(0x4000, 6); // don't fragment
  ip[8] = HOPS;
  ip[9] = IPPROTO_TCP;
  return ip;
}

function ipv6Header(length: number): Buffer {
  const ip = Buffer.alloc(IPV6_HEADER);
  ip[0] = 0x60;
  ip.writeUInt16BE(length, 4);
  ip[6] = IPPROTO_TCP;
  ip[7] = HOPS;
  return ip;
}
