/**
 * A mode of synchronisation is one object of operations: what it keeps of what was sent, how it
 * judges what comes, what it does about losses, and what it knows of what the others hold. Caches,
 * ownership, bulks and the wire are the engine's. To add a mode, write its file and a line in MODES.
 */
import { alarm } from './alarm.js';
import type { PeerChange, SyncOptions } from './api.js';
import type { Cache } from './cache.js';
import { SyncError } from './error.js';
import { ftfw } from './ftfw.js';
import type { Identity } from './identity.js';
import { notrack } from './notrack.js';
import type { Outbox, Retention } from './outbox.js';
import type { Peer } from './peer.js';
import type { Datagram, Header, Rejection } from './wire.js';

/** What the engine lends to a mode. */
export interface ModeHost {
  readonly options: Required<SyncOptions>;
  readonly outbox: Outbox;
  /** What this node owns. */
  readonly internal: Cache;
  /** All nodes that have been heard. */
  peers(): Iterable<Peer>;
  /** Those that are alive and in the same mode: nobody waits for any other. */
  livePeers(): Iterable<Peer>;
  sayHello(wantReport: boolean): void;
  /** Say what is true now of a splice, or that a bulk has ended (as Outbox.bulkEnd keeps it). */
  sayPresent(key: Identity): void;
  /** Changes of this peer are lost and will not come again: its records here are not complete. */
  fellBehind(peer: Peer): void;
  /** Ask a peer that fell behind for a bulk. */
  askForBulk(peer: Peer): void;
  /** All that the peer owns has been heard, without a bulk. */
  complete(peer: Peer): void;
  /** Unacknowledged datagrams had to be given up. */
  overflowed(): void;
  /** A peer has acknowledged something, or says that it holds all. */
  progressed(peer: Peer): void;
}

/** Retention is what the outbox asks of it; peer.acked, followedFrom and holdsAll are its to keep. */
export interface Mode extends Retention {
  /** What was lost comes again by itself within this; 0: it is asked for. */
  readonly repeatsMs: number;
  start(): void;
  stop(): void;
  /** A peer has come, gone, come back, or is in sync or not any more. */
  peerChanged(peer: Peer, change: PeerChange): void;
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
  /** Changes said to this peer of which it is not known that they have come (an upper bound). */
  unacknowledged(peer: Peer): number;
  /** Age of the oldest of them, ms. */
  lag(peer: Peer): number;
  stats(): Readonly<Record<string, number>>;
}

export type CreateMode = (host: ModeHost) => Mode;

export const MODES: Readonly<Record<string, CreateMode>> = {
  FTFW: ftfw,
  NOTRACK: notrack,
  ALARM: alarm,
};

/** Old names. */
const ALIASES: Readonly<Record<string, string>> = { NACK: 'FTFW' };

/** Its name in capitals, and how to make it. @throws SyncError MODE when there is no such mode */
export function findMode(given: string): { name: string; create: CreateMode } {
  const name = ALIASES[given.toUpperCase()] ?? given.toUpperCase();
  if (Object.hasOwn(MODES, name)) return { name, create: MODES[name] };
  const known = [...Object.keys(MODES), ...Object.keys(ALIASES)].join(', ');
  throw new SyncError(
    'MODE',
    `there is no mode of synchronisation "${given}"; use one of ${known}`,
  );
}
