// SPDX-License-Identifier: MIT
/**
 * TCP over IPv4 over Ethernet, as bytes: built from a description that reads like a line of tcpdump,
 * and read back. Every checksum is computed in full over the final bytes, never by difference, so
 * that a packet built here can judge one that the datapath has rewritten.
 */

export type TcpOption =
  | { nop: true }
  | { end: true }
  | { mss: number }
  | { windowScale: number }
  | { sackPermitted: true }
  | { sack: [left: number, right: number][] }
  | { timestamp: [value: number, echo: number] }
  /** Any bytes at all, right or wrong. */
  | { raw: number[] };

export interface Segment {
  /** Address and port, `10.1.0.2:40001`. */
  from: string;
  to: string;
  /** Of S F R P A U, as tcpdump writes them but with A for acknowledgement; default `A`. */
  flags?: string;
  seq: number;
  ack?: number;
  window?: number;
  urgent?: number;
  /** Padded by END to a multiple of four bytes. */
  options?: TcpOption[];
  payload?: string | Uint8Array;
  ttl?: number;
  tos?: number;
  id?: number;
  /** The fragment field of the IP header as a whole: flags and offset. Default: don't fragment. */
  fragment?: number;
  /** Instead of the true header length, in 32-bit words. */
  dataOffset?: number;
  /** Instead of the true length of the IP packet. */
  totalLength?: number;
  /** Ethernet destination; default NODE_MAC. */
  mac?: string;
  etherType?: number;
  protocol?: number;
}

/** The node under test, and whoever sends to it. */
export const NODE_MAC = '02:00:00:00:00:10';
const PEER_MAC = '02:00:00:00:00:01';
export const ETHERNET = 14;
export const IP = 20;
export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
const FLAG_LETTERS = 'FSRPAUEC';

/** The description as an Ethernet frame. */
export function frame(s: Segment): Buffer {
  const options = optionBytes(s.options ?? []);
  const payload = Buffer.from(s.payload ?? '');
  const tcpLength = 20 + options.length + payload.length;
  const bytes = Buffer.alloc(ETHERNET + IP + tcpLength);
  const [fromAddress, fromPort] = endpoint(s.from);
  const [toAddress, toPort] = endpoint(s.to);

  macBytes(s.mac ?? NODE_MAC).copy(bytes, 0);
  macBytes(PEER_MAC).copy(bytes, 6);
  bytes.writeUInt16BE(s.etherType ?? 0x0800, 12);

  const ip = bytes.subarray(ETHERNET);
  ip[0] = 0x45;
  ip[1] = s.tos ?? 0;
  ip.writeUInt16BE(s.totalLength ?? IP + tcpLength, 2);
  ip.writeUInt16BE(s.id ?? 1, 4);
  ip.writeUInt16BE(s.fragment ?? DONT_FRAGMENT, 6);
  ip[8] = s.ttl ?? 64;
  ip[9] = s.protocol ?? 6;
  fromAddress.copy(ip, 12);
  toAddress.copy(ip, 16);
  ip.writeUInt16BE(checksum(ip.subarray(0, IP)), 10);

  const tcp = ip.subarray(IP);
  tcp.writeUInt16BE(fromPort, 0);
  tcp.writeUInt16BE(toPort, 2);
  tcp.writeUInt32BE(s.seq >>> 0, 4);
  tcp.writeUInt32BE((s.ack ?? 0) >>> 0, 8);
  tcp[12] = (s.dataOffset ?? 5 + options.length / 4) << 4;
  tcp[13] = [...(s.flags ?? 'A')].reduce((bits, letter) => bits | flagBit(letter), 0);
  tcp.writeUInt16BE(s.window ?? 0, 14);
  tcp.writeUInt16BE(s.urgent ?? 0, 18);
  options.copy(tcp, 20);
  payload.copy(tcp, 20 + options.length);
  tcp.writeUInt16BE(tcpChecksum(bytes), 16);
  return bytes;
}

/** The Internet checksum (RFC 1071) over `bytes`, as it is to be written. */
export function checksum(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += (part[i] << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** What the TCP checksum of this frame ought to be. */
export function tcpChecksum(bytes: Buffer): number {
  const ip = bytes.subarray(ETHERNET);
  const tcp = Buffer.from(ip.subarray(IP));
  tcp.writeUInt16BE(0, 16);
  const pseudo = Buffer.alloc(12);
  ip.copy(pseudo, 0, 12, 20);
  pseudo[9] = 6;
  pseudo.writeUInt16BE(tcp.length, 10);
  return checksum(pseudo, tcp);
}

/** The frame as one line, for a human who compares two of them. */
export function describe(bytes: Buffer): string {
  if (bytes.length < ETHERNET + IP + 20) return `${bytes.length} bytes: ${bytes.toString('hex')}`;
  const ip = bytes.subarray(ETHERNET);
  const tcp = ip.subarray(IP);
  const header = (tcp[12] >> 4) * 4;
  const address = (at: number): string => [...ip.subarray(at, at + 4)].join('.');
  const flags = [...FLAG_LETTERS].filter((letter) => tcp[13] & flagBit(letter)).join('');
  const sums = [
    checksum(ip.subarray(0, IP)) === 0 ? 'ip sum right' : 'ip sum WRONG',
    tcpChecksum(bytes) === tcp.readUInt16BE(16) ? 'tcp sum right' : 'tcp sum WRONG',
  ];
  return [
    `${address(12)}:${tcp.readUInt16BE(0)} > ${address(16)}:${tcp.readUInt16BE(2)} [${flags}]`,
    `seq ${tcp.readUInt32BE(4)} ack ${tcp.readUInt32BE(8)} win ${tcp.readUInt16BE(14)}`,
    `urg ${tcp.readUInt16BE(18)} ttl ${ip[8]} tos ${ip[1]} len ${ip.readUInt16BE(2)}`,
    `options ${tcp.subarray(20, header).toString('hex') || 'none'}`,
    `payload ${bytes.length - ETHERNET - IP - header} bytes, ${sums.join(', ')}`,
  ].join(', ');
}

function endpoint(text: string): [Buffer, number] {
  const [address, port] = text.split(':');
  return [Buffer.from(address.split('.').map(Number)), Number(port)];
}

function macBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

function flagBit(letter: string): number {
  const bit = FLAG_LETTERS.indexOf(letter);
  if (bit < 0) throw new Error(`no TCP flag '${letter}'`);
  return 1 << bit;
}

function optionBytes(options: TcpOption[]): Buffer {
  const bytes = options.flatMap((option): number[] => {
    if ('nop' in option) return [1];
    if ('end' in option) return [0];
    if ('mss' in option) return [2, 4, option.mss >> 8, option.mss & 0xff];
    if ('windowScale' in option) return [3, 3, option.windowScale];
    if ('sackPermitted' in option) return [4, 2];
    if ('sack' in option) {
      const edges = option.sack.flat().flatMap(word);
      return [5, 2 + edges.length, ...edges];
    }
    if ('timestamp' in option) return [8, 10, ...option.timestamp.flatMap(word)];
    return option.raw;
  });
  while (bytes.length % 4 !== 0) bytes.push(0);
  return Buffer.from(bytes);
}

function word(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}
