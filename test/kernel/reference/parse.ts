// SPDX-License-Identifier: MIT
/** From a frame to a packet: what is one at all, and what makes no sense. */
import { checksum, sumError } from './checksum.js';
import {
  ETHERNET,
  FRAGMENT,
  fragmentOf,
  IPPROTO_TCP,
  type Ipv4,
  type Ipv6,
  mapped,
  type Packet,
  readTcp,
} from './packet.js';

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
/** Extension headers (RFC 8200 section 4) that do not change where the packet goes: 0 and 60 are options. */
const PASSED_EXTENSIONS = [0, 60, FRAGMENT];
const EXTENSIONS_MAX = 4;

/** A packet of which only the IP header is understood. */
export interface Datagram {
  ethernet: Buffer;
  ip: Ipv4 | Ipv6;
  /** What follows IP's headers. */
  body: Buffer;
  padding: Buffer;
}

export type Parsed =
  /** A segment, or the first fragment of one. */
  | { kind: 'tcp'; packet: Packet }
  /** A fragment that is not the first: it has no TCP header. */
  | { kind: 'later'; datagram: Datagram }
  | { kind: 'icmp'; datagram: Datagram }
  /** Another protocol, or by a way that is the stack's business. */
  | { kind: 'other' }
  /** Headers that contradict the frame, or each other. */
  | { kind: 'malformed' };

const OTHER: Parsed = { kind: 'other' };
const MALFORMED: Parsed = { kind: 'malformed' };

export function parse(frame: Buffer): Parsed {
  const rest = frame.subarray(ETHERNET);
  switch (frame.readUInt16BE(12)) {
    case ETHERTYPE_IPV4:
      return parseIpv4(frame, rest);
    case ETHERTYPE_IPV6:
      return parseIpv6(frame, rest);
  }
  return OTHER;
}

function parseIpv4(frame: Buffer, rest: Buffer): Parsed {
  if (rest.length < 20 || rest[0] >> 4 !== 4) return OTHER;
  const protocol = rest[9];
  if (protocol !== IPPROTO_TCP && protocol !== IPPROTO_ICMP) return OTHER;
  const header = (rest[0] & 15) * 4;
  const length = rest.readUInt16BE(2);
  if (header < 20 || length < header || length > rest.length) return MALFORMED;
  const fragment = rest.readUInt16BE(6);
  const blank = Buffer.from(rest.subarray(0, header));
  blank.writeUInt16BE(0, 10);
  const ip: Ipv4 = {
    version: 4,
    source: mapped(rest.subarray(12, 16)),
    destination: mapped(rest.subarray(16, 20)),
    trafficClass: rest[1],
    hopLimit: rest[8],
    id: rest.readUInt16BE(4),
    reserved: (fragment & 0x8000) !== 0,
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    options: Buffer.from(rest.subarray(20, header)),
    sumError: sumError(rest.readUInt16BE(10), checksum(blank)),
  };
  return contents(frame, ip, protocol, header, length);
}

function parseIpv6(frame: Buffer, rest: Buffer): Parsed {
  if (rest.length < 40 || rest[0] >> 4 !== 6) return OTHER;
  const length = 40 + rest.readUInt16BE(4);
  if (length > rest.length) return MALFORMED;
  const first = rest.readUInt32BE(0);
  const ip: Ipv6 = {
    version: 6,
    source: rest.toString('hex', 8, 24),
    destination: rest.toString('hex', 24, 40),
    trafficClass: (first >>> 20) & 0xff,
    flowLabel: first & 0xfffff,
    hopLimit: rest[7],
    extensions: [],
  };
  let next = rest[6];
  let at = 40;
  while (PASSED_EXTENSIONS.includes(next)) {
    if (at + 8 > length) return MALFORMED;
    if (ip.extensions.length === EXTENSIONS_MAX) return OTHER;
    const end = at + (next === FRAGMENT ? 8 : 8 + 8 * rest[at + 1]);
    ip.extensions.push({ header: next, bytes: Buffer.from(rest.subarray(at, end)) });
    next = rest[at];
    at = end;
    // behind the header of a later fragment stands payload
    if (fragmentOf(ip)?.offset) break;
  }
  if (next !== IPPROTO_TCP && next !== IPPROTO_ICMPV6) return OTHER;
  return contents(frame, ip, next, at, length);
}

/** What follows IP's headers: `header` octets of the `length` that the packet says it has. */
function contents(
  frame: Buffer,
  ip: Ipv4 | Ipv6,
  protocol: number,
  header: number,
  length: number,
): Parsed {
  const rest = frame.subarray(ETHERNET);
  const ethernet = Buffer.from(frame.subarray(0, ETHERNET));
  const body = Buffer.from(rest.subarray(header, length));
  const padding = Buffer.from(rest.subarray(length));
  const fragment = fragmentOf(ip);
  const datagram = { ethernet, ip, body, padding };
  if (protocol !== IPPROTO_TCP) return fragment ? OTHER : { kind: 'icmp', datagram };
  if (fragment?.offset) return { kind: 'later', datagram };
  const read = readTcp(body, ip.source, ip.destination);
  // a first fragment too small for TCP's header is no reason for complaint: the stack puts it together
  if (!read) return fragment ? OTHER : MALFORMED;
  return { kind: 'tcp', packet: { ethernet, ip, ...read, padding } };
}
