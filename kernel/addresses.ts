/** Changes of this network namespace's addresses and links, as rtnetlink(7) tells them. */
import { readFileSync } from 'node:fs';
import { callFailed } from './error.js';
import { errno, libc, type Watch, watchFd } from './native.js';
import { formatAddress } from './record/record.js';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
const RTMGRP_LINK = 0x1;
const RTMGRP_IPV4_IFADDR = 0x10;
const RTMGRP_IPV6_IFADDR = 0x100;
const ENOBUFS = 105;
// include/uapi/linux/if_addr.h, as /proc/net/if_inet6 shows them
const IFA_F_OPTIMISTIC = 0x04;
const IFA_F_DADFAILED = 0x08;
const IFA_F_TENTATIVE = 0x40;

/**
 * Calls back after addresses have come or gone, or links have gone up or down. What has changed is for the caller to look up: so
 * messages that were lost to a full buffer cost nothing, the loss itself being a sign of change.
 * @throws KernelError
 */
export function watchAddresses(onChange: () => void): Watch {
  const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd: number = libc.socket(AF_NETLINK, type, NETLINK_ROUTE);
  if (fd < 0) throw callFailed('opening an rtnetlink socket', errno());
  const address = Buffer.alloc(12); // struct sockaddr_nl: family, pad, port (the kernel's choice), groups
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, 8);
  if (libc.bind(fd, address, address.length)) {
    const error = errno();
    libc.close(fd);
    throw callFailed('listening to rtnetlink', error);
  }
  const message = Buffer.alloc(8192);
  const watch = watchFd(fd, 'readable', () => {
    while (Number(libc.recv(fd, message, message.length, 0)) >= 0 || errno() === ENOBUFS);
    onChange();
  });
  return {
    close: () => {
      watch.close();
      libc.close(fd);
    },
  };
}

/**
 * IPv6 addresses of this network namespace of which duplicate detection has not made sure yet, or
 * which it found on another node (RFC 4862 section 5.4), as formatAddress writes them.
 */
export function* doubtfulAddresses(): Generator<string> {
  // address, ifindex, prefix length, scope, flags, name
  for (const line of inet6().split('\n')) {
    const [digits, , , , flags] = line.split(/ +/);
    if (flags === undefined) continue;
    const bits = Number.parseInt(flags, 16);
    const unsure = (bits & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)) === IFA_F_TENTATIVE;
    if (unsure || bits & IFA_F_DADFAILED) yield formatAddress(Buffer.from(digits, 'hex'));
  }
}

/** Of this network namespace; empty where the kernel has no IPv6. */
function inet6(): string {
  try {
    return readFileSync('/proc/self/net/if_inet6', 'utf8');
  } catch {
    return '';
  }
}
