/**
 * Who a splice is, for ever: (origin, incarnation, id), the first 20 octets of its record. And an
 * index from identities to the slots of a slab that has them as the first five words of each slot.
 */
import { RecordOffset } from '../kernel/record/layout.js';

/** Octets of an identity, in the order in which a record begins: id, incarnation, origin. */
export const IDENTITY_SIZE = RecordOffset.origin + 4;
export const IDENTITY_WORDS = IDENTITY_SIZE / 4;
const LINE_BITS = 4;
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
   * four bits stay, so that 16 splices born in a row stand in one line of an index (64 octets):
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

/** Chains of an index that holds next to nothing. */
const CHAINS_MIN = 16;

/**
 * Slots of a slab by identity: chains, as many as there are slots in them. Their number grows by one
 * with each slot that comes, and then one chain is split in two (linear hashing), so it never has to
 * be copied, nobody waits for that, and it takes memory and cache lines only for what is in it.
 */
export class Index {
  readonly #slab: Uint32Array;
  readonly #stride: number;
  /** First slot + 1 of each chain; 0: empty. */
  readonly #heads: Uint32Array;
  /** Pairs by slot: the whole hash, and the next slot of its chain + 1. */
  readonly #links: Uint32Array;
  #size = 0;
  /** Power of two. Chains below #split have been split in this round: there are #round + #split. */
  #round = CHAINS_MIN;
  #split = 0;

  /** @param stride words of a slot of the slab */
  constructor(slab: Uint32Array, stride: number, limit: number) {
    let chains = CHAINS_MIN;
    while (chains < limit) chains *= 2;
    this.#slab = slab;
    this.#stride = stride;
    this.#heads = new Uint32Array(chains);
    this.#links = new Uint32Array(2 * limit);
  }

  /** The slot, or -1. */
  find(key: Identity): number {
    const { hash } = key;
    for (let at = this.#heads[this.#home(hash)]; at !== 0; at = this.#next(at - 1)) {
      if (this.#links[2 * at - 2] !== hash) continue;
      if (key.equals(this.#slab, (at - 1) * this.#stride)) return at - 1;
    }
    return -1;
  }

  /** The slot of any identity that has this hash, or -1. */
  findHash(hash: number): number {
    let at = this.#heads[this.#home(hash)];
    while (at !== 0 && this.#links[2 * at - 2] !== hash) at = this.#next(at - 1);
    return at - 1;
  }

  /** The identity must not be there yet, nor the slot. */
  insert(key: Identity, slot: number): void {
    if (++this.#size > this.#round + this.#split) this.#grow();
    const home = this.#home(key.hash);
    this.#links[2 * slot] = key.hash;
    this.#links[2 * slot + 1] = this.#heads[home];
    this.#heads[home] = slot + 1;
  }

  remove(key: Identity): void {
    const slot = this.find(key);
    if (slot < 0) return;
    this.#size--;
    const home = this.#home(key.hash);
    if (this.#heads[home] === slot + 1) {
      this.#heads[home] = this.#next(slot);
      return;
    }
    let before = this.#heads[home] - 1;
    while (this.#next(before) !== slot + 1) before = this.#next(before) - 1;
    this.#links[2 * before + 1] = this.#next(slot);
  }

  clear(): void {
    this.#heads.fill(0, 0, this.#round + this.#split);
    this.#size = 0;
    this.#round = CHAINS_MIN;
    this.#split = 0;
  }

  #next(slot: number): number {
    return this.#links[2 * slot + 1];
  }

  #home(hash: number): number {
    const at = hash & (2 * this.#round - 1);
    return at < this.#round + this.#split ? at : at & (this.#round - 1);
  }

  /** One more chain, with what belongs there of the one that is split. */
  #grow(): void {
    const bit = this.#round;
    let stay = 0;
    let leave = 0;
    for (let at = this.#heads[this.#split]; at !== 0; ) {
      const link = 2 * at - 2;
      const after = this.#links[link + 1];
      if (this.#links[link] & bit) {
        this.#links[link + 1] = leave;
        leave = at;
      } else {
        this.#links[link + 1] = stay;
        stay = at;
      }
      at = after;
    }
    this.#heads[this.#split] = stay;
    this.#heads[this.#split + bit] = leave;
    if (++this.#split < bit) return;
    this.#round *= 2;
    this.#split = 0;
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
