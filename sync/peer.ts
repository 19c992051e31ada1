/** What this node knows about another one. */
import type { PeerInfo } from './api.js';
import type { Cache } from './cache.js';
import { BUCKETS } from './digest.js';
import { Graves } from './graves.js';
import { FIRST_ONLY, type Versions } from './versions.js';
import { ReceiveWindow } from './window.js';
import type { Role } from './wire.js';

/** At first; doubled while there is not room for all. */
const ASK_AGAIN_MS = 1000;

/** A bulk has ended: what it did not list goes, once all up to `end` has come. */
export interface PendingEnd {
  readonly first: number;
  readonly end: number;
}

/** A repair of some buckets has ended, likewise. */
export interface PendingBuckets {
  /** What has not been heard of since this sequence goes. */
  readonly from: number;
  readonly end: number;
  readonly first: number;
  readonly buckets: number;
}

/** What a DIGEST item says, and in which datagram it came. */
export interface PendingDigest {
  readonly sequence: number;
  readonly round: number;
  readonly first: number;
  readonly buckets: number;
  readonly low: number;
  readonly high: number;
}

export class Peer {
  readonly node: number;
  name: string;
  /** Of synchronisation, as it says; this node's own until it has said it. */
  mode: string;
  incarnation = 0;
  alive = true;
  /** Of the wire, that it speaks: as it has said itself, or as what has come of it shows. */
  versions: Versions = FIRST_ONLY;
  heardAt: number;
  /** What it says that it stands for; undefined: its version does not say it. */
  place: Role | undefined;
  /** What it owns. */
  readonly cache: Cache;

  /** Its stream of datagrams, and which one of its streams that is for this node. */
  window = new ReceiveWindow(1);
  readonly graves = new Graves();
  stream = 0;
  /** The cache is complete. */
  inSync = false;
  outOfSyncSince: number;
  /** Changes of its were lost, and it has not been in sync since. */
  behind = false;
  /** A bulk that begins here or later is being asked for; 0: none. */
  wanted = 0;
  /** The last datagram of whose records one did not find room in the cache; 0: none. */
  refusedAt = 0;
  /** ALARM: the last of those in rounds that are over; 0: none, or all has been heard since. */
  lackedAt = 0;
  /** A bulk for what was refused is asked for again when there is room, not before this. */
  askAgainAt = 0;
  askAgainMs = ASK_AGAIN_MS;
  pendingEnd: PendingEnd | undefined;
  pendingBuckets: PendingBuckets[] = [];
  /** Walks under way that drop what a bulk or a repair has not named. */
  sweeps = 0;
  /** Hashes of the flows that it has called busy, and in which of its statements. */
  readonly busy = new Set<number>();
  statement = 0;
  /** Digests that are compared when all that was said before them has come. */
  pendingDigests: PendingDigest[] = [];
  /** By bucket: the last datagram that has said something of its records. */
  readonly touched = new Float64Array(BUCKETS);
  /** By bucket: 1, its digest was equal since the cache was last known to be incomplete. */
  readonly proven = new Uint8Array(BUCKETS);

  /** All of our stream from here on, up to `acked`, has reached the peer. */
  followedFrom = Number.POSITIVE_INFINITY;
  acked = 0;
  holdsAll = false;

  constructor(node: number, cache: Cache, mode: string, now: number) {
    this.node = node;
    this.mode = mode;
    this.name = node.toString(16).padStart(8, '0');
    this.cache = cache;
    this.heardAt = now;
    this.outOfSyncSince = now;
  }

  /** It has said what it has of our stream. */
  get hasReported(): boolean {
    return this.followedFrom !== Number.POSITIVE_INFINITY;
  }

  /** Has what we said under this sequence, if anything, come and stayed? */
  holds(sequence: number): boolean {
    return sequence >= this.followedFrom && sequence <= this.acked;
  }

  /**
   * The peer has started anew, or is heard for the first time: its records stay until a bulk has
   * reconciled them.
   */
  restart(incarnation: number, base: number, now: number): void {
    this.incarnation = incarnation;
    // it is what it was until it says otherwise
    if (this.place) this.place = { ...this.place, serial: 0 };
    this.window = new ReceiveWindow(base);
    this.graves.clear();
    this.stream++;
    this.pendingEnd = undefined;
    this.pendingBuckets = [];
    this.pendingDigests = [];
    this.busy.clear();
    this.touched.fill(0);
    this.refusedAt = 0;
    this.lackedAt = 0;
    this.askAgainMs = ASK_AGAIN_MS;
    this.followedFrom = Number.POSITIVE_INFINITY;
    this.acked = 0;
    this.holdsAll = false;
    this.fallOut(now);
  }

  /** An end counts when all up to it has come: also what a repair of datagrams carried beyond it. */
  prolongEnds(repaired: number, sequence: number): void {
    const prolonged = <T extends { readonly end: number }>(pending: T): T =>
      repaired > pending.end || sequence <= pending.end ? pending : { ...pending, end: sequence };
    if (this.pendingEnd) this.pendingEnd = prolonged(this.pendingEnd);
    if (this.pendingBuckets.length > 0) this.pendingBuckets = this.pendingBuckets.map(prolonged);
  }

  fallOut(now: number): void {
    if (this.inSync) this.outOfSyncSince = now;
    this.inSync = false;
    this.proven.fill(0);
  }

  info(now: number, unacknowledged: number, lagMs: number): PeerInfo {
    return {
      node: this.node,
      name: this.name,
      mode: this.mode,
      version: this.versions.highest,
      incarnation: BigInt(this.incarnation),
      alive: this.alive,
      inSync: this.inSync,
      holdsAll: this.holdsAll,
      lastHeardMs: now - this.heardAt,
      missing: this.window.missingCount,
      unacknowledged,
      lagMs,
      records: this.cache.size,
      place: this.place,
    };
  }
}
