/**
 * What is said in turns, as fast as the slowest live peer acknowledges it, so that it overruns no
 * socket buffer and no resend queue, and gives others their turn in between:
 *
 * A bulk: all that this node owns, said in the one stream of changes, then its end. A receiver that
 * has followed the stream since the bulk's first datagram drops what has not been said since.
 *
 * And what a commit has made ours: the kernel translates it already, and the peers hold it in the
 * name of its last owner.
 */
import { CHUNK_RECORDS } from './cache.js';
import { counts } from './counts.js';
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

export class Bulk {
  readonly #host: BulkHost;
  readonly #window: number;
  /** First datagram of the last bulk. */
  #first = 0;
  #active = false;
  #again = false;
  #slot = 0;
  #listed = 0;
  #kernel: Generator<number, void, void> | undefined;
  /** Where the search for what has not been said goes on. */
  #unsaidAt = 0;
  #timer: Timer | undefined;
  #stopped = false;
  readonly counts = counts('bulks_sent', 'bulk_records', 'bulk_stalls', 'announced_records');

  constructor(host: BulkHost) {
    this.#host = host;
    this.#window = Math.min(WINDOW_RECORDS, host.resendQueueSize / 2);
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
    this.#host.outbox.flush();
    this.#active = true;
    this.#first = this.#host.outbox.sequence + 1;
    this.#slot = 0;
    this.#listed = 0;
    this.#kernel = this.#host.fromKernel?.();
    this.#turn(false);
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
    return this.#active || this.#host.store.unsaid > 0;
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
    const left = this.#active ? this.#list(CHUNK_RECORDS) : CHUNK_RECORDS;
    this.#sayUnsaid(left);
    this.#host.outbox.flush();
    const { store } = this.#host;
    if (this.#active && !this.#kernel && this.#slot >= store.top && store.unsaid === 0) this.#end();
    else if (this.#busy) this.#schedule(0);
  }

  /** Goes on with the bulk. Returns how many more records may be said in this turn. */
  #list(left: number): number {
    const { store, outbox } = this.#host;
    if (this.#kernel) return left - this.#listKernel(this.#kernel);
    for (; this.#slot < store.top && left > 0; this.#slot++) {
      if (!store.internal.holds(this.#slot)) continue;
      outbox.record(this.#slot);
      this.#listed++;
      left--;
    }
    return left;
  }

  /** A chunk of the kernel's table is said in the turn in which it was read. */
  #listKernel(kernel: Generator<number, void, void>): number {
    const { value, done } = kernel.next();
    if (done) this.#kernel = undefined;
    this.#listed += value ?? 0;
    return value ?? 0;
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

  #end(): void {
    this.#host.outbox.bulkEnd(this.#first, this.#listed);
    this.#host.outbox.flush();
    this.counts.bulks_sent++;
    this.counts.bulk_records += this.#listed;
    this.#active = false;
    if (!this.#again) return;
    this.#again = false;
    this.start();
  }
}
