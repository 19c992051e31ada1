/**
 * Records of one owner in one slab: the internal cache, and the external cache of each peer.
 *
 * The slab is one ArrayBuffer for HashLimit records. Slots are filled from its start and the
 * operating system backs only pages that have been written, so it costs memory in proportion to the
 * records that there are, and never has to be copied to grow. Nothing in it is an object: a million
 * records do not concern the garbage collector.
 *
 * A slot stays where it is for the life of its record, so a walk that pauses misses nobody.
 */
import { RECORD_SIZE, RecordOffset } from '../kernel/record/layout.js';
import { Identity, Index } from './identity.js';

const WORDS = RECORD_SIZE / 4;
const EPOCH = RecordOffset.epoch / 4;
const OWNER = RecordOffset.owner / 4;
const GENERATION = RecordOffset.generation / 4;
const REMAINING = RecordOffset.remainingMs / 4;
const IDLE = RecordOffset.idleMs / 4;

/** Records in a chunk of a dump: what a caller handles before it lets others have their turn. */
export const CHUNK_RECORDS = 512;

export type Upsert =
  | 'inserted'
  | 'updated' // a newer version of what was there
  | 'refreshed' // the same version: its times are as of now again
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

/** Notes of the engine's own about a record. */
export const Mark = {
  /** Taken over by a commit: somebody may come back with a weaker claim. */
  TAKEN: 1,
  /** Seen during the resync that is under way. */
  SEEN: 2,
} as const;

export class Cache {
  readonly limit: number;
  readonly #now: () => number;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #index: Index;
  /** Local time at which a slot's record was rendered. */
  readonly #stamps: Float64Array;
  readonly #sequences: Float64Array;
  readonly #streams: Uint32Array;
  readonly #marks: Uint8Array;
  readonly #used: Uint8Array;
  /** Freed slots, reused last in, first out. */
  readonly #free: Uint32Array;
  #freeCount = 0;
  #top = 0;
  #size = 0;
  #last = -1;
  readonly #counts = { inserted: 0, updated: 0, refreshed: 0, stale: 0, full: 0, deleted: 0 };
  readonly #key = new Identity();

  /** @param now local milliseconds, never going back */
  constructor(limit: number, now: () => number) {
    this.limit = limit;
    this.#now = now;
    this.#words = new Uint32Array(limit * WORDS);
    this.#bytes = new Uint8Array(this.#words.buffer);
    this.#index = new Index(this.#words, WORDS, limit);
    this.#stamps = new Float64Array(limit);
    this.#sequences = new Float64Array(limit);
    this.#streams = new Uint32Array(limit);
    this.#marks = new Uint8Array(limit);
    this.#used = new Uint8Array(limit);
    this.#free = new Uint32Array(limit);
  }

  get size(): number {
    return this.#size;
  }

  /** Slots from here on have not been used yet: the end of a walk over all slots. */
  get top(): number {
    return this.#top;
  }

  /** The slot that the last upsert was about; -1 when it was full. */
  get last(): number {
    return this.#last;
  }

  /** The slot of an identity, or -1. */
  find(key: Identity): number {
    return this.#index.find(key);
  }

  /** The record's slot, or -1; `record` begins with its identity. */
  slotOf(record: Uint8Array): number {
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
    return this.find(this.#key.load(view, 0));
  }

  holds(slot: number): boolean {
    return this.#used[slot] === 1;
  }

  /**
   * Put in the record at `offset`, whose identity is `key`, unless what is there is newer: by
   * (epoch, owner), then by generation. Its times count as of now.
   */
  upsert(key: Identity, bytes: Uint8Array, offset: number): Upsert {
    const found = this.#index.find(key);
    this.#last = found;
    if (found >= 0) {
      const order = this.#compare(bytes, offset, found);
      if (order < 0) return this.#count('stale');
      this.#write(found, bytes, offset);
      return this.#count(order === 0 ? 'refreshed' : 'updated');
    }
    const slot = this.#take();
    this.#last = slot;
    if (slot < 0) return this.#count('full');
    this.#write(slot, bytes, offset);
    this.#index.insert(key, slot);
    this.#used[slot] = 1;
    this.#marks[slot] = 0;
    this.#sequences[slot] = 0;
    this.#streams[slot] = 0;
    this.#size++;
    return this.#count('inserted');
  }

  remove(slot: number): void {
    this.#index.remove(this.identity(slot, this.#key));
    this.#used[slot] = 0;
    this.#free[this.#freeCount++] = slot;
    this.#size--;
    this.#counts.deleted++;
  }

  clear(): void {
    this.#counts.deleted += this.#size;
    this.#index.clear();
    this.#used.fill(0, 0, this.#top);
    this.#freeCount = 0;
    this.#top = 0;
    this.#size = 0;
  }

  identity(slot: number, into: Identity): Identity {
    return into.loadWords(this.#words, slot * WORDS);
  }

  epoch(slot: number): number {
    return this.#words[slot * WORDS + EPOCH];
  }

  owner(slot: number): number {
    return this.#words[slot * WORDS + OWNER];
  }

  origin(slot: number): number {
    return this.#words[slot * WORDS + RecordOffset.origin / 4];
  }

  /** Sequence of the datagram that carried its present state: sent (internal) or received (external). */
  sequence(slot: number): number {
    return this.#sequences[slot];
  }

  /** Number of the stream to which that sequence belongs. */
  stream(slot: number): number {
    return this.#streams[slot];
  }

  setSequence(slot: number, sequence: number, stream: number): void {
    this.#sequences[slot] = sequence;
    this.#streams[slot] = stream;
  }

  marked(slot: number, mark: number): boolean {
    return (this.#marks[slot] & mark) !== 0;
  }

  setMark(slot: number, mark: number, on: boolean): void {
    if (on) this.#marks[slot] |= mark;
    else this.#marks[slot] &= ~mark;
  }

  /** Take a mark away from all. */
  clearMark(mark: number): void {
    for (let slot = 0; slot < this.#top; slot++) this.#marks[slot] &= ~mark;
  }

  /** Copy the record, with remaining_ms and idle_ms as of now. */
  render(slot: number, into: Uint8Array, view: DataView, at: number): void {
    const from = slot * RECORD_SIZE;
    into.set(this.#bytes.subarray(from, from + RECORD_SIZE), at);
    const elapsed = Math.max(0, Math.floor(this.#now() - this.#stamps[slot]));
    const remaining = this.#words[slot * WORDS + REMAINING];
    const idle = this.#words[slot * WORDS + IDLE];
    view.setUint32(at + RecordOffset.remainingMs, Math.max(0, remaining - elapsed), true);
    view.setUint32(at + RecordOffset.idleMs, Math.min(0xffffffff, idle + elapsed), true);
  }

  /**
   * All records, rendered, in chunks of n × 152 bytes that are the caller's to keep. The cache may
   * change between two chunks.
   */
  *chunks(): Generator<Uint8Array, void, void> {
    for (let slot = 0; slot < this.#top; ) {
      const chunk = new Uint8Array(CHUNK_RECORDS * RECORD_SIZE);
      const view = new DataView(chunk.buffer);
      let at = 0;
      for (; slot < this.#top && at < chunk.length; slot++) {
        if (this.#used[slot] === 0) continue;
        this.render(slot, chunk, view, at);
        at += RECORD_SIZE;
      }
      if (at > 0) yield chunk.subarray(0, at);
    }
  }

  stats(): CacheStats {
    return { records: this.#size, limit: this.limit, ...this.#counts };
  }

  #count(what: Upsert): Upsert {
    this.#counts[what]++;
    return what;
  }

  #take(): number {
    if (this.#freeCount > 0) return this.#free[--this.#freeCount];
    return this.#top < this.limit ? this.#top++ : -1;
  }

  #write(slot: number, bytes: Uint8Array, offset: number): void {
    this.#bytes.set(bytes.subarray(offset, offset + RECORD_SIZE), slot * RECORD_SIZE);
    this.#stamps[slot] = this.#now();
  }

  /** Positive when the bytes are newer than the slot. */
  #compare(bytes: Uint8Array, offset: number, slot: number): number {
    const at = slot * WORDS;
    return (
      word(bytes, offset + RecordOffset.epoch) - this.#words[at + EPOCH] ||
      word(bytes, offset + RecordOffset.owner) - this.#words[at + OWNER] ||
      word(bytes, offset + RecordOffset.generation) - this.#words[at + GENERATION]
    );
  }
}

/** A little-endian u32 of bytes that need not be aligned. */
export function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}
