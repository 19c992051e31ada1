/** Connections to real servers, made so that they can be spliced. */
import { Socket } from 'node:net';
import { abort, untilFree } from './busy.js';
import { addressOf, type Endpoint, endpointText, socketAddress } from './endpoint.js';
import { callFailed, errnoName, KernelError } from './error.js';
import { errno, libc, watchFd } from './native.js';
import { MARK_ALIGN, Option, SocketOption } from './record/layout.js';
import {
  boundSocket,
  Errno,
  fdOf,
  isLinkLocal,
  type LegAddresses,
  legAddresses,
  pendingError,
  setMark,
  setMss,
  snapshot,
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
  /**
   * Address of this node to connect from, of the real server's family: one that moves with the
   * virtual address. Default: the one that the kernel would choose.
   */
  source?: string;
  /** Bits of Option (leg 0) to ask the real server for even if the client lacks them. */
  asked?: number;
  /** This node's share of the local ports; a peer that may take over must have another. */
  ports?: [number, number];
  timeoutMs: number;
}

/** Next port to try, by source and real server: each goes round its range, so a port rests longest. */
const nextPort = new Map<string, number>();

function takePort(source: string, to: Endpoint, [low, high]: [number, number]): number {
  const key = `${source} ${endpointText(to)}`;
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
  const there = socketAddress(to);
  const fd: number = libc.socket(there.readUInt16LE(0), SOCK_DGRAM, 0);
  try {
    if (libc.connect(fd, there, there.length)) throw callFailed(`route to ${to.address}`, errno());
    const here = Buffer.alloc(there.length);
    if (libc.getsockname(fd, here, [here.length])) {
      throw callFailed('reading a socket name', errno());
    }
    return addressOf(here);
  } finally {
    libc.close(fd);
  }
}

/** The server leg gets the client's segment size, and none of the options that the client lacks. */
function alignWithClient(fd: number, client: Socket, asked: number): void {
  const clientFd = fdOf(client);
  const seen = clientFd === undefined ? undefined : snapshot(clientFd);
  if (!seen) return;
  setMss(fd, seen.mss + (seen.timestamps ? TIMESTAMP_BYTES : 0));
  const lacking =
    (seen.timestamps ? 0 : Option.TS0) |
    (seen.sack ? 0 : Option.SACK0) |
    (seen.ecn ? 0 : Option.ECN0);
  if (lacking & ~asked) setMark(fd, MARK_ALIGN | (lacking & ~asked));
}

/** A connection on its way. */
interface Attempt {
  client: Socket;
  /** Undefined for a client that is gone, or that the table cannot hold. */
  clientLeg: LegAddresses | undefined;
  to: Endpoint;
  asked: number;
}

/** Forget a connection that came to nothing, and its reservation. */
async function giveUp(fd: number, { clientLeg }: Attempt): Promise<void> {
  libc.close(fd);
  if (clientLeg) await abort([], clientLeg);
}

/**
 * Bind, reserve the tuple in the splice table, and begin to connect. The table is asked because to the
 * kernel the port of a spliced connection looks free; the kernel, because it may have a connection of
 * these addresses that was never spliced. Only a client without a leg goes without a reservation.
 * @returns the descriptor and connect's errno, or undefined when the port is in use for this server
 */
async function begin(
  attempt: Attempt,
  here: Endpoint,
): Promise<{ fd: number; error: number } | undefined> {
  const { client, clientLeg, to, asked } = attempt;
  const fd = boundSocket(here);
  if (fd === undefined) return undefined;
  if (clientLeg) {
    const legs = [clientLeg, { far: to, here }];
    // any other failure means that this connection cannot be spliced; splice() will say why
    const error = await untilFree(() => spliceCall(fd, SocketOption.RESERVE, { legs }));
    if (error === Errno.EEXIST) {
      libc.close(fd);
      return undefined;
    }
  }
  alignWithClient(fd, client, asked);
  const name = socketAddress(to);
  const error = libc.connect(fd, name, name.length) ? errno() : 0;
  if (error !== Errno.EADDRNOTAVAIL) return { fd, error };
  await giveUp(fd, attempt);
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
  const { client, ports = DEFAULT_PORTS, asked = 0 } = options;
  const legs = legAddresses(client);
  const clientLeg = legs && !isLinkLocal(legs) ? legs : undefined;
  const attempt = { client, clientLeg, to, asked };
  const source = options.source ?? routedSource(to);
  for (let i = 0; i < TRIES; i++) {
    const begun = await begin(attempt, { address: source, port: takePort(source, to, ports) });
    if (!begun) continue;
    let { fd, error } = begun;
    if (error === Errno.EINPROGRESS) error = await whenConnected(fd, options.timeoutMs);
    if (error) {
      await giveUp(fd, attempt);
      const name = errnoName(error);
      throw new KernelError('SYSTEM_CALL', `connect ${endpointText(to)}: ${name}`, name);
    }
    const how = { fd, allowHalfOpen: true, readable: true, writable: true, pauseOnCreate: true };
    return new Socket(how);
  }
  throw new KernelError(
    'SYSTEM_CALL',
    `no free port from ${source} to ${endpointText(to)}; widen ports or add source addresses`,
    'EADDRINUSE',
  );
}
