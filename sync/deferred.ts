/**
 * Defer: splices whose birth has been said, and whose proxy waits until another node has them. Each is
 * named once: when one live peer of the same mode holds it; at once when there is no such peer, for
 * nobody would take it over.
 *
 * Bounded: what finds no room is not waited for here, and the kernel lets it go after DeferTimeout. So
 * it does with what a peer will only get by a bulk.
 */
import { RECORD_SIZE } from '../kernel/record/layout.js';
import { CHUNK_RECORDS } from './cache.js';
import { counts } from './counts.js';
import type { Peer } from './peer.js';

/** A hundred milliseconds' worth of 80,000 new splices a second. */
const LIMIT = 8192;

export interface DeferredHost {
  livePeers(): Iterable<Peer>;
  replicated(records: Uint8Array): void;
}

export class Deferred {
  readonly #host: DeferredHost;
  readonly #records = new Uint8Array(LIMIT * RECORD_SIZE);
  readonly #sequences = new Float64Array(LIMIT);
  #first = 0;
  #next = 0;
  readonly counts = counts(
    'deferred',
    'deferred_replicated',
    'deferred_alone',
    'deferred_given_up',
  );

  constructor(host: DeferredHost) {
    this.#host = host;
  }

  /** This record is said by the datagram of that sequence. False: there is no room to remember it. */
  add(bytes: Uint8Array, at: number, sequence: number): boolean {
    if (this.#next - this.#first === LIMIT) {
      this.counts.deferred_given_up++;
      return false;
    }
    const slot = this.#next++ % LIMIT;
    this.#records.set(bytes.subarray(at, at + RECORD_SIZE), slot * RECORD_SIZE);
    this.#sequences[slot] = sequence;
    this.counts.deferred++;
    return true;
  }

  /** Peers have come or gone, or have told something new: name what has arrived. */
  check(): void {
    while (this.#first < this.#next) {
      const batch = new Uint8Array(CHUNK_RECORDS * RECORD_SIZE);
      const size = this.#take(batch);
      if (size === 0) return;
      this.#host.replicated(batch.subarray(0, size));
    }
  }

  #take(batch: Uint8Array): number {
    let at = 0;
    for (; this.#first < this.#next && at < batch.length; this.#first++) {
      const slot = this.#first % LIMIT;
      const what = this.#arrival(this.#sequences[slot]);
      if (what === 'awaited') break;
      this.counts[what]++;
      if (what === 'deferred_given_up') continue;
      const from = slot * RECORD_SIZE;
      batch.set(this.#records.subarray(from, from + RECORD_SIZE), at);
      at += RECORD_SIZE;
    }
    return at;
  }

  #arrival(sequence: number) {
    let peers = 0;
    let past = 0;
    for (const peer of this.#host.livePeers()) {
      if (peer.holds(sequence)) return 'deferred_replicated';
      peers++;
      // it fell behind: what this datagram said comes to it by a bulk
      if (peer.acked >= sequence) past++;
    }
    if (peers === 0) return 'deferred_alone';
    return past === peers ? 'deferred_given_up' : 'awaited';
  }
}
