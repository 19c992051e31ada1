/**
 * What has been sent and not yet been acknowledged by every live peer: not the messages, but which
 * identities each datagram spoke of. A repair sends their present state under a new sequence; the
 * new datagram then stands in for the old one, and names it.
 *
 * Two rings, both of ResendQueueSize: identities, and datagrams (each holds at least one place).
 */
import { IDENTITY_WORDS, type Identity } from './identity.js';

export class ResendQueue {
  readonly #limit: number;
  readonly #identities: Uint32Array;
  readonly #slots: number;
  /** By sequence, modulo the number of slots. */
  readonly #first: Float64Array;
  readonly #count: Uint32Array;
  readonly #sentAt: Float64Array;
  /** Sequence of the datagram that stands in for this one; 0: none. */
  readonly #standIn: Float64Array;
  /** What a repair stands in for. */
  readonly #repairs = new Map<number, readonly number[]>();
  /** Identities recorded since the start; those of the datagram under way come after #sealed. */
  #recorded = 0;
  #sealed = 0;
  #oldest = 1;
  #next = 1;

  constructor(limit: number) {
    this.#limit = limit;
    this.#slots = limit;
    this.#identities = new Uint32Array(limit * IDENTITY_WORDS);
    this.#first = new Float64Array(limit);
    this.#count = new Uint32Array(limit);
    this.#sentAt = new Float64Array(limit);
    this.#standIn = new Float64Array(limit);
  }

  /** Lowest sequence that can still be repaired. */
  get oldest(): number {
    return this.#oldest;
  }

  /** Identities kept. */
  get used(): number {
    return this.#next > this.#oldest ? this.#sealed - this.#first[this.#oldest % this.#slots] : 0;
  }

  /** Datagrams kept. */
  get datagrams(): number {
    return this.#next - this.#oldest;
  }

  /** Room for one more identity in a datagram of its own? If not, `evict` first. */
  get full(): boolean {
    return (
      this.#recorded - this.#sealed + this.used >= this.#limit ||
      this.#next - this.#oldest >= this.#slots
    );
  }

  /** The datagram under way speaks of this splice. */
  record(key: Identity): void {
    key.store(this.#identities, (this.#recorded % this.#limit) * IDENTITY_WORDS);
    this.#recorded++;
  }

  /** The datagram under way leaves under this sequence, which is one above the last. */
  seal(sequence: number, now: number, repairs: readonly number[]): void {
    const slot = sequence % this.#slots;
    this.#first[slot] = this.#sealed;
    this.#count[slot] = this.#recorded - this.#sealed;
    this.#sentAt[slot] = now;
    this.#standIn[slot] = 0;
    this.#sealed = this.#recorded;
    this.#next = sequence + 1;
    if (repairs.length === 0) return;
    this.#repairs.set(sequence, repairs);
    for (const old of repairs) if (old >= this.#oldest) this.#standIn[old % this.#slots] = sequence;
  }

  /** All below this sequence is acknowledged by whom it concerns. */
  release(below: number): void {
    const end = Math.min(below, this.#next);
    // repairs are few: the map is walked only when there are any
    if (this.#repairs.size > 0) {
      for (const sequence of this.#repairs.keys()) {
        if (sequence < end) this.#repairs.delete(sequence);
      }
    }
    if (end > this.#oldest) this.#oldest = end;
  }

  /** Give up the oldest datagram. */
  evict(): void {
    this.release(this.#oldest + 1);
  }

  /** The datagram that stands in for this one, perhaps itself; 0 when it cannot be repaired. */
  resolve(sequence: number): number {
    if (sequence >= this.#next) return 0;
    while (sequence >= this.#oldest) {
      const standIn = this.#standIn[sequence % this.#slots];
      if (standIn === 0) return sequence;
      sequence = standIn;
    }
    return 0;
  }

  sentAt(sequence: number): number {
    return this.#sentAt[sequence % this.#slots];
  }

  /** How many identities the datagram spoke of. */
  countOf(sequence: number): number {
    return this.#count[sequence % this.#slots];
  }

  identityOf(sequence: number, index: number, into: Identity): Identity {
    const at = this.#first[sequence % this.#slots] + index;
    return into.loadWords(this.#identities, (at % this.#limit) * IDENTITY_WORDS);
  }

  /** What a datagram stands in for, as far as anybody can still miss it. */
  repairsOf(sequence: number): number[] {
    return (this.#repairs.get(sequence) ?? []).filter((old) => old >= this.#oldest);
  }

  /** Identities in the datagrams above this sequence. */
  countAbove(sequence: number): number {
    const first = Math.max(sequence + 1, this.#oldest);
    return first >= this.#next ? 0 : this.#sealed - this.#first[first % this.#slots];
  }
}
