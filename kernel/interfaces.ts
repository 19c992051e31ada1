/** The served interfaces: which can be, and the programs on them. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { DIRECTIONS, type Pair, wayOf } from './attachment.js';
import { callFailed, KernelError } from './error.js';
import { errno, libc } from './native.js';

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

/** Of struct ifreq: the name, then a struct sockaddr whose family is the hardware's type. */
const IFREQ_SIZE = 40;
const IFREQ_TYPE = 16;
const SIOCGIFHWADDR = 0x8927;
// include/uapi/linux/if_arp.h: the kinds whose packets begin with an Ethernet header
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;

/** ARPHRD_ of an interface; by ioctl, since /sys may be that of another network namespace. */
function hardwareType(name: string): number {
  const fd: number = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw callFailed('opening a socket', errno());
  const request = Buffer.alloc(IFREQ_SIZE);
  request.write(name, 'latin1');
  const failed = libc.ioctl(fd, SIOCGIFHWADDR, request) ? errno() : 0;
  libc.close(fd);
  if (failed) throw callFailed(`asking what kind of interface ${name} is`, failed);
  return request.readUInt16LE(IFREQ_TYPE);
}

/**
 * ifindex of an interface of the present network namespace that can be served.
 * @throws KernelError NO_INTERFACE, NOT_ETHERNET
 */
export function interfaceIndex(name: string): number {
  const ifindex: number = libc.ifNameToIndex(name);
  if (!ifindex) {
    throw new KernelError('NO_INTERFACE', `interface ${name} does not exist; change Interface`);
  }
  const type = hardwareType(name);
  if (type !== ARPHRD_ETHER && type !== ARPHRD_LOOPBACK) {
    throw new KernelError(
      'NOT_ETHERNET',
      `interface ${name} is not Ethernet (its type is ${type}): tunnels and the like cannot be ` +
        'served; change Interface',
    );
  }
  return ifindex;
}

/**
 * ifindex where the programs are on an interface; undefined where they are not, or it is not there.
 * An interface that has left the network namespace and come back has lost them, under one number.
 */
export function attachedIndex(name: string): number | undefined {
  const ifindex: number = libc.ifNameToIndex(name);
  if (!ifindex) return undefined;
  const way = wayOf(ifindex);
  const both = DIRECTIONS.every((direction) => way.find(ifindex, direction) !== undefined);
  return both ? ifindex : undefined;
}

/** Only where it is not so yet: the kernel takes each writing of some of them for a change. */
function setSysctl(path: string, value: string, from?: string): void {
  const now = readFileSync(path, 'latin1').trim();
  if (now !== value && (from === undefined || now === from)) writeFileSync(path, value);
}

/**
 * Without forwarding the kernel finds no route for a translated packet. A router that is not told
 * otherwise believes no router's advertisement: an interface that lived by them goes on to.
 */
function letForward(name: string): void {
  const [ipv4, ipv6] = ['ipv4', 'ipv6'].map(
    (family) => `/proc/sys/net/${family}/conf/${name.replaceAll('.', '/')}`,
  );
  setSysctl(`${ipv4}/forwarding`, '1');
  if (!existsSync(ipv6)) return; // the kernel, or this interface, has no IPv6
  setSysctl(`${ipv6}/accept_ra`, '2', '1');
  setSysctl(`${ipv6}/forwarding`, '1');
}

/**
 * Put the programs on an interface, in place of an older version, and let it forward.
 * @throws KernelError NO_INTERFACE, NOT_ETHERNET
 */
export function attachInterface(name: string, programs: Pair<number>): void {
  const ifindex = interfaceIndex(name);
  const way = wayOf(ifindex);
  for (const direction of DIRECTIONS) {
    const error = way.attach(ifindex, direction, programs[direction]);
    if (error < 0) throw callFailed(`attaching the ${direction} program to ${name}`, error);
  }
  letForward(name);
}

/** Take the programs off an interface; one that is gone has none. */
export function detachInterface(name: string): void {
  const ifindex: number = libc.ifNameToIndex(name);
  if (!ifindex) return;
  const way = wayOf(ifindex);
  for (const direction of DIRECTIONS) way.detach(ifindex, direction);
}

/** Interfaces of the present network namespace whose packets that program sees first. */
export function servedBy(programId: number): string[] {
  const names = readFileSync('/proc/self/net/dev', 'latin1').match(/^ *[^:\s]+(?=:)/gm) ?? [];
  return names
    .map((name) => name.trim())
    .filter((name) => {
      const ifindex: number = libc.ifNameToIndex(name);
      return ifindex > 0 && wayOf(ifindex).find(ifindex, 'ingress') === programId;
    });
}
