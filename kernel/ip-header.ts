/** IP headers and checksums of packets that this node says itself, written where they are sent from. */
import { isMapped } from './record/record.js';

export const IPPROTO_ICMP = 1;
export const IPPROTO_TCP = 6;
export const IPPROTO_ICMPV6 = 58;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const HOPS = 64;
const DONT_FRAGMENT = 0x4000;

/** Two addresses of 16 octets each, side by side, mapped where they are IPv4: as a tuple has them. */
export interface AddressPair {
  readonly bytes: Uint8Array;
  readonly offset: number;
}

export const isIpv4 = ({ bytes, offset }: AddressPair): boolean => isMapped(bytes, offset);

/** Octets of a header of this family. */
export const ipHeaderLength = (v4: boolean): number => (v4 ? IPV4_HEADER : IPV6_HEADER);

/** Ones' complement sum of 16-bit words (RFC 1071), onto sum. The length is even. */
export function add(sum: number, into: Buffer, at: number, length: number): number {
  let total = sum;
  for (let end = at + length; at < end; at += 2) total += (into[at] << 8) | into[at + 1];
  return total;
}

export function checksum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return ~folded & 0xffff;
}

/**
 * Write the header of a packet between the addresses of a pair.
 * @param back from the second address to the first
 * @param length octets that follow it
 * @returns its length
 */
export function writeIpHeader(
  into: Buffer,
  at: number,
  pair: AddressPair,
  back: boolean,
  protocol: number,
  length: number,
): number {
  const v4 = isIpv4(pair);
  const first = pair.offset + (v4 ? 12 : 0);
  const [from, to] = back ? [first + 16, first] : [first, first + 16];
  if (!v4) {
    into.writeUInt32BE(0x60000000, at);
    into.writeUInt16BE(length, at + 4);
    into[at + 6] = protocol;
    into[at + 7] = HOPS;
    for (let i = 0; i < 16; i++) {
      into[at + 8 + i] = pair.bytes[from + i];
      into[at + 24 + i] = pair.bytes[to + i];
    }
    return IPV6_HEADER;
  }
  into.writeUInt16BE(0x4500, at);
  into.writeUInt16BE(IPV4_HEADER + length, at + 2);
  into.writeUInt16BE(0, at + 4);
  into.writeUInt16BE(DONT_FRAGMENT, at + 6);
  into[at + 8] = HOPS;
  into[at + 9] = protocol;
  into.writeUInt16BE(0, at + 10);
  for (let i = 0; i < 4; i++) {
    into[at + 12 + i] = pair.bytes[from + i];
    into[at + 16 + i] = pair.bytes[to + i];
  }
  into.writeUInt16BE(checksum(add(0, into, at, IPV4_HEADER)), at + 10);
  return IPV4_HEADER;
}

/** What a protocol's checksum adds of the header that was written at `at`: addresses, protocol, length. */
export function pseudoHeader(
  into: Buffer,
  at: number,
  v4: boolean,
  protocol: number,
  length: number,
): number {
  return v4 ? add(protocol + length, into, at + 12, 8) : add(protocol + length, into, at + 8, 32);
}
