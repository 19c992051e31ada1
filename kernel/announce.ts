/**
 * Tells the neighbours of this node that addresses are here now: their caches still say where they were.
 * Gratuitous ARP for IPv4, as a request and as a reply, since some stacks hear only one of them (RFC 5944
 * section 4.6, RFC 5227 section 3); an unsolicited neighbour advertisement that overrides for IPv6
 * (RFC 4861 section 7.2.6).
 */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { type Family, familyOf, plainAddress } from './endpoint.js';
import { callFailed, errnoName } from './error.js';
import { errno, libc } from './native.js';
import { parseAddress } from './record/record.js';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NO_MAC = '00:00:00:00:00:00';
const BROADCAST = Buffer.from('ffffffffffff', 'hex');
/** ff02::1, all nodes, and its Ethernet address (RFC 2464 section 7). */
const ALL_NODES = Buffer.from('ff020000000000000000000000000001', 'hex');
const ALL_NODES_MAC = Buffer.from('333300000001', 'hex');
const ETH_P_ARP = 0x0806;
const ETH_P_IPV6 = 0x86dd;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const ICMPV6 = 58;
const ADVERTISEMENT = 136;
const FLAG_ROUTER = 0x80;
const FLAG_OVERRIDE = 0x20;
const TARGET_LINK_ADDRESS = 2;
/** Less, and it came by a router (RFC 4861 section 7.1.2). */
const HOPS = 255;

/** An Ethernet interface that an address stands on. */
export interface Place {
  address: string;
  /** Its name, or the label of the address (eth0:1). */
  device: string;
  mac: string;
}

/** One address on one interface: `error` is the system's name, as ENETDOWN. */
export interface Announcement {
  address: string;
  device: string;
  error?: string;
}

/** Interfaces that have an Ethernet address. @param addresses as plainAddress() writes them */
export function placesOf(addresses: readonly string[]): Place[] {
  const wanted = new Set(addresses);
  return Object.entries(networkInterfaces()).flatMap(([device, list = []]) =>
    list
      .map(({ address, mac }) => ({ address: plainAddress(address), device, mac }))
      .filter(({ address, mac }) => mac !== NO_MAC && wanted.has(address)),
  );
}

/**
 * Say once where addresses are, on each interface that they stand on. Of one that stands on none, nothing
 * is said.
 * @throws KernelError when there is no raw socket to be had
 */
export function announce(addresses: readonly string[]): Announcement[] {
  const places = placesOf(addresses);
  if (places.length === 0) return [];
  const fd: number = libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) throw callFailed('opening a packet socket', errno());
  try {
    return places.map(({ address, device, mac }) => {
      const frames = framesFor(address, mac, forwards(device));
      const error = frames.map((frame) => send(fd, device, frame)).find((one) => one !== undefined);
      return error === undefined ? { address, device } : { address, device, error };
    });
  } finally {
    libc.close(fd);
  }
}

/** What is said of an address, as Ethernet frames. @param router the node forwards: others route by it */
export function framesFor(address: string, mac: string, router: boolean): Buffer[] {
  const family: Family = familyOf(address);
  const bytes = Buffer.alloc(16);
  parseAddress(address, bytes);
  const from = Buffer.from(mac.replaceAll(':', ''), 'hex');
  if (family === 6) return [advertisement(bytes, from, router)];
  return [ARP_REQUEST, ARP_REPLY].map((operation) => arp(bytes.subarray(12), from, operation));
}

/** Sender and target are the address itself. */
function arp(address: Buffer, mac: Buffer, operation: number): Buffer {
  const head = Buffer.from([0, 1, 0x08, 0x00, 6, 4, 0, operation]); // Ethernet, IPv4
  // nobody is asked for; a reply says the same address on both sides, or Linux does not override
  const target = operation === ARP_REPLY ? mac : Buffer.alloc(6);
  return Buffer.concat([ethernet(BROADCAST, mac, ETH_P_ARP), head, mac, address, target, address]);
}

function advertisement(address: Buffer, mac: Buffer, router: boolean): Buffer {
  const head = Buffer.alloc(8);
  head[0] = ADVERTISEMENT;
  head[4] = FLAG_OVERRIDE | (router ? FLAG_ROUTER : 0);
  const message = Buffer.concat([head, address, Buffer.from([TARGET_LINK_ADDRESS, 1]), mac]);
  const ip = Buffer.from([0x60, 0, 0, 0, 0, message.length, ICMPV6, HOPS]);
  const pseudo = Buffer.from([0, 0, 0, message.length, 0, 0, 0, ICMPV6]);
  message.writeUInt16BE(checksum(Buffer.concat([address, ALL_NODES, pseudo, message])), 2);
  const link = ethernet(ALL_NODES_MAC, mac, ETH_P_IPV6);
  return Buffer.concat([link, ip, address, ALL_NODES, message]);
}

function ethernet(to: Buffer, from: Buffer, type: number): Buffer {
  return Buffer.concat([to, from, Buffer.from([type >> 8, type & 0xff])]);
}

/** RFC 1071, over an even number of octets. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** What the kernel's own advertisements say with the router flag. */
function forwards(device: string): boolean {
  try {
    const setting = `/proc/sys/net/ipv6/conf/${device.replaceAll('.', '/')}/forwarding`;
    return readFileSync(setting, 'utf8').trim() !== '0';
  } catch {
    return false; // no IPv6 on it
  }
}

function send(fd: number, device: string, frame: Buffer): string | undefined {
  const to = Buffer.alloc(20); // struct sockaddr_ll
  to.writeUInt16LE(AF_PACKET, 0);
  frame.copy(to, 2, 12, 14); // protocol
  to.writeUInt32LE(libc.ifNameToIndex(device), 4);
  to[11] = 6;
  frame.copy(to, 12, 0, 6);
  const sent = Number(libc.sendto(fd, frame, frame.length, 0, to, to.length));
  return sent < 0 ? errnoName(errno()) : undefined;
}
