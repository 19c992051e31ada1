/** One TCP socket below node:net: descriptor, addresses, and the splice options of record.h. */
import type { Server, Socket } from 'node:net';
import {
  AF_INET,
  AF_INET6,
  type Endpoint,
  endpointText,
  isScoped,
  plainAddress,
  socketAddress,
} from './endpoint.js';
import { callFailed, errnoName, KernelError } from './error.js';
import { errno, libc } from './native.js';
import {
  CALL_SIZE,
  CallOffset,
  SNAPSHOT_SIZE,
  SnapshotOffset,
  SOL_SPLICE,
  SocketOption,
  Trait,
  TUPLE_SIZE,
} from './record/layout.js';
import { TupleView } from './record/record.js';

export const IPPROTO_TCP = 6;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_MARK = 36;
const IPPROTO_IP = 0;
const IP_FREEBIND = 15;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_FREEBIND = 78;
const TCP_MAXSEG = 2;
const TCP_REPAIR = 19;
const MSG_DONTWAIT = 0x40;

export const Errno = {
  ENOENT: 2,
  EAGAIN: 11,
  EBUSY: 16,
  EEXIST: 17,
  ENOSPC: 28,
  ENOPROTOOPT: 92,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ECONNRESET: 104,
  ETIMEDOUT: 110,
  EINPROGRESS: 115,
} as const;

/** libuv's handle, as far as it is needed; node:net does not show it. */
interface TcpHandle {
  fd: number;
  reading: boolean;
  readStart(): number;
  readStop(): number;
}

function handleOf(socket: Socket | Server): TcpHandle | undefined {
  return (socket as unknown as { _handle?: TcpHandle })._handle ?? undefined;
}

/** Descriptor of an open socket, or undefined once it is destroyed. */
export function fdOf(socket: Socket | Server): number | undefined {
  const fd = handleOf(socket)?.fd;
  return fd !== undefined && fd >= 0 ? fd : undefined;
}

/**
 * Stop the handle itself from reading (pause() does not) and take what it has read already. The
 * handle claims to be reading, or the next socket.read() would start it again.
 */
export function stopReading(socket: Socket): Buffer {
  const handle = handleOf(socket);
  socket.pause();
  if (handle) {
    handle.readStop();
    handle.reading = true;
  }
  const pieces: Buffer[] = [];
  while (socket.readableLength > 0) {
    const piece: Buffer | null = socket.read();
    if (piece === null) break;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/**
 * Let node:net read again. The handle is started here and now: the stream may believe that a read is
 * under way, and would then never start one. A paused stream stops it by itself once it is full.
 */
export function resumeReading(socket: Socket): void {
  handleOf(socket)?.readStart();
}

export function setInteger(fd: number, level: number, name: number, value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return libc.setsockopt(fd, level, name, bytes, 4) === 0 ? 0 : errno();
}

/**
 * A non-blocking TCP socket bound to an address that this node need not own yet (IP_FREEBIND), so
 * that a backup is ready before the address comes. Other than EADDRINUSE, failures throw.
 * @returns the descriptor, or undefined when the port is in use
 */
export function boundSocket(local: Endpoint): number | undefined {
  const name = socketAddress(local);
  const domain = name.readUInt16LE(0);
  const fd: number = libc.socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw callFailed('making a socket', errno());
  setInteger(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (domain === AF_INET) setInteger(fd, IPPROTO_IP, IP_FREEBIND, 1);
  if (domain === AF_INET6) {
    setInteger(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
    setInteger(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1); // another may listen on the IPv4 wildcard
  }
  if (libc.bind(fd, name, name.length) === 0) return fd;
  const error = errno();
  libc.close(fd);
  if (error === Errno.EADDRINUSE) return undefined;
  throw new KernelError(
    'SYSTEM_CALL',
    `${endpointText(local)} cannot be bound: ${errnoName(error)}`,
  );
}

/** Largest segment to announce and to send, without options; 0 leaves it to the path. */
export function setMss(fd: number, mss: number): void {
  setInteger(fd, IPPROTO_TCP, TCP_MAXSEG, mss);
}

export function setMark(fd: number, mark: number): void {
  setInteger(fd, SOL_SOCKET, SO_MARK, mark);
}

/** The pending error of a socket (errno), or 0. */
export function pendingError(fd: number): number {
  const value = Buffer.alloc(4);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, [4])) return errno();
  return value.readInt32LE();
}

/** Read at most length bytes that are there already. */
export function receive(fd: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  const got = Number(libc.recv(fd, bytes, length, MSG_DONTWAIT));
  return got > 0 ? bytes.subarray(0, got) : Buffer.alloc(0);
}

/** Close without a word to the far end (TCP_REPAIR, tcp(7)): the splice has the connection now. */
export function closeSilently(socket: Socket): void {
  const fd = fdOf(socket);
  if (fd !== undefined) setInteger(fd, IPPROTO_TCP, TCP_REPAIR, 1);
  socket.destroy();
}

/** One socket as the datapath sees it; sequence numbers modulo 2^32. See struct splice_snapshot. */
export interface Snapshot {
  id: bigint;
  established: boolean;
  rcvNxt: number;
  copiedSeq: number;
  mss: number;
  timestamps: boolean;
  sack: boolean;
  ecn: boolean;
  outOfOrder: boolean;
  /** MD5 or AO. */
  signed: boolean;
  mptcp: boolean;
  /** Data came in the SYN. */
  synData: boolean;
}

const TCP_ESTABLISHED = 1;

/** @returns undefined where the datapath is not loaded, or the socket is outside its cgroup */
export function snapshot(fd: number): Snapshot | undefined {
  const b = Buffer.alloc(SNAPSHOT_SIZE);
  if (libc.getsockopt(fd, SOL_SPLICE, SocketOption.SNAPSHOT, b, [b.length])) return undefined;
  const has = (trait: number): boolean => (b[SnapshotOffset.traits] & trait) !== 0;
  return {
    id: b.readBigUInt64LE(SnapshotOffset.id),
    established: b.readUInt32LE(SnapshotOffset.tcpState) === TCP_ESTABLISHED,
    rcvNxt: b.readUInt32LE(SnapshotOffset.rcvNxt),
    copiedSeq: b.readUInt32LE(SnapshotOffset.copiedSeq),
    mss: b.readUInt32LE(SnapshotOffset.mss),
    timestamps: has(Trait.TIMESTAMPS),
    sack: has(Trait.SACK),
    ecn: has(Trait.ECN),
    outOfOrder: has(Trait.OUT_OF_ORDER),
    signed: has(Trait.SIGNED),
    mptcp: has(Trait.MPTCP),
    synData: has(Trait.SYN_DATA),
  };
}

/** The address pair of a leg, from its far end to this node. */
export interface LegAddresses {
  far: Endpoint;
  here: Endpoint;
}

export type SocketCall = (typeof SocketOption)[keyof typeof SocketOption];

/**
 * Make one call of enum splice_sockopt.
 * @param pending bytes that will still be written, by leg; @param legs for RESERVE and ABORT
 * @returns 0 or the errno that record.h names
 */
export function spliceCall(
  fd: number,
  option: SocketCall,
  { pending = [0, 0], legs = [] }: { pending?: [number, number]; legs?: LegAddresses[] } = {},
): number {
  const call = Buffer.alloc(CALL_SIZE);
  call.writeUInt32LE(pending[0], CallOffset.pending);
  call.writeUInt32LE(pending[1], CallOffset.pending + 4);
  for (const [leg, { far, here }] of legs.entries()) {
    const tuple = new TupleView(call, CallOffset.tuple + TUPLE_SIZE * leg);
    tuple.source = far.address;
    tuple.destination = here.address;
    tuple.sourcePort = far.port;
    tuple.destinationPort = here.port;
  }
  return libc.setsockopt(fd, SOL_SPLICE, option, call, call.length) === 0 ? 0 : errno();
}

/**
 * Addresses of a connected socket, or undefined when it is not (or no longer) connected. Those of a
 * socket that takes both families are mapped ones (::ffff:a.b.c.d) for a client of IPv4.
 */
export function legAddresses(socket: Socket): LegAddresses | undefined {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (!remoteAddress || !remotePort || !localAddress || !localPort) return undefined;
  return {
    far: { address: plainAddress(remoteAddress), port: remotePort },
    here: { address: plainAddress(localAddress), port: localPort },
  };
}

/** An end of it is only known together with an interface: the table cannot hold that. */
export const isLinkLocal = ({ far, here }: LegAddresses): boolean =>
  isScoped(far.address) || isScoped(here.address);
