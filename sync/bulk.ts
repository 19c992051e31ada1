/**
 * What is said in turns, as fast as the slowest live peer acknowledges it, so that it overruns no
 * socket buffer and no resend queue, and gives others their turn in between:
 *
 * A bulk: all that this node owns, said in the one stream of changes, then its end. A receiver that
 * has followed the stream since the bulk's first datagram drops what has not been said since.
 *
 * The same for some buckets only, where a verification has found a difference.
 *
 * And what a commit has made ours: the kernel translates it already, and the peers hold it in the
 * name of its last owner.
 */
import { CHUNK_RECORDS } from './cache.js';
import { counts } from './counts.js';
import { bucketOf } from './digest.js';
import { Identity } from './identity.js';
import type { Outbox } from './outbox.js';
import type { Clock, Timer } from './ports.js';
import { Mark, type Store } from './store.js';

/** With nothing acknowledged for so long, one more chunk is sent all the same. */
const STALL_MS = 200;
/** Records under way: 4096 × 160 octets stay below conntrackd's usual 1.2 MB of socket buffer. */
const WINDOW_RECORDS = 4096;
/** Slots looked at in one turn. */
const TURN_SLOTS = 65_536;

export interface BulkHost {
  readonly clock: Clock;
  readonly store: Store;
  readonly outbox: Outbox;
  readonly resendQueueSize: number;
  /** DisableInternalCache: says what the kernel holds, a chunk at each step; yields how many. */
  readonly fromKernel: (() => Generator<number, void, void>) | undefined;
  /** Identities that the slowest live peer has not acknowledged. */
  inFlight(): number;
}

/** Some of what this node owns, said from the first slot to the last. */
interface Walk {
  /** Datagram from which on it is said. */
  readonly first: number;
  /** By bucket: is it to be said? Undefined: all are. */
  readonly buckets: Uint8Array | undefined;
  /** Says what the kernel holds, in place of an internal cache; chunk by chunk. */
  kernel: Generator<number, void, void> | undefined;
  slot: number;
  listed: number;
  end(first: number, listed: number): void;
}

export class Bulk {
  readonly #host: BulkHost;
  readonly #window: number;
  readonly #key = new Identity();
  /** The first of them is under way. */
  readonly #walks: Walk[] = [];
  /** First datagram of the last bulk. */
  #first = 0;
  #active = false;
  #again = false;
  /** Where the search for what has not been said goes on. */
  #unsaidAt = 0;
  #timer: Timer | undefined;
  #stopped = false;
  readonly counts = counts('bulks_sent', 'bulk_records', 'bulk_stalls', 'announced_records');

  constructor(host: BulkHost) {
    this.#host = host;
    // what is lost is said again before it is acknowledged, and takes its place in the queue twice
    this.#window = Math.min(WINDOW_RECORDS, host.resendQueueSize / 4);
  }

  get active(): boolean {
    return this.#active;
  }

  /** Records that can be said now. */
  get room(): number {
    return this.#window - this.#host.inFlight();
  }

  /** One more, from here on. */
  start(): void {
    if (this.#stopped) return;
    if (this.#active) {
      this.#again = true;
      return;
    }
    this.#active = true;
    this.#host.outbox.flush();
    this.#first = this.#host.outbox.sequence + 1;
    this.#walk(undefined, (first, listed) => this.#end(first, listed), this.#host.fromKernel?.());
  }

  /** All records of some buckets. `end` is called with the first datagram that has said them. */
  sayBuckets(buckets: Uint8Array, end: (first: number) => void): void {
    if (!this.#stopped) this.#walk(buckets, end);
  }

  /** One that begins at this sequence or later, unless it has been sent or is under way. */
  wanted(from: number): void {
    if (from > this.#first) this.start();
  }

  /** There may be records that have not been said. */
  announce(): void {
    if (this.#host.store.unsaid > 0 && !this.#timer) this.#schedule(0);
  }

  /** Something has been acknowledged. */
  progressed(): void {
    if (this.#busy && this.room > 0) this.#schedule(0);
  }

  stop(): void {
    this.#stopped = true;
    this.#active = false;
    this.#timer?.cancel();
  }

  get #busy(): boolean {
    return this.#walks.length > 0 || this.#host.store.unsaid > 0;
  }

  #schedule(ms: number): void {
    if (this.#stopped) return;
    this.#timer?.cancel();
    this.#timer = this.#host.clock.after(ms, () => {
      this.#timer = undefined;
      this.#turn(ms > 0);
    });
  }

  #turn(stalled: boolean): void {
    if (!stalled && this.room <= 0) {
      this.#schedule(STALL_MS);
      return;
    }
    if (stalled) this.counts.bulk_stalls++;
    const walk = this.#walks.at(0);
    this.#sayUnsaid(walk ? this.#goOn(walk, CHUNK_RECORDS) : CHUNK_RECORDS);
    this.#host.outbox.flush();
    const { store } = this.#host;
    if (walk && !walk.kernel && walk.slot >= store.top && store.unsaid === 0) {
      this.#walks.shift();
      walk.end(walk.first, walk.listed);
    }
    if (this.#busy) this.#schedule(0);
  }

  #walk(buckets: Walk['buckets'], end: Walk['end'], kernel?: Walk['kernel']): void {
    this.#host.outbox.flush();
    const first = this.#host.outbox.sequence + 1;
    this.#walks.push({ first, buckets, kernel, slot: 0, listed: 0, end });
    if (this.#walks.length === 1) this.#turn(false);
  }

  /** Returns how many more records may be said in this turn. */
  #goOn(walk: Walk, left: number): number {
    const { store, outbox } = this.#host;
    if (walk.kernel) return left - this.#listKernel(walk, walk.kernel);
    const end = Math.min(walk.slot + TURN_SLOTS, store.top);
    for (; walk.slot < end && left > 0; walk.slot++) {
      if (!store.internal.holds(walk.slot) || !this.#wants(walk, walk.slot)) continue;
      outbox.record(walk.slot);
      walk.listed++;
      left--;
    }
    return left;
  }

  /** A chunk of the kernel's table is said in the turn in which it was read. */
  #listKernel(walk: Walk, kernel: Generator<number, void, void>): number {
    const { value, done } = kernel.next();
    if (done) walk.kernel = undefined;
    walk.listed += value ?? 0;
    return value ?? 0;
  }

  #wants({ buckets }: Walk, slot: number): boolean {
    if (!buckets) return true;
    return buckets[bucketOf(this.#host.store.identity(slot, this.#key).hash)] === 1;
  }

  #sayUnsaid(left: number): void {
    const { store, outbox } = this.#host;
    for (let looked = 0; store.unsaid > 0 && left > 0 && looked < TURN_SLOTS; looked++) {
      if (this.#unsaidAt >= store.top) this.#unsaidAt = 0;
      const slot = this.#unsaidAt++;
      if (!store.marked(slot, Mark.UNSAID)) continue;
      outbox.record(slot);
      this.counts.announced_records++;
      left--;
    }
  }

  #end(first: number, listed: number): void {
    this.#host.outbox.bulkEnd(first, listed);
    this.#host.outbox.flush();
    this.counts.bulks_sent++;
    this.counts.bulk_records += listed;
    this.#active = false;
    if (!this.#again) return;
    this.#again = false;
    this.start();
  }
}
