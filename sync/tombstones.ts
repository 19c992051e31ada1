/**
 * Splices that have ended although somebody may still hold a weaker claim on them: an owner that was
 * cut off while another one took over, and that comes back with an old table. It must not raise them.
 *
 * Splices that never changed hands need none: a receiver applies the datagrams of one sender in
 * their order only. Bounded: when full, the oldest makes room, and is counted.
 */
import { IDENTITY_WORDS, type Identity, Index, Identity as Key } from './identity.js';

const EPOCH = IDENTITY_WORDS;
const OWNER = EPOCH + 1;
const STRIDE = 8;

export class Tombstones {
  readonly #limit: number;
  readonly #words: Uint32Array;
  readonly #index: Index;
  readonly #key = new Key();
  #next = 0;
  #size = 0;
  #evicted = 0;
  #refused = 0;

  constructor(limit: number) {
    this.#limit = limit;
    this.#words = new Uint32Array(limit * STRIDE);
    this.#index = new Index(this.#words, STRIDE, limit);
  }

  /** The splice has ended under this claim. */
  add(key: Identity, epoch: number, owner: number): void {
    const found = this.#index.find(key);
    if (found >= 0) {
      if (stronger(epoch, owner, this.#epoch(found), this.#owner(found))) {
        this.#words[found * STRIDE + EPOCH] = epoch;
        this.#words[found * STRIDE + OWNER] = owner;
      }
      return;
    }
    const slot = this.#next;
    this.#next = (this.#next + 1) % this.#limit;
    if (this.#size === this.#limit) {
      this.#index.remove(this.#key.loadWords(this.#words, slot * STRIDE));
      this.#evicted++;
    } else {
      this.#size++;
    }
    key.store(this.#words, slot * STRIDE);
    this.#words[slot * STRIDE + EPOCH] = epoch;
    this.#words[slot * STRIDE + OWNER] = owner;
    this.#index.insert(key, slot);
  }

  /** Must a record with this claim stay dead? */
  covers(key: Identity, epoch: number, owner: number): boolean {
    const slot = this.#index.find(key);
    if (slot < 0 || stronger(epoch, owner, this.#epoch(slot), this.#owner(slot))) return false;
    this.#refused++;
    return true;
  }

  /** Epoch under which `owner` saw the splice end; 0: it knows nothing of that. */
  epochOf(key: Identity, owner: number): number {
    const slot = this.#index.find(key);
    return slot >= 0 && this.#owner(slot) === owner ? this.#epoch(slot) : 0;
  }

  stats(): Readonly<Record<string, number>> {
    return {
      records: this.#size,
      limit: this.#limit,
      evicted: this.#evicted,
      refused: this.#refused,
    };
  }

  #epoch(slot: number): number {
    return this.#words[slot * STRIDE + EPOCH];
  }

  #owner(slot: number): number {
    return this.#words[slot * STRIDE + OWNER];
  }
}

/** Is the claim (epoch, owner) a stronger than b? */
export function stronger(epochA: number, ownerA: number, epochB: number, ownerB: number): boolean {
  return epochA !== epochB ? epochA > epochB : ownerA > ownerB;
}
