/**
 * Digests of a cache: its records fall into 4096 buckets by their identity, and of each bucket the
 * digests of its records are kept, added up by exclusive or. So a change costs the digest of one
 * record, and two nodes see which buckets differ without naming a record. docs/wire.md has the
 * arithmetic, since both ends have to do the same.
 *
 * It finds what was lost or damaged; it is no proof against somebody who forges records.
 */
import { RECORD_SIZE, RecordOffset } from '../kernel/record/layout.js';

export const BUCKETS = 4096;
const WORDS = RECORD_SIZE / 4;
const REMAINING = RecordOffset.remainingMs / 4;
const IDLE = RecordOffset.idleMs / 4;

/** The bucket of an identity, by its hash: the upper 12 bits. */
export function bucketOf(hash: number): number {
  return hash >>> 20;
}

/** Writes the two words of a record's digest: of all its words but the times, which run on. */
export function digestRecord(words: Uint32Array, at: number, into: Uint32Array, to: number): void {
  let a = 0;
  let b = 0;
  for (let i = 0; i < WORDS; i++) {
    if (i === REMAINING || i === IDLE) continue;
    const word = words[at + i];
    a = Math.imul(a ^ word, 0x9e3779b1);
    // halves swapped: what changes the top bit only would never reach another one
    b = Math.imul(b ^ ((word << 16) | (word >>> 16)), 0x85ebca6b);
  }
  into[to] = fold(a ^ b);
  into[to + 1] = fold(b + Math.imul(a, 0xc2b2ae35));
}

function fold(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Of one cache. */
export class Digests {
  readonly #buckets = new Uint32Array(2 * BUCKETS);

  /** A record with the digest at `at` comes into the bucket, or leaves it. */
  toggle(bucket: number, digests: Uint32Array, at: number): void {
    this.#buckets[2 * bucket] ^= digests[at];
    this.#buckets[2 * bucket + 1] ^= digests[at + 1];
  }

  /** Of so many buckets together. */
  of(first: number, buckets: number): { low: number; high: number } {
    let low = 0;
    let high = 0;
    for (let bucket = first; bucket < first + buckets; bucket++) {
      low ^= this.#buckets[2 * bucket];
      high ^= this.#buckets[2 * bucket + 1];
    }
    return { low: low >>> 0, high: high >>> 0 };
  }

  clear(): void {
    this.#buckets.fill(0);
  }
}
