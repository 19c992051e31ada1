/** Connections to real servers, made so that they can be spliced. */
import { Socket } from 'node:net';
import { callFailed, errnoName, KernelError } from './error.js';
import { errno, libc, watchFd } from './native.js';
import { MARK_ALIGN, Option, SocketOption } from './record/layout.js';
import { formatAddress } from './record/record.js';
import {
  AF_INET,
  boundSocket,
  type Endpoint,
  Errno,
  fdOf,
  legAddresses,
  pendingError,
  setMark,
  setMss,
  snapshot,
  socketAddress,
  spliceCall,
} from './socket.js';

const SOCK_DGRAM = 2;
const TIMESTAMP_BYTES = 12;
/** Ports tried for one connection before giving up. */
const TRIES = 64;
/** Linux's own default for ephemeral ports (ip_local_port_range). */
export const DEFAULT_PORTS: [number, number] = [32768, 60999];

export interface ConnectOptions extends Endpoint {
  /** The client whose connection is to be joined with this one: the legs' options are aligned. */
  client: Socket;
  /** Address of this node to connect from: one that moves with the virtual address. */
  source?: string;
  /** This node's share of the local ports; a peer that may take over must have another. */
  ports?: [number, number];
  timeoutMs: number;
}

/** Next port to try, by source and real server: each goes round its range, so a port rests longest. */
const nextPort = new Map<string, number>();

function takePort(source: string, to: Endpoint, [low, high]: [number, number]): number {
  const key = `${source} ${to.address}:${to.port}`;
  const next = nextPort.get(key);
  const port =
    next === undefined || next < low || next > high
      ? low + Math.floor(Math.random() * (high - low + 1))
      : next;
  nextPort.set(key, port + 1);
  return port;
}

/** The address that the kernel would send from: what connecting a datagram socket shows. */
function routedSource(to: Endpoint): string {
  const fd: number = libc.socket(AF_INET, SOCK_DGRAM, 0);
  try {
    if (libc.connect(fd, socketAddress(to), 16))
      throw callFailed(`route to ${to.address}`, errno());
    const name = Buffer.alloc(16);
    if (libc.getsockname(fd, name, [16])) throw callFailed('reading a socket name', errno());
    const mapped = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...name.subarray(4, 8)]);
    return formatAddress(mapped);
  } finally {
    libc.close(fd);
  }
}

function alignWithClient(fd: number, client: Socket): void {
  const clientFd = fdOf(client);
  const seen = clientFd === undefined ? undefined : snapshot(clientFd);
  if (!seen) return;
  setMss(fd, seen.mss + (seen.timestamps ? TIMESTAMP_BYTES : 0));
  if (!seen.sack) setMark(fd, MARK_ALIGN | Option.SACK0);
}

/** Forget a connection that came to nothing, and its reservation. */
function giveUp(fd: number, client: Socket): void {
  const clientLeg = legAddresses(client);
  if (clientLeg) spliceCall(fd, SocketOption.ABORT, { legs: [clientLeg] });
  libc.close(fd);
}

/**
 * Bind, reserve the tuple in the splice table, and begin to connect. The table is asked because to the
 * kernel the port of a spliced connection looks free; the kernel, because it may have a connection of
 * these addresses that was never spliced. Only a client that is gone goes without a reservation.
 * @returns the descriptor and connect's errno, or undefined when the port is in use for this server
 */
function begin(
  to: Endpoint,
  here: Endpoint,
  client: Socket,
): { fd: number; error: number } | undefined {
  const fd = boundSocket(here);
  if (fd === undefined) return undefined;
  const clientLeg = legAddresses(client);
  if (clientLeg) {
    const legs = [clientLeg, { far: to, here }];
    // any other failure means that this connection cannot be spliced; splice() will say why
    if (spliceCall(fd, SocketOption.RESERVE, { legs }) === Errno.EEXIST) {
      libc.close(fd);
      return undefined;
    }
  }
  alignWithClient(fd, client);
  const error = libc.connect(fd, socketAddress(to), 16) ? errno() : 0;
  if (error !== Errno.EADDRNOTAVAIL) return { fd, error };
  giveUp(fd, client);
  return undefined;
}

function whenConnected(fd: number, timeoutMs: number): Promise<number> {
  return new Promise((resolve) => {
    const watch = watchFd(fd, 'writable', () => finish(pendingError(fd)));
    const timer = setTimeout(() => finish(Errno.ETIMEDOUT), timeoutMs);
    function finish(error: number): void {
      clearTimeout(timer);
      watch.close();
      resolve(error);
    }
  });
}

/**
 * Connect to a real server.
 * @returns a socket that does not read yet, half-open allowed
 * @throws KernelError SYSTEM_CALL when the server refuses or does not answer in time
 */
export async function connect(options: ConnectOptions): Promise<Socket> {
  const to = { address: options.address, port: options.port };
  const { client, ports = DEFAULT_PORTS } = options;
  const source = options.source ?? routedSource(to);
  for (let i = 0; i < TRIES; i++) {
    const here = { address: source, port: takePort(source, to, ports) };
    const begun = begin(to, here, client);
    if (!begun) continue;
    let { fd, error } = begun;
    if (error === Errno.EINPROGRESS) error = await whenConnected(fd, options.timeoutMs);
    if (error) {
      giveUp(fd, client);
      const name = errnoName(error);
      throw new KernelError('SYSTEM_CALL', `connect ${to.address}:${to.port}: ${name}`, name);
    }
    const how = { fd, allowHalfOpen: true, readable: true, writable: true, pauseOnCreate: true };
    return new Socket(how);
  }
  throw new KernelError(
    'SYSTEM_CALL',
    `no free port from ${source} to ${to.address}:${to.port}; widen ports or add source addresses`,
    'EADDRINUSE',
  );
}
