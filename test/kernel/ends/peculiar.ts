// SPDX-License-Identifier: MIT
/** TCP connections of the kinds that cannot be spliced: both sides of their sockets. */
import { type Server, Socket } from 'node:net';
import { type Endpoint, socketAddress } from '../../../kernel/endpoint.js';
import { errnoName } from '../../../kernel/error.js';
import { errno, libc } from '../../../kernel/native.js';
import { Errno, fdOf, IPPROTO_TCP, setInteger } from '../../../kernel/socket.js';

export type Peculiarity = 'signed' | 'mptcp' | 'syn_data';

const IPPROTO_MPTCP = 262;
const SOCK_STREAM_NONBLOCK = 0x801;
const TCP_MD5SIG = 14;
const TCP_FASTOPEN = 23;
const TCP_FASTOPEN_CONNECT = 30;
const KEY = Buffer.from('both ends know it');

function check(error: number, what: string): void {
  if (error) throw new Error(`${what}: ${errnoName(error)}`);
}

/** Sign what goes to, and comes from, this address: struct tcp_md5sig (linux/tcp.h). */
function sign(fd: number, peer: string): void {
  const signature = Buffer.alloc(216);
  socketAddress({ address: peer, port: 0 }).copy(signature, 0);
  signature.writeUInt16LE(KEY.length, 130);
  KEY.copy(signature, 136);
  const failed = libc.setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, signature, signature.length);
  check(failed ? errno() : 0, 'TCP_MD5SIG');
}

function newSocket(address: string, protocol: number): number {
  const domain = socketAddress({ address, port: 0 }).readUInt16LE(0);
  const fd: number = libc.socket(domain, SOCK_STREAM_NONBLOCK, protocol);
  check(fd < 0 ? errno() : 0, `socket of protocol ${protocol}`);
  return fd;
}

/** The client's side; what is written first goes into the SYN for 'syn_data'. */
export function peculiarConnect(kind: Peculiarity, to: Endpoint): Socket {
  const fd = newSocket(to.address, kind === 'mptcp' ? IPPROTO_MPTCP : 0);
  if (kind === 'signed') sign(fd, to.address);
  if (kind === 'syn_data') check(setInteger(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1), 'Fast Open');
  const name = socketAddress(to);
  const error = libc.connect(fd, name, name.length) ? errno() : 0;
  if (error !== Errno.EINPROGRESS) check(error, 'connect');
  return new Socket({ fd, allowHalfOpen: true, readable: true, writable: true });
}

/** Listens for such clients; `from` is the client's address. */
export async function peculiarListen(
  kind: Peculiarity,
  server: Server,
  at: Endpoint,
  from: string,
): Promise<void> {
  const fd = newSocket(at.address, kind === 'mptcp' ? IPPROTO_MPTCP : 0);
  const name = socketAddress(at);
  check(libc.bind(fd, name, name.length) ? errno() : 0, 'bind');
  if (kind === 'signed') sign(fd, from);
  await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  if (kind === 'syn_data') {
    check(setInteger(fdOf(server) as number, IPPROTO_TCP, TCP_FASTOPEN, 16), 'TCP_FASTOPEN');
  }
}
