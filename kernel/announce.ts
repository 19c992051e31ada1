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
import {
  AF_PACKET,
  ARP_REPLY,
  ARP_REQUEST,
  arpFrame,
  ETH_P_IPV6,
  ethernet,
  macOctets,
  packetAddress,
} from './ethernet.js';
import { add, checksum, IPPROTO_ICMPV6 } from './ip-header.js';
import { errno, libc } from './native.js';
import { parseAddress } from './record/record.js';

const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NO_MAC = '00:00:00:00:00:00';
/** ff02::1, all nodes, and its Ethernet address (RFC 2464 section 7). */
const ALL_NODES = Buffer.from('ff020000000000000000000000000001', 'hex');
const ALL_NODES_MAC = Buffer.from('333300000001', 'hex');
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
  const from = macOctets(mac);
  if (family === 6) return [advertisement(bytes, from, router)];
  return [ARP_REQUEST, ARP_REPLY].map((operation) => arp(bytes.subarray(12), from, operation));
}

/** Sender and target are the address itself. */
function arp(address: Buffer, mac: Buffer, operation: number): Buffer {
  // nobody is asked for; a reply says the same address on both sides, or Linux does not override
  const target = operation === ARP_REPLY ? mac : Buffer.alloc(6);
  return arpFrame(operation, { mac, address }, { mac: target, address });
}

function advertisement(address: Buffer, mac: Buffer, router: boolean): Buffer {
  const head = Buffer.alloc(8);
  head[0] = ADVERTISEMENT;
  head[4] = FLAG_OVERRIDE | (router ? FLAG_ROUTER : 0);
  const message = Buffer.concat([head, address, Buffer.from([TARGET_LINK_ADDRESS, 1]), mac]);
  const ip = Buffer.from([0x60, 0, 0, 0, 0, message.length, IPPROTO_ICMPV6, HOPS]);
  const pseudo = Buffer.from([0, 0, 0, message.length, 0, 0, 0, IPPROTO_ICMPV6]);
  const summed = Buffer.concat([address, ALL_NODES, pseudo, message]);
  message.writeUInt16BE(checksum(add(0, summed, 0, summed.length)), 2);
  const link = ethernet(ALL_NODES_MAC, mac, ETH_P_IPV6);
  return Buffer.concat([link, ip, address, ALL_NODES, message]);
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
  const to = packetAddress(device, frame.readUInt16BE(12), frame.subarray(0, 6));
  const sent = Number(libc.sendto(fd, frame, frame.length, 0, to, to.length));
  return sent < 0 ? errnoName(errno()) : undefined;
}
