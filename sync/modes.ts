/**
 * A mode of synchronisation is one object of operations: what it keeps of what was sent, how it
 * judges what comes, and what it does about losses. Caches, ownership, bulks and the wire are the
 * engine's. To add a mode, write its file and a line in MODES.
 */
import type { SyncOptions } from './api.js';
import { SyncError } from './error.js';
import { ftfw } from './ftfw.js';
import type { Identity } from './identity.js';
import type { Outbox, Retention } from './outbox.js';
import type { Peer } from './peer.js';
import type { Datagram, Header, Rejection } from './wire.js';

/** What the engine lends to a mode. */
export interface ModeHost {
  readonly options: Required<SyncOptions>;
  readonly outbox: Outbox;
  livePeers(): Iterable<Peer>;
  sayHello(wantReport: boolean): void;
  /** Say what is true now of a splice, or that a bulk has ended (as Outbox.bulkEnd keeps it). */
  sayPresent(key: Identity): void;
  /** What is missing from this peer cannot be repaired: a bulk has to be asked for. */
  lostForGood(peer: Peer): void;
  /** Unacknowledged datagrams had to be given up. */
  overflowed(): void;
  /** A peer has acknowledged something, or says that it holds all. */
  progressed(peer: Peer): void;
}

export interface Mode extends Retention {
  /** DATA has come: shall it be applied? */
  arriving(peer: Peer, header: Header): Rejection | undefined;
  /** It has been applied. */
  arrived(peer: Peer, datagram: Datagram): void;
  /** Any other datagram of the peer: how far it has sent, and what it can still repair. */
  heard(peer: Peer, header: Header): void;
  /** A REPORT to this node. */
  report(peer: Peer, datagram: Datagram): Rejection | undefined;
  /** Tell the peer at once what has come. */
  reportNow(peer: Peer): void;
  /** Identities sent to this peer and not acknowledged by it. */
  unacknowledged(peer: Peer): number;
  /** Age of the oldest of them, ms. */
  lag(peer: Peer): number;
  stop(): void;
  stats(): Readonly<Record<string, number>>;
}

export type CreateMode = (host: ModeHost) => Mode;

export const MODES: Readonly<Record<string, CreateMode>> = {
  FTFW: ftfw,
  /** FTFW's old name. */
  NACK: ftfw,
};

/** @throws SyncError MODE when there is no such mode */
export function findMode(name: string): CreateMode {
  const mode = MODES[name.toUpperCase()];
  if (mode) return mode;
  throw new SyncError(
    'MODE',
    `there is no mode of synchronisation "${name}"; use one of ${Object.keys(MODES).join(', ')}`,
  );
}
