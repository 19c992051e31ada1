// SPDX-License-Identifier: MIT
/**
 * A packet as a plain object, read from a frame and written to one.
 *
 *   Ethernet │ IPv4 (RFC 791) or IPv6 (RFC 8200) │ TCP (RFC 9293 section 3.1) │ payload │ padding
 *
 * Lengths and checksums are not kept: they are computed when the packet is written. Addresses are 32
 * hexadecimal digits, those of IPv4 mapped (::ffff:a.b.c.d).
 */
import { checksum, spoil, sumError } from './checksum.js';

export type Address = string;

export interface Flags {
  cwr: boolean;
  ece: boolean;
  urg: boolean;
  ack: boolean;
  psh: boolean;
  rst: boolean;
  syn: boolean;
  fin: boolean;
}
const FLAG_BITS: (keyof Flags)[] = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr'];

export interface Tcp {
  sourcePort: number;
  destinationPort: number;
  seq: number;
  ack: number;
  /** The four bits beside the data offset; the lowest is AE, once NS. */
  reserved: number;
  flags: Flags;
  window: number;
  urgent: number;
  options: Buffer;
  /** By how much the checksum is off (checksum.ts). */
  sumError: number;
}

interface Ip {
  source: Address;
  destination: Address;
  /** Type of service, or traffic class: DSCP and, in the lowest two bits, ECN. */
  trafficClass: number;
  /** Time to live, or hop limit. */
  hopLimit: number;
}

export interface Ipv4 extends Ip {
  version: 4;
  id: number;
  reserved: boolean;
  dontFragment: boolean;
  moreFragments: boolean;
  /** In octets. */
  fragmentOffset: number;
  options: Buffer;
  sumError: number;
}

export interface Ipv6 extends Ip {
  version: 6;
  flowLabel: number;
  /** Headers between IPv6's own and TCP's, each with its number. */
  extensions: { header: number; bytes: Buffer }[];
}

/** The extension header of a fragment (RFC 8200 section 4.5). */
export const FRAGMENT = 44;

/** Which piece of a fragmented packet it is; undefined when it is whole. */
export function fragmentOf(ip: Ipv4 | Ipv6): { id: number; offset: number } | undefined {
  if (ip.version === 4) {
    if (!ip.moreFragments && ip.fragmentOffset === 0) return undefined;
    return { id: ip.id, offset: ip.fragmentOffset };
  }
  const header = ip.extensions.find((extension) => extension.header === FRAGMENT)?.bytes;
  if (!header) return undefined;
  const field = header.readUInt16BE(2);
  if ((field & 0xfff9) === 0) return undefined; // the only piece of its packet
  return { id: header.readUInt32BE(4), offset: field & 0xfff8 };
}

export interface Packet {
  ethernet: Buffer;
  ip: Ipv4 | Ipv6;
  tcp: Tcp;
  payload: Buffer;
  /** Behind the end of the IP packet: no part of it. */
  padding: Buffer;
}

export const ETHERNET = 14;
export const IPPROTO_TCP = 6;
const IPV4_HEADER = 20;
const TCP_HEADER = 20;

/** Octets of the IP packet. */
export function ipLength(packet: Packet): number {
  return ipHeaderLength(packet.ip) + tcpHeaderLength(packet.tcp) + packet.payload.length;
}

export function tcpHeaderLength(tcp: Tcp): number {
  return TCP_HEADER + tcp.options.length;
}

export function ipHeaderLength(ip: Ipv4 | Ipv6): number {
  if (ip.version === 4) return IPV4_HEADER + ip.options.length;
  return ip.extensions.reduce((sum, { bytes }) => sum + bytes.length, 40);
}

export function mapped(ipv4: Uint8Array): Address {
  return `00000000000000000000ffff${Buffer.from(ipv4).toString('hex')}`;
}

export const isMapped = (address: Address): boolean =>
  address.startsWith('00000000000000000000ffff');

function ipv4Bytes(address: Address): Buffer {
  return Buffer.from(address.slice(24), 'hex');
}

/** An address as it stands in a header of its family. */
export function addressBytes(address: Address): Buffer {
  return isMapped(address) ? ipv4Bytes(address) : Buffer.from(address, 'hex');
}

/** The sum over the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1) and what follows it. */
export function pseudoChecksum(
  source: Address,
  destination: Address,
  body: Uint8Array,
  protocol = IPPROTO_TCP,
): number {
  const rest = Buffer.alloc(8);
  rest.writeUInt32BE(body.length, 0);
  rest[7] = protocol;
  return checksum(addressBytes(source), addressBytes(destination), rest, body);
}

export function readTcp(
  segment: Buffer,
  source: Address,
  destination: Address,
): { tcp: Tcp; payload: Buffer } | undefined {
  if (segment.length < TCP_HEADER) return undefined;
  const header = (segment[12] >> 4) * 4;
  if (header < TCP_HEADER || header > segment.length) return undefined;
  const flags = Object.fromEntries(
    FLAG_BITS.map((name, bit) => [name, (segment[13] & (1 << bit)) !== 0]),
  ) as unknown as Flags;
  const blank = Buffer.from(segment);
  blank.writeUInt16BE(0, 16);
  const tcp: Tcp = {
    sourcePort: segment.readUInt16BE(0),
    destinationPort: segment.readUInt16BE(2),
    seq: segment.readUInt32BE(4),
    ack: segment.readUInt32BE(8),
    reserved: segment[12] & 15,
    flags,
    window: segment.readUInt16BE(14),
    urgent: segment.readUInt16BE(18),
    options: Buffer.from(segment.subarray(TCP_HEADER, header)),
    sumError: sumError(segment.readUInt16BE(16), pseudoChecksum(source, destination, blank)),
  };
  return { tcp, payload: Buffer.from(segment.subarray(header)) };
}

/** The bytes of a packet, with its lengths and sums. */
export function serialise(packet: Packet): Buffer {
  const { ethernet, ip, padding } = packet;
  return Buffer.concat([ethernet, serialiseIp(ip, tcpBytes(packet)), padding]);
}

/** An IP packet around a body, with its lengths and its header's sum. */
export function serialiseIp(ip: Ipv4 | Ipv6, body: Uint8Array, protocol = IPPROTO_TCP): Buffer {
  const header = ip.version === 4 ? ipv4Header : ipv6Header;
  return Buffer.concat([header(ip as Ipv4 & Ipv6, body.length, protocol), body]);
}

function tcpBytes({ ip, tcp, payload }: Packet): Buffer {
  const header = Buffer.alloc(tcpHeaderLength(tcp));
  header.writeUInt16BE(tcp.sourcePort, 0);
  header.writeUInt16BE(tcp.destinationPort, 2);
  header.writeUInt32BE(tcp.seq, 4);
  header.writeUInt32BE(tcp.ack, 8);
  header[12] = ((header.length / 4) << 4) | tcp.reserved;
  header[13] = FLAG_BITS.reduce((sum, name, bit) => sum | (tcp.flags[name] ? 1 << bit : 0), 0);
  header.writeUInt16BE(tcp.window, 14);
  header.writeUInt16BE(tcp.urgent, 18);
  tcp.options.copy(header, TCP_HEADER);
  const segment = Buffer.concat([header, payload]);
  const right = pseudoChecksum(ip.source, ip.destination, segment);
  segment.writeUInt16BE(spoil(right, tcp.sumError), 16);
  return segment;
}

function ipv4Header(ip: Ipv4, bodyLength: number, protocol: number): Buffer {
  const header = Buffer.alloc(IPV4_HEADER + ip.options.length);
  header[0] = 0x40 | (header.length / 4);
  header[1] = ip.trafficClass;
  header.writeUInt16BE(header.length + bodyLength, 2);
  header.writeUInt16BE(ip.id, 4);
  const bits =
    (ip.reserved ? 0x8000 : 0) | (ip.dontFragment ? 0x4000 : 0) | (ip.moreFragments ? 0x2000 : 0);
  header.writeUInt16BE(bits | (ip.fragmentOffset / 8), 6);
  header[8] = ip.hopLimit;
  header[9] = protocol;
  ipv4Bytes(ip.source).copy(header, 12);
  ipv4Bytes(ip.destination).copy(header, 16);
  ip.options.copy(header, IPV4_HEADER);
  header.writeUInt16BE(spoil(checksum(header), ip.sumError), 10);
  return header;
}

function ipv6Header(ip: Ipv6, bodyLength: number, protocol: number): Buffer {
  const extensions = Buffer.concat(ip.extensions.map(({ bytes }) => bytes));
  const header = Buffer.alloc(40);
  header.writeUInt32BE(((6 << 28) | (ip.trafficClass << 20) | ip.flowLabel) >>> 0, 0);
  header.writeUInt16BE(extensions.length + bodyLength, 4);
  header[6] = ip.extensions[0]?.header ?? protocol;
  header[7] = ip.hopLimit;
  Buffer.from(ip.source, 'hex').copy(header, 8);
  Buffer.from(ip.destination, 'hex').copy(header, 24);
  return Buffer.concat([header, extensions]);
}
