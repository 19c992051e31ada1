/**
 * Who a splice is, for ever: (origin, incarnation, id), the first 20 octets of its record. And an
 * index from identities to the slots of a slab that has them as the first five words of each slot.
 */
import { RecordOffset } from '../kernel/record/layout.js';

/** Octets of an identity, in the order in which a record begins: id, incarnation, origin. */
export const IDENTITY_SIZE = RecordOffset.origin + 4;
export const IDENTITY_WORDS = IDENTITY_SIZE / 4;
const LINE_BITS = 3;
const LINE_MASK = (1 << LINE_BITS) - 1;

/** One identity, loaded to be looked up. Meant to be reused: no object for each record. */
export class Identity {
  idLow = 0;
  idHigh = 0;
  incarnationLow = 0;
  incarnationHigh = 0;
  origin = 0;
  hash = 0;

  load(view: DataView, offset: number): this {
    this.idLow = view.getUint32(offset, true);
    this.idHigh = view.getUint32(offset + 4, true);
    this.incarnationLow = view.getUint32(offset + 8, true);
    this.incarnationHigh = view.getUint32(offset + 12, true);
    this.origin = view.getUint32(offset + 16, true);
    return this.#rehash();
  }

  loadWords(words: Uint32Array, at: number): this {
    this.idLow = words[at];
    this.idHigh = words[at + 1];
    this.incarnationLow = words[at + 2];
    this.incarnationHigh = words[at + 3];
    this.origin = words[at + 4];
    return this.#rehash();
  }

  equals(words: Uint32Array, at: number): boolean {
    return (
      words[at] === this.idLow &&
      words[at + 1] === this.idHigh &&
      words[at + 2] === this.incarnationLow &&
      words[at + 3] === this.incarnationHigh &&
      words[at + 4] === this.origin
    );
  }

  store(words: Uint32Array, at: number): void {
    words[at] = this.idLow;
    words[at + 1] = this.idHigh;
    words[at + 2] = this.incarnationLow;
    words[at + 3] = this.incarnationHigh;
    words[at + 4] = this.origin;
  }

  write(view: DataView, offset: number): void {
    view.setUint32(offset, this.idLow, true);
    view.setUint32(offset + 4, this.idHigh, true);
    view.setUint32(offset + 8, this.incarnationLow, true);
    view.setUint32(offset + 12, this.incarnationHigh, true);
    view.setUint32(offset + 16, this.origin, true);
  }

  /**
   * Multiply and fold, as murmur3 ends: every bit has to move, since ids count up by one. But the last
   * three bits stay, so that eight splices born in a row stand in one line of an index (64 octets):
   * what comes in the order of birth, as births, bulks and take-overs do, waits for memory less often.
   */
  #rehash(): this {
    let h = (this.idLow >>> LINE_BITS) ^ Math.imul(this.idHigh, 0x9e3779b1);
    h ^= Math.imul(this.incarnationLow, 0x85ebca6b) ^ Math.imul(this.incarnationHigh, 0x27d4eb2f);
    h ^= Math.imul(this.origin, 0xc2b2ae35);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h ^= h >>> 16;
    this.hash = ((h & ~LINE_MASK) | (this.idLow & LINE_MASK)) >>> 0;
    return this;
  }
}

/**
 * Open addressing with linear probing, at most half full; deletion shifts the run back, so there are
 * no graves to clean. The whole hash stands beside the slot: a probe that does not match costs no
 * look into the slab.
 */
export class Index {
  readonly #slab: Uint32Array;
  readonly #stride: number;
  readonly #mask: number;
  /** Pairs: hash, slot + 1 (0: empty). */
  readonly #cells: Uint32Array;

  /** @param stride words of a slot of the slab */
  constructor(slab: Uint32Array, stride: number, limit: number) {
    let cells = 16;
    while (cells < 2 * limit) cells *= 2;
    this.#slab = slab;
    this.#stride = stride;
    this.#mask = cells - 1;
    this.#cells = new Uint32Array(2 * cells);
  }

  /** The slot, or -1. */
  find(key: Identity): number {
    const cell = this.#cellOf(key);
    return cell < 0 ? -1 : this.#cells[2 * cell + 1] - 1;
  }

  /** The identity must not be there yet, and fewer than `limit` are. */
  insert(key: Identity, slot: number): void {
    let cell = key.hash & this.#mask;
    while (this.#cells[2 * cell + 1]) cell = (cell + 1) & this.#mask;
    this.#cells[2 * cell] = key.hash;
    this.#cells[2 * cell + 1] = slot + 1;
  }

  remove(key: Identity): void {
    let hole = this.#cellOf(key);
    if (hole < 0) return;
    for (let next = (hole + 1) & this.#mask; this.#cells[2 * next + 1]; ) {
      // a cell may move back to the hole unless its home lies between the hole and itself
      const home = this.#cells[2 * next] & this.#mask;
      if (((next - home) & this.#mask) >= ((next - hole) & this.#mask)) {
        this.#cells[2 * hole] = this.#cells[2 * next];
        this.#cells[2 * hole + 1] = this.#cells[2 * next + 1];
        hole = next;
      }
      next = (next + 1) & this.#mask;
    }
    this.#cells[2 * hole + 1] = 0;
  }

  clear(): void {
    this.#cells.fill(0);
  }

  #cellOf(key: Identity): number {
    let cell = key.hash & this.#mask;
    for (;;) {
      const slot = this.#cells[2 * cell + 1];
      if (slot === 0) return -1;
      const at = (slot - 1) * this.#stride;
      if (this.#cells[2 * cell] === key.hash && key.equals(this.#slab, at)) return cell;
      cell = (cell + 1) & this.#mask;
    }
  }
}

/**
 * A bounded set of identities: when it is full, the one that was put in first makes room. What there
 * is to remember about each stands in arrays of the caller's, by slot.
 */
export class IdentityRing {
  readonly #limit: number;
  readonly #words: Uint32Array;
  readonly #index: Index;
  readonly #key = new Identity();
  #next = 0;
  #size = 0;
  #evicted = 0;

  constructor(limit: number) {
    this.#limit = limit;
    this.#words = new Uint32Array(limit * IDENTITY_WORDS);
    this.#index = new Index(this.#words, IDENTITY_WORDS, limit);
  }

  get size(): number {
    return this.#size;
  }

  /** How many had to make room. */
  get evicted(): number {
    return this.#evicted;
  }

  /** The slot, or -1. */
  find(key: Identity): number {
    return this.#index.find(key);
  }

  /** The slot of an identity that is not there yet. */
  add(key: Identity): number {
    const slot = this.#next;
    this.#next = (slot + 1) % this.#limit;
    if (this.#size === this.#limit) {
      this.#index.remove(this.#key.loadWords(this.#words, slot * IDENTITY_WORDS));
      this.#evicted++;
    } else {
      this.#size++;
    }
    key.store(this.#words, slot * IDENTITY_WORDS);
    this.#index.insert(key, slot);
    return slot;
  }

  clear(): void {
    if (this.#size > 0) this.#index.clear();
    this.#size = 0;
    this.#next = 0;
    this.#evicted = 0;
  }
}
