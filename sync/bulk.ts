/**
 * A bulk: all that this node owns, said in the one stream of changes, then its end. A receiver that
 * has followed the stream since the bulk's first datagram drops what has not been said since.
 *
 * It is sent as fast as the slowest live peer acknowledges it, so that it overruns no socket buffer
 * and no resend queue, and gives others their turn between two chunks.
 */
import { type Cache, CHUNK_RECORDS } from './cache.js';
import { counts } from './counts.js';
import type { Outbox } from './outbox.js';
import type { Clock, Timer } from './ports.js';

/** With nothing acknowledged for so long, one more chunk is sent all the same. */
const STALL_MS = 200;
/** Records under way: 4096 × 160 octets stay below conntrackd's usual 1.2 MB of socket buffer. */
const WINDOW_RECORDS = 4096;

export interface BulkHost {
  readonly clock: Clock;
  readonly internal: Cache;
  readonly outbox: Outbox;
  readonly resendQueueSize: number;
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
  #timer: Timer | undefined;
  #stopped = false;
  readonly counts = counts('bulks_sent', 'bulk_records', 'bulk_stalls');

  constructor(host: BulkHost) {
    this.#host = host;
    this.#window = Math.min(WINDOW_RECORDS, host.resendQueueSize / 2);
  }

  get active(): boolean {
    return this.#active;
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
    this.#turn(false);
  }

  /** One that begins at this sequence or later, unless it has been sent or is under way. */
  wanted(from: number): void {
    if (from > this.#first) this.start();
  }

  /** Something has been acknowledged. */
  progressed(): void {
    if (this.#active && this.#host.inFlight() < this.#window) this.#schedule(0);
  }

  stop(): void {
    this.#stopped = true;
    this.#active = false;
    this.#timer?.cancel();
  }

  #schedule(ms: number): void {
    this.#timer?.cancel();
    this.#timer = this.#host.clock.after(ms, () => this.#turn(ms > 0));
  }

  #turn(stalled: boolean): void {
    const { internal, outbox } = this.#host;
    if (!stalled && this.#host.inFlight() >= this.#window) {
      this.#schedule(STALL_MS);
      return;
    }
    if (stalled) this.counts.bulk_stalls++;
    let left = CHUNK_RECORDS;
    for (; this.#slot < internal.top && left > 0; this.#slot++) {
      if (!internal.holds(this.#slot)) continue;
      outbox.record(this.#slot);
      this.#listed++;
      left--;
    }
    outbox.flush();
    if (this.#slot < internal.top) this.#schedule(0);
    else this.#end();
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
