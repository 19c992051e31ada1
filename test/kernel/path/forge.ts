// SPDX-License-Identifier: MIT
/** IP packets put together by hand, and sent by a raw socket of a namespace (raw(7)). */
import { AF_INET, AF_INET6, type Endpoint, familyOf } from '../../../kernel/endpoint.js';
import { errnoName } from '../../../kernel/error.js';
import { errno, libc } from '../../../kernel/native.js';
import { parseAddress } from '../../../kernel/record/record.js';
import { checksum } from '../../support/packet.js';
import { Flag } from './capture.js';
import { testLibc } from './libc.js';
import type { Namespace } from './namespace.js';

const SOCK_RAW = 3;
const IPPROTO_RAW = 255;
const AF_PACKET = 17;
const ETH_P_IP = 0x0800;
const ETH_P_8021Q = 0x8100;
const ETH_P_IPV6 = 0x86dd;
const TCP = 6;
const DONT_FRAGMENT = 0x4000;

export interface Forged {
  seq: number;
  ack?: number;
  /** Of Flag; default ACK. */
  flags?: number;
  window?: number;
  payload?: Uint8Array;
  ttl?: number;
  tos?: number;
  /** IPv4: a multiple of four octets. */
  ipOptions?: Uint8Array;
  /** TCP: likewise. */
  options?: Uint8Array;
  id?: number;
  mayFragment?: boolean;
}

function octets(address: string): Buffer {
  const mapped = Buffer.alloc(16);
  parseAddress(address, mapped);
  return familyOf(address) === 4 ? mapped.subarray(12) : mapped;
}

function ipHeader(from: string, to: string, protocol: number, length: number, s: Partial<Forged>) {
  const addresses = [octets(from), octets(to)];
  if (familyOf(from) === 6) {
    const b = Buffer.alloc(8);
    b.writeUInt32BE((0x60000000 | ((s.tos ?? 0) << 20)) >>> 0, 0);
    b.writeUInt16BE(length, 4);
    b[6] = protocol;
    b[7] = s.ttl ?? 64;
    return Buffer.concat([b, ...addresses]);
  }
  const options = Buffer.from(s.ipOptions ?? []);
  const b = Buffer.alloc(12);
  b[0] = 0x45 + options.length / 4;
  b[1] = s.tos ?? 0;
  b.writeUInt16BE(20 + options.length + length, 2);
  b.writeUInt16BE(s.id ?? 1, 4);
  b.writeUInt16BE(s.mayFragment ? 0 : DONT_FRAGMENT, 6);
  b[8] = s.ttl ?? 64;
  b[9] = protocol;
  const header = Buffer.concat([b, ...addresses, options]);
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

/** The checksum of a protocol above IP, over the pseudo header too. */
function sum(from: string, to: string, protocol: number, body: Buffer): number {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(body.length, 0);
  tail.writeUInt32BE(protocol, 4);
  return checksum(octets(from), octets(to), tail, body);
}

/** A TCP segment as an IP packet. */
export function segment(from: Endpoint, to: Endpoint, s: Forged): Buffer {
  const options = Buffer.from(s.options ?? []);
  const header = Buffer.alloc(20);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  header.writeUInt32BE(s.seq >>> 0, 4);
  header.writeUInt32BE((s.ack ?? 0) >>> 0, 8);
  header[12] = (20 + options.length) << 2;
  header[13] = s.flags ?? Flag.ACK;
  header.writeUInt16BE(s.window ?? 512, 14);
  const body = Buffer.concat([header, options, Buffer.from(s.payload ?? [])]);
  body.writeUInt16BE(sum(from.address, to.address, TCP, body), 16);
  return Buffer.concat([ipHeader(from.address, to.address, TCP, body.length, s), body]);
}

/** An ICMP error of the family of its addresses, about a packet. */
export function icmpError(
  from: string,
  to: string,
  { type, code, value = 0 }: { type: number; code: number; value?: number },
  about: Buffer,
): Buffer {
  const protocol = familyOf(from) === 4 ? 1 : 58;
  const header = Buffer.alloc(8);
  header[0] = type;
  header[1] = code;
  header.writeUInt32BE(value, 4);
  const body = Buffer.concat([header, about]);
  body.writeUInt16BE(protocol === 1 ? checksum(body) : sum(from, to, protocol, body), 2);
  return Buffer.concat([ipHeader(from, to, protocol, body.length, {}), body]);
}

/** Cut an IPv4 packet into fragments with so many octets of payload each (a multiple of 8). */
export function fragments(packet: Buffer, octetsEach: number): Buffer[] {
  const header = (packet[0] & 15) * 4;
  const pieces: Buffer[] = [];
  for (let at = header; at < packet.length; at += octetsEach) {
    const more = at + octetsEach < packet.length;
    const piece = Buffer.concat([
      packet.subarray(0, header),
      packet.subarray(at, Math.min(at + octetsEach, packet.length)),
    ]);
    piece.writeUInt16BE(piece.length, 2);
    piece.writeUInt16BE((more ? 0x2000 : 0) | ((at - header) / 8), 6);
    piece.writeUInt16BE(0, 10);
    piece.writeUInt16BE(checksum(piece.subarray(0, header)), 10);
    pieces.push(piece);
  }
  return pieces;
}

/** Send an IP packet as it is from a namespace, whatever its source address. */
export function inject(space: Namespace, packet: Buffer): void {
  const v4 = packet[0] >> 4 === 4;
  const family = v4 ? AF_INET : AF_INET6;
  const address = Buffer.alloc(v4 ? 16 : 28);
  address.writeUInt16LE(family, 0);
  packet.copy(address, v4 ? 4 : 8, v4 ? 16 : 24, v4 ? 20 : 40);
  space.run(() => {
    const fd: number = libc.socket(family, SOCK_RAW, IPPROTO_RAW);
    const sent = testLibc.sendto(fd, packet, packet.length, 0, address, address.length);
    const error = errno();
    libc.close(fd);
    if (Number(sent) !== packet.length) throw new Error(`raw socket: ${errnoName(error)}`);
  });
}

function macOf(space: Namespace, device: string): Buffer {
  const [link] = JSON.parse(space.exec('ip', '-json', 'link', 'show', 'dev', device));
  return Buffer.from(link.address.replaceAll(':', ''), 'hex');
}

/** Send an IP packet with a tag of IEEE 802.1Q over a link, from one device of it to the other. */
export function injectTagged(
  from: Namespace,
  device: string,
  to: Namespace,
  toDevice: string,
  vlan: number,
  packet: Buffer,
): void {
  const types = Buffer.alloc(6);
  types.writeUInt16BE(ETH_P_8021Q, 0);
  types.writeUInt16BE(vlan, 2);
  types.writeUInt16BE(packet[0] >> 4 === 4 ? ETH_P_IP : ETH_P_IPV6, 4);
  const frame = Buffer.concat([macOf(to, toDevice), macOf(from, device), types, packet]);
  from.run(() => {
    const address = Buffer.alloc(20); // struct sockaddr_ll
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt32LE(libc.ifNameToIndex(device), 4);
    const fd: number = libc.socket(AF_PACKET, SOCK_RAW, 0);
    const sent = testLibc.sendto(fd, frame, frame.length, 0, address, address.length);
    const error = errno();
    libc.close(fd);
    if (Number(sent) !== frame.length) throw new Error(`packet socket: ${errnoName(error)}`);
  });
}
