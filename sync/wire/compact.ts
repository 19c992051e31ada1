/**
 * The compact form of a record. What the records of one datagram share is said once, as a CONTEXT to
 * which each refers by its number; what is known anyway (owner, version, zeroes) is not said. Nothing
 * is lost by it: a record that the form cannot say goes as it is. docs/wire.md draws the items.
 *
 * Here both sides of it are words: of a record (struct splice_record), and of an item.
 */
import {
  RECORD_VERSION,
  RecordOffset,
  State,
  TUPLE_SIZE,
  TupleOffset,
} from '../../kernel/record/layout.js';
import { idleAfter, remainingAfter } from '../times.js';

/** Words of a record. */
const ID_HIGH = RecordOffset.id / 4 + 1;
const INCARNATION = RecordOffset.incarnation / 4;
const ORIGIN = RecordOffset.origin / 4;
const OWNER = RecordOffset.owner / 4;
const EPOCH = RecordOffset.epoch / 4;
const REMAINING = RecordOffset.remainingMs / 4;
const GENERATION = RecordOffset.generation / 4;
/** Flags in the low half, then a state for each leg. */
const CONTROL = RecordOffset.flags / 4;
const LEGS = RecordOffset.tuple / 4;
const LEG_WORDS = TUPLE_SIZE / 4;
const DESTINATION = TupleOffset.daddr / 4;
const PORTS = TupleOffset.sport / 4;
/** seq_d, tsval_d and base, two words each. */
const NUMBERS = RecordOffset.seqD / 4;
const NUMBER_WORDS = 6;
const SCALES = RecordOffset.wscaleIn / 4;
const IDLE = RecordOffset.idleMs / 4;
const MSS = RecordOffset.mss / 4;
/** Options in the low octet, then version, then zeroes. */
const TAIL = RecordOffset.options / 4;

/** ::ffff:0:0/96, the third word of an IPv4 address. */
const MAPPED = 0xffff0000;

/** A CONTEXT: high half of the ids, incarnation, origin, epoch. */
export const CONTEXT_SIZE = 20;
export const CONTEXT_ORIGIN = 12;
const CONTEXT_WORDS = CONTEXT_SIZE / 4;
/** In one datagram: four bits. */
export const CONTEXTS_MAX = 16;

/** Octets of an item before and after its legs. */
const HEAD_SIZE = 24;
const SCALES_AT = 16;
const LEG4_SIZE = 12;
export const RECORD4_SIZE = HEAD_SIZE + 2 * LEG4_SIZE + 4 * NUMBER_WORDS;
export const RECORD6_SIZE = HEAD_SIZE + 2 * TUPLE_SIZE + 4 * NUMBER_WORDS;

/** Whether a record of `owner` can be said in the compact form. */
export function compressible(words: Uint32Array, at: number, owner: number): boolean {
  const control = words[at + CONTROL];
  return (
    words[at + OWNER] === owner &&
    words[at + ORIGIN] !== 0 &&
    words[at + GENERATION] <= 0xffff &&
    (words[at + SCALES] & 0xf0f0f0f0) === 0 &&
    words[at + TAIL] >>> 8 === RECORD_VERSION &&
    sayable((control >>> 16) & 0xff) &&
    sayable(control >>> 24)
  );
}

/** Two bits for it. */
const sayable = (state: number) => state >= State.SPLICED && state <= State.TIMEWAIT;

export function bothIpv4(words: Uint32Array, at: number): boolean {
  return ipv4(words, at + LEGS) && ipv4(words, at + LEGS + LEG_WORDS);
}

function ipv4(words: Uint32Array, leg: number): boolean {
  return (
    (words[leg] | words[leg + 1] | words[leg + 4] | words[leg + 5]) === 0 &&
    words[leg + 2] === MAPPED &&
    words[leg + DESTINATION + 2] === MAPPED
  );
}

/** The contexts that the datagram under way has. */
export class Contexts {
  readonly #words = new Uint32Array(CONTEXTS_MAX * CONTEXT_WORDS);
  #count = 0;

  get full(): boolean {
    return this.#count === CONTEXTS_MAX;
  }

  clear(): void {
    this.#count = 0;
  }

  /** The number of a record's context, or -1. */
  find(words: Uint32Array, at: number): number {
    const known = this.#words;
    for (let index = this.#count - 1; index >= 0; index--) {
      const to = index * CONTEXT_WORDS;
      if (
        known[to] === words[at + ID_HIGH] &&
        known[to + 1] === words[at + INCARNATION] &&
        known[to + 2] === words[at + INCARNATION + 1] &&
        known[to + 3] === words[at + ORIGIN] &&
        known[to + 4] === words[at + EPOCH]
      ) {
        return index;
      }
    }
    return -1;
  }

  /** One more, written as a CONTEXT at `item`. Returns its number. */
  add(words: Uint32Array, at: number, view: DataView, item: number): number {
    const to = this.#count * CONTEXT_WORDS;
    this.#words[to] = words[at + ID_HIGH];
    this.#words[to + 1] = words[at + INCARNATION];
    this.#words[to + 2] = words[at + INCARNATION + 1];
    this.#words[to + 3] = words[at + ORIGIN];
    this.#words[to + 4] = words[at + EPOCH];
    for (let word = 0; word < CONTEXT_WORDS; word++) {
      view.setUint32(item + 4 * word, this.#words[to + word], true);
    }
    return this.#count++;
  }
}

/**
 * Write the record whose words begin at `at` as an item at `item`.
 * @param short RECORD4, which `bothIpv4` allows; else RECORD6
 * @param elapsed ms since its times were right
 */
export function pack(
  words: Uint32Array,
  at: number,
  view: DataView,
  item: number,
  short: boolean,
  context: number,
  elapsed: number,
): void {
  const control = words[at + CONTROL];
  const states =
    (((control >>> 16) & 0xff) - State.SPLICED) | (((control >>> 24) - State.SPLICED) << 2);
  const bits = nibbles(words[at + SCALES]) | ((words[at + TAIL] & 0xff) << 16);
  view.setUint32(item, words[at], true);
  view.setUint32(item + 4, remainingAfter(words[at + REMAINING], elapsed), true);
  view.setUint32(item + 8, idleAfter(words[at + IDLE], elapsed), true);
  view.setUint32(item + 12, words[at + GENERATION] | (control << 16), true);
  view.setUint32(item + SCALES_AT, bits | (states << 24) | (context << 28), true);
  view.setUint32(item + 20, words[at + MSS], true);
  let to = item + HEAD_SIZE;
  for (let leg = at + LEGS; leg < at + LEGS + 2 * LEG_WORDS; leg += LEG_WORDS) {
    if (short) {
      view.setUint32(to, words[leg + 3], true);
      view.setUint32(to + 4, words[leg + DESTINATION + 3], true);
      view.setUint32(to + 8, words[leg + PORTS], true);
      to += LEG4_SIZE;
    } else {
      for (let word = leg; word < leg + LEG_WORDS; word++, to += 4) {
        view.setUint32(to, words[word], true);
      }
    }
  }
  for (let word = at + NUMBERS; word < at + NUMBERS + NUMBER_WORDS; word++, to += 4) {
    view.setUint32(to, words[word], true);
  }
}

/** The number of the context that an item refers to. */
export function contextOf(view: DataView, item: number): number {
  return view.getUint8(item + SCALES_AT + 3) >>> 4;
}

/** Read an item of `owner` into the words of a record. `context`: where its CONTEXT is. */
export function unpack(
  view: DataView,
  item: number,
  short: boolean,
  context: number,
  owner: number,
  words: Uint32Array,
): void {
  const changes = view.getUint32(item + 12, true);
  const bits = view.getUint32(item + SCALES_AT, true);
  words[0] = view.getUint32(item, true);
  words[ID_HIGH] = view.getUint32(context, true);
  words[INCARNATION] = view.getUint32(context + 4, true);
  words[INCARNATION + 1] = view.getUint32(context + 8, true);
  words[ORIGIN] = view.getUint32(context + CONTEXT_ORIGIN, true);
  words[OWNER] = owner;
  words[EPOCH] = view.getUint32(context + 16, true);
  words[REMAINING] = view.getUint32(item + 4, true);
  words[IDLE] = view.getUint32(item + 8, true);
  words[GENERATION] = changes & 0xffff;
  const state0 = ((bits >>> 24) & 3) + State.SPLICED;
  const state1 = ((bits >>> 26) & 3) + State.SPLICED;
  words[CONTROL] = (changes >>> 16) | (state0 << 16) | (state1 << 24);
  words[MSS] = view.getUint32(item + 20, true);
  words[SCALES] = octets(bits & 0xffff);
  words[TAIL] = ((bits >>> 16) & 0xff) | (RECORD_VERSION << 8);
  let from = item + HEAD_SIZE;
  for (let leg = LEGS; leg < LEGS + 2 * LEG_WORDS; leg += LEG_WORDS) {
    if (short) {
      words[leg] = words[leg + 1] = words[leg + 4] = words[leg + 5] = 0;
      words[leg + 2] = words[leg + DESTINATION + 2] = MAPPED;
      words[leg + 3] = view.getUint32(from, true);
      words[leg + DESTINATION + 3] = view.getUint32(from + 4, true);
      words[leg + PORTS] = view.getUint32(from + 8, true);
      from += LEG4_SIZE;
    } else {
      for (let word = leg; word < leg + LEG_WORDS; word++, from += 4) {
        words[word] = view.getUint32(from, true);
      }
    }
  }
  for (let word = NUMBERS; word < NUMBERS + NUMBER_WORDS; word++, from += 4) {
    words[word] = view.getUint32(from, true);
  }
}

/** Four octets below 16 into 16 bits, the first one lowest. */
function nibbles(word: number): number {
  const pairs = (word | (word >>> 4)) & 0x00ff00ff;
  return (pairs | (pairs >>> 8)) & 0xffff;
}

function octets(bits: number): number {
  const pairs = (bits | (bits << 8)) & 0x00ff00ff;
  return (pairs | (pairs << 4)) & 0x0f0f0f0f;
}
