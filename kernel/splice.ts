/**
 * splice(): joins a client's and a server's connection in the kernel. The bytes that the proxy has
 * read and not yet passed on go first; from then on the two ends talk to each other, and the sockets
 * are closed without either noticing.
 *
 *   stop reading → reserve → hold both legs → read all that is acknowledged → settle, activate
 *   → write what was read → both legs acknowledged: commit, close silently
 */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { abort, busyPatienceMs, untilFree } from './busy.js';
import { SocketOption } from './record/layout.js';
import {
  closeSilently,
  Errno,
  fdOf,
  isLinkLocal,
  type LegAddresses,
  legAddresses,
  receive,
  resumeReading,
  type Snapshot,
  type SocketCall,
  snapshot,
  spliceCall,
  stopReading,
} from './socket.js';

/** Why a pair of connections was not spliced. The caller relays it in user space, counted by reason. */
export const REFUSALS = {
  unavailable: 'the splice datapath is not loaded, or this process is outside its cgroup',
  link_local: 'an end has a link-local address, which says nothing without its interface',
  not_established: 'a connection is closing or closed',
  signed: 'a connection is signed (MD5, RFC 2385, or AO, RFC 5925)',
  mptcp: 'a connection is of Multipath TCP (RFC 8684)',
  syn_data: 'a connection began with data in its SYN (Fast Open, RFC 7413)',
  sack_mismatch:
    'one leg has SACK (RFC 2018) and the other has not: losses would stall it for seconds',
  write_pending: 'a socket still has data to write',
  tuple_taken: 'another splice has this address pair',
  table_full: 'the splice table is full',
  table_busy: 'the splice table was being copied for longer than 3 s',
  out_of_order: 'data was missing, with later data there, until the settle timeout',
  not_settled: 'data kept coming until the settle timeout',
} as const;
export type RefusalReason = keyof typeof REFUSALS;

export interface SpliceRequest {
  /** Read from the client already, to be passed to the server first. */
  toServer?: Uint8Array;
  /** Read from the server already, to be passed to the client first. */
  toClient?: Uint8Array;
  /** How long the two ends may take to come to rest. Default 200. */
  settleTimeoutMs?: number;
  /** How long the table may be busy with being copied. Default 3000. */
  busyTimeoutMs?: number;
}

type Limits = Required<Pick<SpliceRequest, 'settleTimeoutMs' | 'busyTimeoutMs'>>;

/** What became of an activated splice's sockets; the splice itself lives on after 'committed'. */
export type SpliceOutcome = 'committed' | 'reset' | 'aborted';

export type SpliceResult =
  | { spliced: true; id: bigint; committed: Promise<SpliceOutcome> }
  | { spliced: false; reason: RefusalReason; toServer: Buffer; toClient: Buffer };

const SETTLE_TIMEOUT_MS = 200;
const SETTLE_ROUND_MS = 1;
const SETTLE_LATE_ROUNDS = 20;
const COMMIT_DELAY_MS = 1;
const COMMIT_DELAY_MAX_MS = 20;
/** After this long only a far end that is slow, or gone, can be the cause: no haste. */
const COMMIT_PATIENCE_MS = 2000;
const COMMIT_DELAY_LATE_MS = 200;

/** A leg on its way into the splice. */
interface Leg {
  socket: Socket;
  fd: number;
  addresses: LegAddresses;
  /** Bytes read from this leg, for the other one. */
  read: Buffer[];
}

const lengthOf = (pieces: Buffer[]): number => pieces.reduce((sum, b) => sum + b.length, 0);

/** Stop a socket, and all that has been read from it so far. */
function take(socket: Socket, read: Uint8Array | undefined): Buffer[] {
  return [Buffer.from(read ?? []), stopReading(socket)].filter((b) => b.length > 0);
}

function legOf(socket: Socket, read: Buffer[]): Leg | undefined {
  const fd = fdOf(socket);
  const addresses = legAddresses(socket);
  return fd === undefined || !addresses ? undefined : { socket, fd, addresses, read };
}

/** Whether one leg may be spliced at all. */
function judge(leg: Leg, seen: Snapshot | undefined): RefusalReason | undefined {
  if (isLinkLocal(leg.addresses)) return 'link_local';
  if (!seen) return 'unavailable';
  if (seen.mptcp) return 'mptcp';
  if (seen.signed) return 'signed';
  if (seen.synData) return 'syn_data'; // may be accepted before it is established
  if (!seen.established) return 'not_established';
  if (leg.socket.writableLength > 0) return 'write_pending';
  return undefined;
}

/**
 * Whether the two may be joined. A sender that was promised SACK does not count plain duplicate ACKs:
 * each loss would cost it a retransmission timeout. connect() sees to it that the server leg has none
 * when the client's has none.
 */
function judgePair(client: Leg, server: Leg): RefusalReason | undefined {
  const seen = [client, server].map((leg) => snapshot(leg.fd));
  const reason = judge(client, seen[0]) ?? judge(server, seen[1]);
  if (reason) return reason;
  return seen[0]?.sack === seen[1]?.sack ? undefined : 'sack_mismatch';
}

function reasonOf(errno: number): RefusalReason {
  switch (errno) {
    case Errno.EEXIST:
      return 'tuple_taken';
    case Errno.ENOSPC:
      return 'table_full';
    case Errno.EBUSY:
      return 'table_busy';
    case Errno.ENOPROTOOPT:
      return 'unavailable';
    default:
      return 'not_established';
  }
}

/** Read exactly what the kernel has acknowledged, or is about to. Returns how much that was. */
function drain(leg: Leg, seen: Snapshot): number {
  const length = (seen.rcvNxt - seen.copiedSeq) >>> 0;
  if (length === 0) return 0;
  const bytes = receive(leg.fd, length);
  if (bytes.length > 0) leg.read.push(bytes);
  return length;
}

/**
 * Until both legs stand still for a round, then switch. Stillness is a courtesy: what comes in between
 * is not acknowledged, so it is sent again, which costs a sender in full flow its retransmission
 * timeout. Past the deadline the switch is tried without it, some more rounds: on a machine that is
 * too busy the time passes with hardly a round, and that is no reason to leave a pair unprotected.
 * While the table is being copied, no round counts.
 */
async function settleAndActivate(
  client: Leg,
  server: Leg,
  { settleTimeoutMs, busyTimeoutMs }: Limits,
): Promise<RefusalReason | undefined> {
  let deadline = performance.now() + settleTimeoutMs;
  let busySince: number | undefined;
  let missing = false;
  for (let still = false, late = 0; late < SETTLE_LATE_ROUNDS; ) {
    const seen = [client, server].map((leg) => ({ leg, snapshot: snapshot(leg.fd) }));
    let moved = 0;
    missing = false;
    for (const { leg, snapshot } of seen) {
      if (!snapshot?.established || fdOf(leg.socket) !== leg.fd) return 'not_established';
      moved += drain(leg, snapshot);
      missing ||= snapshot.outOfOrder;
    }
    if (performance.now() > deadline) late++;
    if ((still && moved === 0) || late > 0) {
      const pending: [number, number] = [lengthOf(server.read), lengthOf(client.read)];
      const error =
        spliceCall(server.fd, SocketOption.SETTLE, { pending }) ||
        spliceCall(client.fd, SocketOption.ACTIVATE, { pending });
      if (error === Errno.EBUSY) {
        const now = performance.now();
        busySince ??= now;
        if (now - busySince > busyTimeoutMs) return 'table_busy';
        deadline = now + settleTimeoutMs;
        late = 0;
      } else if (error !== Errno.EAGAIN) return error ? reasonOf(error) : undefined;
    }
    still = moved === 0;
    await sleep(SETTLE_ROUND_MS);
  }
  return missing ? 'out_of_order' : 'not_settled';
}

async function hold(
  client: Leg,
  server: Leg,
  { busyTimeoutMs }: Limits,
): Promise<RefusalReason | undefined> {
  const legs = [client.addresses, server.addresses];
  const ask = ({ socket, fd }: Leg, option: SocketCall): Promise<number> =>
    untilFree(() => {
      const open = fdOf(socket) === fd;
      return open ? spliceCall(fd, option, { legs }) : Errno.ENOENT;
    }, busyTimeoutMs);
  let error = 0;
  if (snapshot(server.fd)?.id === 0n) error = await ask(server, SocketOption.RESERVE);
  error ||= await ask(server, SocketOption.HOLD);
  error ||= await ask(client, SocketOption.HOLD);
  return error ? reasonOf(error) : undefined;
}

/**
 * Write what was read, and wait until both ends have acknowledged it. Only then are the sockets closed:
 * should one end never take its bytes, the other can still be told.
 */
async function commit(client: Leg, server: Leg): Promise<SpliceOutcome> {
  const sockets = [server.socket, client.socket];
  for (const socket of sockets) socket.on('error', () => socket.destroy());
  for (const [to, from] of [[server, client] as const, [client, server] as const]) {
    for (const piece of from.read) to.socket.write(piece);
  }
  const waiting = new Set([server, client]);
  const begun = performance.now();
  for (let delay = COMMIT_DELAY_MS; ; delay = Math.min(delay * 1.5, COMMIT_DELAY_MAX_MS)) {
    for (const leg of waiting) {
      const fd = fdOf(leg.socket);
      const error = fd === undefined ? Errno.ENOENT : spliceCall(fd, SocketOption.COMMIT);
      if (error === 0) waiting.delete(leg);
      // busy for longer than a copy takes, it is the entry's own timeout that ends it
      if (error === 0 || error === Errno.EAGAIN || error === Errno.EBUSY) continue;
      if (error === Errno.ECONNRESET) {
        sockets.forEach(closeSilently); // both ends know: an RST has passed between them
        return 'reset';
      }
      void abort(sockets, client.addresses);
      for (const socket of sockets) socket.resetAndDestroy();
      return 'aborted';
    }
    if (waiting.size === 0) {
      sockets.forEach(closeSilently);
      return 'committed';
    }
    const late = performance.now() - begun > COMMIT_PATIENCE_MS;
    await sleep(late ? COMMIT_DELAY_LATE_MS : delay);
  }
}

/**
 * Join two connections. Neither socket may be used afterwards when the answer is spliced; when it is
 * not, nothing is lost: the caller writes the bytes that come back and relays.
 * @param client accepted, @param server connected; allowHalfOpen on both, or an early FIN is answered
 */
export async function splice(
  client: Socket,
  server: Socket,
  request: SpliceRequest = {},
): Promise<SpliceResult> {
  const fromClient = take(client, request.toServer);
  const fromServer = take(server, request.toClient);
  const clientLeg = legOf(client, fromClient);
  const serverLeg = legOf(server, fromServer);
  const refuse = (reason: RefusalReason): SpliceResult => {
    void abort([server, client], clientLeg?.addresses);
    for (const socket of [client, server]) resumeReading(socket);
    const [toServer, toClient] = [fromClient, fromServer].map((pieces) => Buffer.concat(pieces));
    return { spliced: false, reason, toServer, toClient };
  };
  if (!clientLeg || !serverLeg) return refuse('not_established');
  const limits = {
    settleTimeoutMs: request.settleTimeoutMs ?? SETTLE_TIMEOUT_MS,
    busyTimeoutMs: request.busyTimeoutMs ?? busyPatienceMs(),
  };
  const reason =
    judgePair(clientLeg, serverLeg) ??
    (await hold(clientLeg, serverLeg, limits)) ??
    (await settleAndActivate(clientLeg, serverLeg, limits));
  if (reason) return refuse(reason);
  const id = snapshot(clientLeg.fd)?.id ?? 0n;
  return { spliced: true, id, committed: commit(clientLeg, serverLeg) };
}
