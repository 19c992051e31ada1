/**
 * Every record that this node knows, in one slab: what it owns, and what each peer owns. One identity
 * is there once, and the slot's tag says in whose cache. So whatever is heard of a splice costs one
 * look-up, and a take-over moves records from cache to cache where they lie.
 *
 * The slab is one ArrayBuffer for twice HashLimit records. Slots are filled from its start and the
 * operating system backs only pages that have been written, so it costs memory in proportion to the
 * records that there are, and never has to be copied to grow. Nothing in it is an object: a million
 * records do not concern the garbage collector.
 *
 * A slot stays where it is for the life of its record, so a walk that pauses misses nobody.
 */
import { RecordOffset } from '../kernel/record/layout.js';
import { Cache, RECORD_WORDS } from './cache.js';
import { bucketOf, digestRecord } from './digest.js';
import { Identity, Index } from './identity.js';
import { idleAfter, remainingAfter } from './times.js';

const EPOCH = RecordOffset.epoch / 4;
const OWNER = RecordOffset.owner / 4;
const ORIGIN = RecordOffset.origin / 4;
const GENERATION = RecordOffset.generation / 4;
const REMAINING = RecordOffset.remainingMs / 4;
const IDLE = RecordOffset.idleMs / 4;

/** Notes of the engine's own about a record. */
export const Mark = {
  /** Taken over by a commit: somebody may come back with a weaker claim. */
  TAKEN: 1,
  /** Seen during the resync that is under way. */
  SEEN: 2,
  /** Ours since a commit, and nobody has been told yet. */
  UNSAID: 4,
  /** Held by a peer, whose claim has beaten that of another one. */
  CONTESTED: 8,
} as const;

/** How many records one cache, or several together, may hold. */
export class Quota {
  used = 0;

  constructor(readonly limit: number) {}
}

/** Told what enters and leaves the external caches; what a commit takes does not leave. */
export interface Watch {
  /** New, or changed. */
  entered(slot: number): void;
  /** The record is still in its slot. */
  leaves(slot: number): void;
}

export class Store {
  /** What this node owns. */
  readonly internal: Cache;
  readonly #now: () => number;
  /** The slab: a slot's record begins at word slot * RECORD_WORDS. To be read only. */
  readonly words: Uint32Array;
  readonly #index: Index;
  /** Local time at which a slot's record was rendered. */
  readonly #stamps: Float64Array;
  readonly #sequences: Float64Array;
  readonly #streams: Uint32Array;
  /** Two words of each slot's record. */
  readonly #digests: Uint32Array;
  readonly #marks: Uint8Array;
  /** Which cache holds the slot: its place in #caches; 0: free. */
  readonly #tags: Uint8Array;
  readonly #caches: (Cache | undefined)[] = [undefined];
  readonly #external: Quota;
  /** Freed slots, reused last in, first out. */
  readonly #free: Uint32Array;
  #freeCount = 0;
  #top = 0;
  #unsaid = 0;
  watch: Watch | undefined;
  #uncovered = false;
  readonly #key = new Identity();

  /**
   * @param limit records of the internal cache, and of all external ones together
   * @param now local milliseconds, never going back
   */
  constructor(limit: number, now: () => number) {
    const slots = 2 * limit;
    this.#now = now;
    this.words = new Uint32Array(slots * RECORD_WORDS);
    this.#index = new Index(this.words, RECORD_WORDS, slots);
    this.#stamps = new Float64Array(slots);
    this.#sequences = new Float64Array(slots);
    this.#streams = new Uint32Array(slots);
    this.#digests = new Uint32Array(2 * slots);
    this.#marks = new Uint8Array(4 * Math.ceil(slots / 4));
    this.#tags = new Uint8Array(slots);
    this.#free = new Uint32Array(slots);
    this.#external = new Quota(limit);
    this.internal = this.#cache(new Quota(limit));
  }

  /** One more external cache, of at most 254. */
  external(): Cache {
    return this.#cache(this.#external);
  }

  /** Records in all caches. */
  get size(): number {
    return this.#top - this.#freeCount;
  }

  /** Records that bear Mark.UNSAID. */
  get unsaid(): number {
    return this.#unsaid;
  }

  /** Slots from here on have not been used yet: the end of a walk over all slots. */
  get top(): number {
    return this.#top;
  }

  /** The slot of an identity, whoever holds it, or -1. */
  find(key: Identity): number {
    return this.#index.find(key);
  }

  /** The slot of any identity that has this hash, whoever holds it, or -1. */
  findHash(hash: number): number {
    return this.#index.findHash(hash);
  }

  /** Has the slot this identity? */
  has(slot: number, key: Identity): boolean {
    return this.#tags[slot] !== 0 && key.equals(this.words, slot * RECORD_WORDS);
  }

  now(): number {
    return this.#now();
  }

  /** Whose record that is; undefined: the slot is free. */
  cacheOf(slot: number): Cache | undefined {
    return this.#caches[this.#tags[slot]];
  }

  /** Has a record gone, since the last time, for which a weaker claim was refused that may hold now? */
  takeUncovered(): boolean {
    const uncovered = this.#uncovered;
    this.#uncovered = false;
    return uncovered;
  }

  tag(slot: number): number {
    return this.#tags[slot];
  }

  /** A slot for an identity that is not there yet, held by that cache, to be written; it has room. */
  insert(tag: number, key: Identity): number {
    const slot = this.#freeCount > 0 ? this.#free[--this.#freeCount] : this.#top++;
    this.#index.insert(key, slot);
    this.#hold(slot, tag);
    return slot;
  }

  /** The record's slot stays, the cache is another one. To be written; its notes are forgotten. */
  retag(slot: number, tag: number, key: Identity): void {
    this.#sum(slot, key);
    this.#hold(slot, tag);
  }

  /**
   * The record at `at`, rendered `now`, in the place of the one in the slot, whose identity it has.
   * False: it is the same, times aside.
   */
  write(slot: number, key: Identity, view: DataView, at: number, now: number): boolean {
    const words = this.words;
    const from = slot * RECORD_WORDS;
    for (let to = from; to < from + RECORD_WORDS; to++, at += 4) {
      words[to] = view.getUint32(at, true);
    }
    this.#stamps[slot] = now;
    const digests = this.#digests;
    const low = digests[2 * slot];
    const high = digests[2 * slot + 1];
    if (low !== 0 || high !== 0) this.#sum(slot, key);
    digestRecord(words, from, digests, 2 * slot);
    this.#sum(slot, key);
    return digests[2 * slot] !== low || digests[2 * slot + 1] !== high;
  }

  free(slot: number): void {
    this.#uncovered ||= this.marked(slot, Mark.CONTESTED);
    const key = this.identity(slot, this.#key);
    this.#index.remove(key);
    this.#sum(slot, key);
    this.#tags[slot] = 0;
    this.#unmark(slot);
    this.#free[this.#freeCount++] = slot;
    // nobody is left: no walk need look at slots that were used once
    if (this.#freeCount === this.#top) this.#startOver();
  }

  /** Free all slots. */
  clear(): void {
    this.#index.clear();
    this.#tags.fill(0, 0, this.#top);
    this.#marks.fill(0, 0, this.#top);
    for (const cache of this.#caches) cache?.digests.clear();
    this.#unsaid = 0;
    this.#startOver();
  }

  identity(slot: number, into: Identity): Identity {
    return into.loadWords(this.words, slot * RECORD_WORDS);
  }

  epoch(slot: number): number {
    return this.words[slot * RECORD_WORDS + EPOCH];
  }

  owner(slot: number): number {
    return this.words[slot * RECORD_WORDS + OWNER];
  }

  origin(slot: number): number {
    return this.words[slot * RECORD_WORDS + ORIGIN];
  }

  sequence(slot: number): number {
    return this.#sequences[slot];
  }

  stream(slot: number): number {
    return this.#streams[slot];
  }

  /** The record has been said, or heard, in that datagram. */
  setSequence(slot: number, sequence: number, stream: number): void {
    this.setMark(slot, Mark.UNSAID, false);
    this.#sequences[slot] = sequence;
    this.#streams[slot] = stream;
  }

  marked(slot: number, mark: number): boolean {
    return (this.#marks[slot] & mark) !== 0;
  }

  setMark(slot: number, mark: number, on: boolean): void {
    if (this.marked(slot, mark) === on) return;
    this.#marks[slot] ^= mark;
    if (mark === Mark.UNSAID) this.#unsaid += on ? 1 : -1;
  }

  /** Take the mark SEEN away from all, four at a time: nothing else has its turn meanwhile. */
  clearSeen(): void {
    const words = new Uint32Array(this.#marks.buffer);
    const others = ~Math.imul(Mark.SEEN, 0x01010101);
    for (let at = 0; 4 * at < this.#top; at++) words[at] &= others;
  }

  /** The first slot from there on whose record that cache holds, and that is not marked; or -1. */
  unmarkedFrom(slot: number, tag: number, mark: number): number {
    const tags = this.#tags;
    const marks = this.#marks;
    for (; slot < this.#top; slot++) if (tags[slot] === tag && !(marks[slot] & mark)) return slot;
    return -1;
  }

  wordsAt(slot: number): number {
    return slot * RECORD_WORDS;
  }

  /** Milliseconds since the record's times were right. */
  age(slot: number, now: number): number {
    return Math.max(0, Math.floor(now - this.#stamps[slot]));
  }

  /** Copy the record, with remaining_ms and idle_ms as of now. */
  render(slot: number, view: DataView, at: number, now: number): void {
    const words = this.words;
    const from = slot * RECORD_WORDS;
    for (let word = 0; word < RECORD_WORDS; word++) {
      view.setUint32(at + 4 * word, words[from + word], true);
    }
    const elapsed = this.age(slot, now);
    const remaining = remainingAfter(words[from + REMAINING], elapsed);
    const idle = idleAfter(words[from + IDLE], elapsed);
    view.setUint32(at + RecordOffset.remainingMs, remaining, true);
    view.setUint32(at + RecordOffset.idleMs, idle, true);
  }

  /** The same into words, which are little-endian as is every machine that this is built for. */
  renderWords(slot: number, into: Uint32Array, at: number, now: number): void {
    const words = this.words;
    const from = slot * RECORD_WORDS;
    for (let word = 0; word < RECORD_WORDS; word++) into[at + word] = words[from + word];
    const elapsed = this.age(slot, now);
    into[at + REMAINING] = remainingAfter(words[from + REMAINING], elapsed);
    into[at + IDLE] = idleAfter(words[from + IDLE], elapsed);
  }

  /** Positive when the record at `at` is newer than the slot's: by (epoch, owner), then generation. */
  compare(view: DataView, at: number, slot: number): number {
    const words = this.words;
    const from = slot * RECORD_WORDS;
    return (
      view.getUint32(at + RecordOffset.epoch, true) - words[from + EPOCH] ||
      view.getUint32(at + RecordOffset.owner, true) - words[from + OWNER] ||
      view.getUint32(at + RecordOffset.generation, true) - words[from + GENERATION]
    );
  }

  #hold(slot: number, tag: number): void {
    this.#tags[slot] = tag;
    this.#digests[2 * slot] = 0;
    this.#digests[2 * slot + 1] = 0;
    this.#unmark(slot);
    this.#sequences[slot] = 0;
    this.#streams[slot] = 0;
  }

  /** The slot's record comes into the sum of its cache, or leaves it. */
  #sum(slot: number, key: Identity): void {
    this.#caches[this.#tags[slot]]?.digests.toggle(bucketOf(key.hash), this.#digests, 2 * slot);
  }

  #unmark(slot: number): void {
    if (this.#marks[slot] & Mark.UNSAID) this.#unsaid--;
    this.#marks[slot] = 0;
  }

  #startOver(): void {
    this.#freeCount = 0;
    this.#top = 0;
  }

  #cache(quota: Quota): Cache {
    const cache = new Cache(this, this.#caches.length, quota);
    this.#caches.push(cache);
    return cache;
  }
}
