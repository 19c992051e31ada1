// SPDX-License-Identifier: MIT
/** What the kernel knows of an end's own socket, and what can be set on it: tcp(7). */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoName } from '../../../kernel/error.js';
import { errno, libc } from '../../../kernel/native.js';
import { fdOf, IPPROTO_TCP, setInteger } from '../../../kernel/socket.js';

const SOL_SOCKET = 1;
const SO_LINGER = 13;
const TCP_INFO = 11;
const TCP_REPAIR = 19;
const TCP_REPAIR_QUEUE = 20;
const TCP_QUEUE_SEQ = 21;
const TCP_TIMESTAMP = 24;
const TCP_RECV_QUEUE = 1;
const TCP_SEND_QUEUE = 2;
const REPAIR_OFF_WITHOUT_PROBE = -1;

/** Offsets in struct tcp_info (linux/tcp.h). */
const InfoOffset = {
  rto: 8,
  sinceSent: 44,
  sndMss: 16,
  pmtu: 60,
  totalRetrans: 100,
  deliveredCe: 196,
  sndWnd: 228,
  rcvWnd: 232,
  size: 240,
} as const;

/** Of include/net/tcp_states.h. */
const TcpState = { CLOSE: 7 } as const;

export function descriptor(socket: Socket): number {
  const fd = fdOf(socket);
  if (fd === undefined) throw new Error('the socket is closed');
  return fd;
}

export function info(socket: Socket): Record<Exclude<keyof typeof InfoOffset, 'size'>, number> & {
  /** TcpState. */
  state: number;
  /** Times that the retransmission timer has doubled; rto, in microseconds, is what it is by now. */
  backoff: number;
  /** Shifts: what the far end applies to its windows, and this one to its own. */
  shifts: [number, number];
} {
  const b = Buffer.alloc(InfoOffset.size);
  if (libc.getsockopt(descriptor(socket), IPPROTO_TCP, TCP_INFO, b, [b.length])) {
    throw new Error(`TCP_INFO: ${errnoName(errno())}`);
  }
  const at = (name: keyof typeof InfoOffset): number => b.readUInt32LE(InfoOffset[name]);
  return {
    rto: at('rto'),
    sinceSent: at('sinceSent'),
    sndMss: at('sndMss'),
    pmtu: at('pmtu'),
    totalRetrans: at('totalRetrans'),
    deliveredCe: at('deliveredCe'),
    sndWnd: at('sndWnd'),
    rcvWnd: at('rcvWnd'),
    state: b[0],
    backoff: b[4],
    shifts: [b[6] & 15, b[6] >> 4],
  };
}

/** Wait until a socket has been reset, whether or not it reads or writes. */
export async function untilReset(socket: Socket, ms: number): Promise<void> {
  for (const deadline = performance.now() + ms; performance.now() < deadline; await sleep(2)) {
    if (socket.errored || info(socket).state === TcpState.CLOSE) return;
  }
  throw new Error(`not reset within ${ms} ms`);
}

export function set(fd: number, level: number, name: number, value: number): void {
  const error = setInteger(fd, level, name, value);
  if (error) throw new Error(`option ${level}/${name}: ${errnoName(error)}`);
}

/** Begin the connection at this sequence number; for a socket that has not connected yet. */
export function beginAt(fd: number, seq: number): void {
  set(fd, IPPROTO_TCP, TCP_REPAIR, 1);
  set(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
  set(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, seq | 0);
  set(fd, IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_WITHOUT_PROBE);
}

/** The next sequence numbers of a connection: what it will send, and what it expects. */
export function numbers(socket: Socket): { seq: number; ack: number } {
  const fd = descriptor(socket);
  const read = (queue: number): number => {
    set(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue);
    const b = Buffer.alloc(4);
    libc.getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, b, [b.length]);
    return b.readUInt32LE();
  };
  set(fd, IPPROTO_TCP, TCP_REPAIR, 1);
  const found = { seq: read(TCP_SEND_QUEUE), ack: read(TCP_RECV_QUEUE) };
  set(fd, IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_WITHOUT_PROBE);
  return found;
}

/** The timestamp that a connection would send now. */
export function timestamp(socket: Socket): number {
  const b = Buffer.alloc(4);
  libc.getsockopt(descriptor(socket), IPPROTO_TCP, TCP_TIMESTAMP, b, [b.length]);
  return b.readUInt32LE();
}

/** Let the timestamps of a connection go on from this value. */
export function timestampsFrom(socket: Socket, value: number): void {
  const fd = descriptor(socket);
  set(fd, IPPROTO_TCP, TCP_REPAIR, 1);
  set(fd, IPPROTO_TCP, TCP_TIMESTAMP, value | 0);
  set(fd, IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_WITHOUT_PROBE);
}

/** Close with an RST, in any state: libuv refuses to after a shutdown. */
export function abort(socket: Socket): void {
  const linger = Buffer.alloc(8);
  linger.writeInt32LE(1, 0); // on, for 0 s
  libc.setsockopt(descriptor(socket), SOL_SOCKET, SO_LINGER, linger, linger.length);
  socket.destroy();
}
