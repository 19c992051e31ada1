/**
 * A segment that asks one end of a splice whether it still knows the connection: an acknowledgement
 * without data that the end cannot take, as a keep-alive is (RFC 9293 section 3.8.4). An end that lives
 * answers it by an acknowledgement with its true numbers; one that does not, by RST or not at all.
 */
import {
  add,
  checksum,
  IPPROTO_TCP,
  ipHeaderLength,
  isIpv4,
  pseudoHeader,
  writeIpHeader,
} from './ip-header.js';
import { Option } from './record/layout.js';
import type { Leg, RecordView } from './record/record.js';

const TCP_HEADER = 20;
const ACK = 0x10;
/** Were it ever taken for a true one, it should neither close nor flood the sender's window. */
const WINDOW = 1024;
/** No window is larger (RFC 7323 section 2.3). */
const WINDOW_MAX = 2 ** 30;
/** Two NOPs, then timestamps: kind 8, length 10, TSval 1, TSecr 0. */
const TIMESTAMPS = Buffer.from([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0]);
/** Octets of the largest. */
export const PROBE_MAX = ipHeaderLength(false) + TCP_HEADER + TIMESTAMPS.length;

/**
 * Of the record alone, since no packet has told more: the numbers are those of the moment when the
 * splice began. They are old as a rule, and an end answers to old numbers too. By accident (2^32 octets
 * later) they could be such as it takes in silence; each further round therefore asks from elsewhere.
 *
 * Timestamps come in the second round only. An end may drop what lacks them in silence (RFC 7323
 * section 3.2, FreeBSD), and another what has old ones (Linux since 6.14).
 */
function writeTcpHeader(
  into: Buffer,
  at: number,
  record: RecordView,
  leg: Leg,
  round: number,
): number {
  const other: Leg = leg === 0 ? 1 : 0;
  const timed = round === 2 && record.options & (leg === 0 ? Option.TS0 : Option.TS1);
  const length = TCP_HEADER + (timed ? TIMESTAMPS.length : 0);
  const tuple = record.tuple(leg);
  const expected = record.base(other) + record.seqDelta(other);
  into.writeUInt16BE(tuple.destinationPort, at);
  into.writeUInt16BE(tuple.sourcePort, at + 2);
  into.writeUInt32BE((expected - 1 - (round - 1) * WINDOW_MAX) >>> 0, at + 4);
  into.writeUInt32BE(record.base(leg), at + 8);
  into[at + 12] = (length / 4) << 4;
  into[at + 13] = ACK;
  into.writeUInt16BE(WINDOW, at + 14);
  into.writeUInt32BE(0, at + 16);
  if (timed) TIMESTAMPS.copy(into, at + TCP_HEADER);
  return length;
}

/**
 * Write the whole IP packet, with the addresses of the leg turned round: from this node to the far end.
 * @param leg whose far end is asked
 * @param round from 1
 * @returns its length, at most PROBE_MAX
 */
export function writeProbe(
  into: Buffer,
  at: number,
  record: RecordView,
  leg: Leg,
  round: number,
): number {
  const pair = record.tuple(leg);
  const v4 = isIpv4(pair);
  const tcp = at + ipHeaderLength(v4);
  const length = writeTcpHeader(into, tcp, record, leg, round);
  const ip = writeIpHeader(into, at, pair, true, IPPROTO_TCP, length);
  const sum = pseudoHeader(into, at, v4, IPPROTO_TCP, length);
  into.writeUInt16BE(checksum(add(sum, into, tcp, length)), tcp + 16);
  return ip + length;
}
