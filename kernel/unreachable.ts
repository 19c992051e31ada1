/**
 * An ICMP error that takes back one step of a sender's back-off: "destination unreachable" about the first
 * segment that is not acknowledged says that the path, and not congestion, has kept it (RFC 6069). A sender
 * whose timer would have fired by now, but for that step, sends at once.
 */
import {
  add,
  checksum,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  ipHeaderLength,
  isIpv4,
  pseudoHeader,
  writeIpHeader,
} from './ip-header.js';
import type { Leg, RecordView } from './record/record.js';

const ICMP_HEADER = 8;
/** Ports and sequence number: what a host can rely on being quoted (RFC 792, RFC 5927 section 2.2). */
const QUOTED_TCP = 8;
/** Of the segment that is quoted; nobody looks at it. */
const QUOTED_LENGTH = 20;
/** Octets of the largest. */
export const UNREACHABLE_MAX = 2 * ipHeaderLength(false) + ICMP_HEADER + QUOTED_TCP;

/** Type in the high octet, then the code: host unreachable (RFC 792); no route (RFC 4443). */
const HOST_UNREACHABLE = 0x0301;
const NO_ROUTE = 0x0100;

/**
 * Write the whole IP packet, to the far end of a leg and from the address that it knows.
 * @param seq of the far end's first octet that is not acknowledged, in its own numbers
 * @returns its length, at most UNREACHABLE_MAX
 */
export function writeUnreachable(
  into: Buffer,
  at: number,
  record: RecordView,
  leg: Leg,
  seq: number,
): number {
  const pair = record.tuple(leg);
  const v4 = isIpv4(pair);
  const header = ipHeaderLength(v4);
  const protocol = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
  const icmp = at + header;
  const quoted = icmp + ICMP_HEADER;
  const length = ICMP_HEADER + header + QUOTED_TCP;
  into.writeUInt16BE(v4 ? HOST_UNREACHABLE : NO_ROUTE, icmp);
  into.writeUInt16BE(0, icmp + 2);
  into.writeUInt32BE(0, icmp + 4);
  writeIpHeader(into, quoted, pair, false, IPPROTO_TCP, QUOTED_LENGTH);
  into.writeUInt16BE(pair.sourcePort, quoted + header);
  into.writeUInt16BE(pair.destinationPort, quoted + header + 2);
  into.writeUInt32BE(seq >>> 0, quoted + header + 4);
  writeIpHeader(into, at, pair, true, protocol, length);
  const sum = v4 ? 0 : pseudoHeader(into, at, v4, protocol, length);
  into.writeUInt16BE(checksum(add(sum, into, icmp, length)), icmp + 2);
  return header + length;
}
