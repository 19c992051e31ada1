/**
 * The records of one owner: the internal cache, or the external cache of one peer. A view of the
 * store, where the records of all caches lie side by side: a walk over `top` slots asks of each
 * whether this cache `holds` it.
 */
import { RECORD_SIZE } from '../kernel/record/layout.js';
import { Digests } from './digest.js';
import { Identity } from './identity.js';
import type { Quota, Store, Watch } from './store.js';

export const RECORD_WORDS = RECORD_SIZE / 4;
/** Records in a chunk of a dump: what a caller handles before it lets others have their turn. */
export const CHUNK_RECORDS = 512;

export type Upsert =
  | 'inserted'
  | 'updated' // what was there has changed
  | 'refreshed' // the same: its times are as of now again
  | 'stale' // older than what is there: ignored
  | 'full'; // no room: not kept

export interface CacheStats {
  readonly records: number;
  readonly limit: number;
  readonly inserted: number;
  readonly updated: number;
  readonly refreshed: number;
  readonly stale: number;
  readonly full: number;
  readonly deleted: number;
}

export class Cache {
  readonly #store: Store;
  readonly #tag: number;
  readonly #quota: Quota;
  readonly digests = new Digests();
  /** When a claim of this owner's was last beaten: it may not have heard of that yet. */
  contestedAt = Number.NEGATIVE_INFINITY;
  #size = 0;
  #last = -1;
  readonly #counts = { inserted: 0, updated: 0, refreshed: 0, stale: 0, full: 0, deleted: 0 };
  readonly #key = new Identity();

  /** Made by Store only. */
  constructor(store: Store, tag: number, quota: Quota) {
    this.#store = store;
    this.#tag = tag;
    this.#quota = quota;
  }

  get size(): number {
    return this.#size;
  }

  /** Of this cache; of an external one: of all of them together. */
  get limit(): number {
    return this.#quota.limit;
  }

  /** How many more records find room. */
  get room(): number {
    return this.#quota.limit - this.#quota.used;
  }

  /** Slots from here on have not been used yet: the end of a walk over all slots. */
  get top(): number {
    return this.#store.top;
  }

  /** The slot that the last upsert was about; -1 when it was full. */
  get last(): number {
    return this.#last;
  }

  /** The slot of an identity that this cache holds, or -1. */
  find(key: Identity): number {
    const slot = this.#store.find(key);
    return slot >= 0 && this.holds(slot) ? slot : -1;
  }

  /** The record's slot, or -1; `record` begins with its identity. */
  slotOf(record: Uint8Array): number {
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
    return this.find(this.#key.load(view, 0));
  }

  holds(slot: number): boolean {
    return this.#store.tag(slot) === this.#tag;
  }

  /**
   * Put in the record at `at`, whose identity is `key`, unless what is there is newer: by
   * (epoch, owner), then by generation. Its times are as of `now`. What another cache holds moves.
   */
  upsert(key: Identity, view: DataView, at: number, now = this.#store.now()): Upsert {
    return this.put(this.#store.find(key), key, view, at, now);
  }

  /** The same, where the slot is known in which the store has the identity; -1: it has not. */
  put(slot: number, key: Identity, view: DataView, at: number, now: number): Upsert {
    this.#last = slot;
    if (slot < 0) {
      if (!this.#admit()) return this.#refuse();
      this.#last = this.#store.insert(this.#tag, key);
      this.#store.write(this.#last, key, view, at, now);
      this.#watch?.entered(this.#last);
      return this.#count('inserted');
    }
    const holder = this.#store.cacheOf(slot);
    if (holder !== this) {
      if (holder) {
        holder.contestedAt = now;
        holder.release();
      }
      if (!this.#admit()) {
        this.#store.free(slot);
        return this.#refuse();
      }
      this.#store.retag(slot, this.#tag, key);
      this.#store.write(slot, key, view, at, now);
      this.#watch?.entered(slot);
      return this.#count('inserted');
    }
    if (this.#store.compare(view, at, slot) < 0) return this.#count('stale');
    return this.overwrite(slot, key, view, at, now);
  }

  /** The same, for a slot of this cache whose record is older, whatever it says of itself. */
  overwrite(slot: number, key: Identity, view: DataView, at: number, now: number): Upsert {
    this.#last = slot;
    if (!this.#store.write(slot, key, view, at, now)) return this.#count('refreshed');
    this.#watch?.entered(slot);
    return this.#count('updated');
  }

  remove(slot: number): void {
    this.#watch?.leaves(slot);
    this.removeEnded(slot);
  }

  /** The same for one of which the kernel itself has said that it has ended. */
  removeEnded(slot: number): void {
    this.release();
    this.#store.free(slot);
  }

  /** So many records are not in this cache any more. */
  release(records = 1): void {
    this.#size -= records;
    this.#quota.used -= records;
    this.#counts.deleted += records;
  }

  clear(): void {
    if (this.#size === this.#store.size && !this.#watch) {
      this.#store.clear();
      this.release(this.#size);
    }
    for (let slot = this.#store.top - 1; this.#size > 0; slot--) {
      if (this.holds(slot)) this.remove(slot);
    }
  }

  /** What is this node's own is of no concern to it. */
  get #watch(): Watch | undefined {
    const { watch } = this.#store;
    return watch && this.#store.internal !== this ? watch : undefined;
  }

  identity(slot: number, into: Identity): Identity {
    return this.#store.identity(slot, into);
  }

  epoch(slot: number): number {
    return this.#store.epoch(slot);
  }

  origin(slot: number): number {
    return this.#store.origin(slot);
  }

  /** Sequence of the datagram that carried its present state: sent (internal) or received (external). */
  sequence(slot: number): number {
    return this.#store.sequence(slot);
  }

  /** Number of the stream to which that sequence belongs. */
  stream(slot: number): number {
    return this.#store.stream(slot);
  }

  setSequence(slot: number, sequence: number, stream: number): void {
    this.#store.setSequence(slot, sequence, stream);
  }

  marked(slot: number, mark: number): boolean {
    return this.#store.marked(slot, mark);
  }

  /** The first slot of this cache's, from there on, that is not marked; or -1. */
  unmarkedFrom(slot: number, mark: number): number {
    return this.#store.unmarkedFrom(slot, this.#tag, mark);
  }

  setMark(slot: number, mark: number, on: boolean): void {
    this.#store.setMark(slot, mark, on);
  }

  /** The slab, to be read only: the record of a slot begins at word `wordsAt(slot)`. */
  get words(): Uint32Array {
    return this.#store.words;
  }

  wordsAt(slot: number): number {
    return this.#store.wordsAt(slot);
  }

  /** Milliseconds since the times of the record in the slab were right. */
  age(slot: number, now = this.#store.now()): number {
    return this.#store.age(slot, now);
  }

  /** Copy the record, with remaining_ms and idle_ms as of now. */
  render(slot: number, view: DataView, at: number, now = this.#store.now()): void {
    this.#store.render(slot, view, at, now);
  }

  /**
   * All records, rendered, in chunks of n × 152 bytes. The cache may change between two chunks.
   * @param reused each chunk is good until the next one only, and costs no memory; else they are the
   *   caller's to keep
   */
  *chunks(reused = false): Generator<Uint8Array, void, void> {
    let chunk: Uint8Array | undefined;
    for (let slot = 0; slot < this.top; ) {
      if (!chunk || !reused) chunk = new Uint8Array(CHUNK_RECORDS * RECORD_SIZE);
      const words = new Uint32Array(chunk.buffer);
      const now = this.#store.now();
      let at = 0;
      for (; slot < this.top && at < words.length; slot++) {
        if (!this.holds(slot)) continue;
        this.#store.renderWords(slot, words, at, now);
        at += RECORD_WORDS;
      }
      if (at > 0) yield chunk.subarray(0, 4 * at);
    }
  }

  stats(): CacheStats {
    return { records: this.#size, limit: this.limit, ...this.#counts };
  }

  #admit(): boolean {
    if (this.#quota.used >= this.#quota.limit) return false;
    this.#quota.used++;
    this.#size++;
    return true;
  }

  #refuse(): Upsert {
    this.#last = -1;
    return this.#count('full');
  }

  #count(what: Upsert): Upsert {
    this.#counts[what]++;
    return what;
  }
}

/** A little-endian u32 of bytes that need not be aligned. */
export function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}
