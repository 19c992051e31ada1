/**
 * Asks the network who has an address now, as any host there would: a request of ARP (RFC 826), or a
 * neighbour solicitation (RFC 4861 section 4.3). What is announced without being asked counts as well.
 */
import { networkInterfaces } from 'node:os';
import { familyOf } from './endpoint.js';
import { callFailed } from './error.js';
import {
  AF_PACKET,
  ARP_REQUEST,
  arpFrame,
  BROADCAST,
  ETH_P_ARP,
  macOctets,
  packetAddress,
} from './ethernet.js';
import { IPPROTO_ICMPV6 } from './ip-header.js';
import { errno, libc, type Watch, watchFd } from './native.js';
import { parseAddress } from './record/record.js';

const AF_INET6 = 10;
const SOCK_RAW = 3;
const SOCK_FLAGS = 0o2004000; // SOCK_NONBLOCK | SOCK_CLOEXEC
const IPPROTO_IPV6 = 41;
const IPV6_MULTICAST_IF = 17;
const IPV6_MULTICAST_HOPS = 18;
const ICMP6_FILTER = 1;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const SOURCE_LINK_ADDRESS = 1;
const TARGET_LINK_ADDRESS = 2;
/** Less, and it came by a router (RFC 4861 section 7.1.1). */
const HOPS = 255;

/** One that asks, on one interface, for one address. */
export interface WhoHas {
  /** Ask once more. What the system does not send is not told: the next one may go. */
  ask(): void;
  close(): void;
}

/**
 * @param mac of the interface: what comes from this node itself does not count
 * @param answered told of each frame by which somebody else has the address: the station's address
 * @throws KernelError when there is no raw socket to be had
 */
export function whoHas(
  address: string,
  { device, mac }: { device: string; mac: string },
  answered: (mac: string) => void,
): WhoHas {
  const target = Buffer.alloc(16);
  parseAddress(address, target);
  const ask = { device, mac: macOctets(mac) };
  const heard = (station: Buffer): void => {
    if (!station.equals(ask.mac)) answered(station.toString('hex').replace(/..(?!$)/g, '$&:'));
  };
  return familyOf(address) === 4
    ? byArp(target.subarray(12), ask, heard)
    : bySolicitation(target, ask, heard);
}

interface Asker {
  readonly device: string;
  readonly mac: Buffer;
}

function byArp(target: Buffer, { device, mac }: Asker, heard: (mac: Buffer) => void): WhoHas {
  const fd = rawSocket(AF_PACKET, ((ETH_P_ARP & 0xff) << 8) | (ETH_P_ARP >> 8));
  const to = packetAddress(device, ETH_P_ARP, BROADCAST);
  if (libc.bind(fd, to, to.length)) throw failed(fd, `binding to ${device}`);
  const asked = { mac: Buffer.alloc(6), address: target };
  const frame = arpFrame(ARP_REQUEST, { mac, address: ownIpv4(device) }, asked);
  const watch = reading(fd, (bytes, length) => {
    // sender's hardware and protocol address, behind Ethernet's header and eight octets
    if (length >= 42 && bytes.subarray(28, 32).equals(target)) heard(bytes.subarray(22, 28));
  });
  return asker(fd, watch, frame, to);
}

function bySolicitation(
  target: Buffer,
  { device, mac }: Asker,
  heard: (mac: Buffer) => void,
): WhoHas {
  const fd = rawSocket(AF_INET6, IPPROTO_ICMPV6);
  const index = libc.ifNameToIndex(device);
  const filter = Buffer.alloc(32, 0xff); // a bit set: not this type
  filter[ADVERTISEMENT >> 3] &= ~(1 << (ADVERTISEMENT & 7));
  set(fd, IPPROTO_ICMPV6, ICMP6_FILTER, filter);
  set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, int(index));
  set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, int(HOPS));
  const to = Buffer.alloc(28); // struct sockaddr_in6
  to.writeUInt16LE(AF_INET6, 0);
  Buffer.from('ff0200000000000000000001ff000000', 'hex').copy(to, 8);
  target.copy(to, 21, 13); // the solicited-node address ends as the target does
  to.writeUInt32LE(index, 24);
  const head = Buffer.from([SOLICITATION, 0, 0, 0, 0, 0, 0, 0]); // the kernel writes the checksum
  const message = Buffer.concat([head, target, Buffer.from([SOURCE_LINK_ADDRESS, 1]), mac]);
  const watch = reading(fd, (bytes, length) => {
    if (length < 32 || bytes[0] !== ADVERTISEMENT || bytes[24] !== TARGET_LINK_ADDRESS) return;
    if (bytes.subarray(8, 24).equals(target)) heard(bytes.subarray(26, 32));
  });
  return asker(fd, watch, message, to);
}

function asker(fd: number, watch: Watch, message: Buffer, to: Buffer): WhoHas {
  return {
    ask: () => {
      libc.sendto(fd, message, message.length, 0, to, to.length);
    },
    close: () => {
      watch.close();
      libc.close(fd);
    },
  };
}

function reading(fd: number, take: (bytes: Buffer, length: number) => void): Watch {
  const bytes = Buffer.alloc(2048);
  return watchFd(fd, 'readable', () => {
    for (;;) {
      const length = Number(libc.recv(fd, bytes, bytes.length, 0));
      if (length < 0) return;
      take(bytes, length);
    }
  });
}

function rawSocket(family: number, protocol: number): number {
  const fd: number = libc.socket(family, SOCK_RAW | SOCK_FLAGS, protocol);
  if (fd < 0) throw callFailed('opening a raw socket', errno());
  return fd;
}

function failed(fd: number, what: string): Error {
  const error = errno();
  libc.close(fd);
  return callFailed(what, error);
}

function set(fd: number, level: number, option: number, value: Buffer): void {
  if (libc.setsockopt(fd, level, option, value, value.length)) {
    throw failed(fd, 'setting up a socket of neighbour discovery');
  }
}

function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

/** Whoever asks says who asks; without an address of its own it asks as nobody (RFC 5227 section 1.1). */
function ownIpv4(device: string): Buffer {
  const own = (networkInterfaces()[device] ?? []).find(({ family }) => family === 'IPv4');
  const bytes = Buffer.alloc(16);
  if (own) parseAddress(own.address, bytes);
  return bytes.subarray(12);
}
