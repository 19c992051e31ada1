/** Records as numbers: who a splice is, which version of it, and what it says. */
import { RECORD_SIZE, RecordOffset } from '../../../kernel/record/layout.js';

/** A claim on a splice. */
export interface Claim {
  readonly epoch: number;
  readonly owner: number;
}

/** One version of one splice. */
export interface Version extends Claim {
  readonly generation: number;
  /** Of all that is the same wherever the record is held: everything but its times. */
  readonly hash: number;
}

const WORDS = RECORD_SIZE / 4;
const TIMES = [RecordOffset.remainingMs / 4, RecordOffset.idleMs / 4];
const EPOCH = RecordOffset.epoch / 4;
const OWNER = RecordOffset.owner / 4;
const GENERATION = RecordOffset.generation / 4;

/** Reads one record after the other, without leaving anything behind. */
export class Reader {
  readonly bytes = new Uint8Array(RECORD_SIZE);
  readonly view = new DataView(this.bytes.buffer);
  readonly #words = new Uint32Array(this.bytes.buffer);

  load(bytes: Uint8Array, at: number): this {
    this.bytes.set(bytes.subarray(at, at + RECORD_SIZE));
    return this;
  }

  /**
   * The splice as a number: tables of the simulation have incarnations whose lower halves differ, and
   * give out ids below 2^20. What else a damaged record may be is told by its hash.
   */
  get key(): number {
    return keyIn(this.#words, 0);
  }

  get hash(): number {
    const words = this.#words;
    let hash = 0x811c9dc5;
    for (let at = 0; at < WORDS; at++) {
      if (at === TIMES[0] || at === TIMES[1]) continue;
      hash = Math.imul(hash ^ words[at], 0x01000193);
      hash ^= hash >>> 15;
    }
    return hash >>> 0;
  }

  get version(): Version {
    const words = this.#words;
    const { hash } = this;
    return { epoch: words[EPOCH], owner: words[OWNER], generation: words[GENERATION], hash };
  }

  /** The record that begins at this word. */
  take(words: Uint32Array, from: number): this {
    for (let word = 0; word < WORDS; word++) this.#words[word] = words[from + word];
    return this;
  }
}

/** The splice of the record that begins at this word, as Reader.key. */
export function keyIn(words: Uint32Array, from: number): number {
  return words[from + 2] * 0x100000 + (words[from] & 0xfffff);
}

/** Is that record of this version? */
export function isVersion(words: Uint32Array, from: number, version: Version): boolean {
  return (
    words[from + GENERATION] === version.generation &&
    words[from + EPOCH] === version.epoch &&
    words[from + OWNER] === version.owner
  );
}

/** The splice as a number, of an identity. */
export function keyOf(identity: Uint8Array): number {
  return keyAt(new DataView(identity.buffer, identity.byteOffset), 0);
}

/** The splice as a number, as Reader.key, of an identity elsewhere. */
export function keyAt(view: DataView, at: number): number {
  return view.getUint32(at + 8, true) * 0x100000 + (view.getUint32(at, true) & 0xfffff);
}

/** Positive when a is the stronger claim, 0 when they are the same. */
export function compareClaims(a: Claim, b: Claim): number {
  return a.epoch - b.epoch || a.owner - b.owner;
}
