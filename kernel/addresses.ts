/** Changes of this network namespace's addresses and links, as rtnetlink(7) tells them. */
import { callFailed } from './error.js';
import { errno, libc, type Watch, watchFd } from './native.js';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
const RTMGRP_LINK = 0x1;
const RTMGRP_IPV4_IFADDR = 0x10;
const RTMGRP_IPV6_IFADDR = 0x100;
const ENOBUFS = 105;

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
