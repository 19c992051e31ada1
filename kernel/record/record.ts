/**
 * The splice record as TypeScript sees it: a view over the bytes that record.h lays out. Nothing is
 * copied; a view is moved over a batch by setting `offset`.
 */
import {
  EVENT_SIZE,
  EventOffset,
  RECORD_SIZE,
  RECORD_VERSION,
  RecordOffset,
  State,
  TUPLE_SIZE,
} from './layout.js';

export type Leg = 0 | 1;

const STATE_NAMES = Object.keys(State) as (keyof typeof State)[];

/** Name of a leg's state, as in enum splice_state; a number that is none is shown as such. */
export function stateName(state: number): string {
  return STATE_NAMES[state] ?? `STATE_${state}`;
}

/**
 * Node id of a NodeName: FNV-1a, 32 bit, over its ASCII characters; 0 means nobody and becomes 1.
 * @throws RangeError when the name is not 1 to 63 of the characters A-Z a-z 0-9 . _ -
 */
export function nodeId(name: string): number {
  if (!/^[A-Za-z0-9._-]{1,63}$/.test(name)) {
    throw new RangeError(`node name "${name}": 1 to 63 of A-Z a-z 0-9 . _ - are expected`);
  }
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0 || 1;
}

/** One record inside bytes. Integers are little-endian, ports are given in host order. */
export class RecordView {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  offset: number;

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.offset = offset;
  }

  /** The 152 bytes of this record (a window, not a copy). */
  get slice(): Uint8Array {
    return this.bytes.subarray(this.offset, this.offset + RECORD_SIZE);
  }

  #u32(field: number): number {
    return this.#view.getUint32(this.offset + field, true);
  }

  #setU32(field: number, value: number): void {
    this.#view.setUint32(this.offset + field, value, true);
  }

  get id(): bigint {
    return this.#view.getBigUint64(this.offset + RecordOffset.id, true);
  }
  set id(value: bigint) {
    this.#view.setBigUint64(this.offset + RecordOffset.id, value, true);
  }
  /** Microseconds of Unix time at which the table of birth was made. */
  get incarnation(): bigint {
    return this.#view.getBigUint64(this.offset + RecordOffset.incarnation, true);
  }
  set incarnation(value: bigint) {
    this.#view.setBigUint64(this.offset + RecordOffset.incarnation, value, true);
  }
  get origin(): number {
    return this.#u32(RecordOffset.origin);
  }
  set origin(value: number) {
    this.#setU32(RecordOffset.origin, value);
  }
  get owner(): number {
    return this.#u32(RecordOffset.owner);
  }
  set owner(value: number) {
    this.#setU32(RecordOffset.owner, value);
  }
  get epoch(): number {
    return this.#u32(RecordOffset.epoch);
  }
  set epoch(value: number) {
    this.#setU32(RecordOffset.epoch, value);
  }
  get generation(): number {
    return this.#u32(RecordOffset.generation);
  }
  set generation(value: number) {
    this.#setU32(RecordOffset.generation, value);
  }
  get remainingMs(): number {
    return this.#u32(RecordOffset.remainingMs);
  }
  set remainingMs(value: number) {
    this.#setU32(RecordOffset.remainingMs, value);
  }
  get idleMs(): number {
    return this.#u32(RecordOffset.idleMs);
  }
  set idleMs(value: number) {
    this.#setU32(RecordOffset.idleMs, value);
  }
  /** Bits of Flag. */
  get flags(): number {
    return this.#view.getUint16(this.offset + RecordOffset.flags, true);
  }
  set flags(value: number) {
    this.#view.setUint16(this.offset + RecordOffset.flags, value, true);
  }
  /** Bits of Option. */
  get options(): number {
    return this.bytes[this.offset + RecordOffset.options];
  }
  set options(value: number) {
    this.bytes[this.offset + RecordOffset.options] = value;
  }
  get version(): number {
    return this.bytes[this.offset + RecordOffset.version];
  }
  set version(value: number) {
    this.bytes[this.offset + RecordOffset.version] = value;
  }

  state(leg: Leg): number {
    return this.bytes[this.offset + RecordOffset.state + leg];
  }
  setState(leg: Leg, state: number): void {
    this.bytes[this.offset + RecordOffset.state + leg] = state;
  }
  /** Added to sequence numbers of a direction, modulo 2^32. */
  seqDelta(direction: Leg): number {
    return this.#u32(RecordOffset.seqD + 4 * direction);
  }
  setSeqDelta(direction: Leg, value: number): void {
    this.#setU32(RecordOffset.seqD + 4 * direction, value);
  }
  /** Added to TSval of a direction, modulo 2^32. */
  tsvalDelta(direction: Leg): number {
    return this.#u32(RecordOffset.tsvalD + 4 * direction);
  }
  setTsvalDelta(direction: Leg, value: number): void {
    this.#setU32(RecordOffset.tsvalD + 4 * direction, value);
  }
  /** First spliced sequence number of a leg's far end. */
  base(leg: Leg): number {
    return this.#u32(RecordOffset.base + 4 * leg);
  }
  setBase(leg: Leg, value: number): void {
    this.#setU32(RecordOffset.base + 4 * leg, value);
  }
  wscaleIn(leg: Leg): number {
    return this.bytes[this.offset + RecordOffset.wscaleIn + leg];
  }
  setWscaleIn(leg: Leg, value: number): void {
    this.bytes[this.offset + RecordOffset.wscaleIn + leg] = value;
  }
  wscaleOut(leg: Leg): number {
    return this.bytes[this.offset + RecordOffset.wscaleOut + leg];
  }
  setWscaleOut(leg: Leg, value: number): void {
    this.bytes[this.offset + RecordOffset.wscaleOut + leg] = value;
  }
  mss(leg: Leg): number {
    return this.#view.getUint16(this.offset + RecordOffset.mss + 2 * leg, true);
  }
  setMss(leg: Leg, value: number): void {
    this.#view.setUint16(this.offset + RecordOffset.mss + 2 * leg, value, true);
  }

  /** The address pair of a leg as packets from its far end carry it. */
  tuple(leg: Leg): TupleView {
    return new TupleView(this.bytes, this.offset + RecordOffset.tuple + TUPLE_SIZE * leg);
  }

  /** Origin, incarnation and id as text: the same for all copies of a splice, different for any two. */
  get identity(): string {
    return `${this.origin.toString(16)}:${this.incarnation.toString(16)}:${this.id.toString(16)}`;
  }
}

/** struct splice_tuple inside bytes. */
export class TupleView {
  readonly bytes: Uint8Array;
  readonly offset: number;

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes;
    this.offset = offset;
  }

  /** Far end. */
  get source(): string {
    return formatAddress(this.bytes, this.offset);
  }
  set source(address: string) {
    parseAddress(address, this.bytes, this.offset);
  }
  /** This node. */
  get destination(): string {
    return formatAddress(this.bytes, this.offset + 16);
  }
  set destination(address: string) {
    parseAddress(address, this.bytes, this.offset + 16);
  }
  get sourcePort(): number {
    return (this.bytes[this.offset + 32] << 8) | this.bytes[this.offset + 33];
  }
  set sourcePort(port: number) {
    this.bytes[this.offset + 32] = port >> 8;
    this.bytes[this.offset + 33] = port;
  }
  get destinationPort(): number {
    return (this.bytes[this.offset + 34] << 8) | this.bytes[this.offset + 35];
  }
  set destinationPort(port: number) {
    this.bytes[this.offset + 34] = port >> 8;
    this.bytes[this.offset + 35] = port;
  }
}

/** A zeroed record of the present version. */
export function newRecord(): RecordView {
  const record = new RecordView(new Uint8Array(RECORD_SIZE));
  record.version = RECORD_VERSION;
  return record;
}

/** View of the record inside the index-th of a batch of events. */
export function eventRecord(events: Uint8Array, index: number): RecordView {
  return new RecordView(events, index * EVENT_SIZE + EventOffset.record);
}

/**
 * Which of two copies of one splice counts: the higher (epoch, owner), and of one owner the higher
 * generation. Positive when a wins, 0 when they are the same version.
 */
export function compareClaims(a: RecordView, b: RecordView): number {
  return a.epoch - b.epoch || a.owner - b.owner || a.generation - b.generation;
}

/** True for an IPv4-mapped address (::ffff:a.b.c.d, RFC 4291). */
export function isMapped(bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < 10; i++) {
    if (bytes[offset + i]) return false;
  }
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff;
}

/** 16 bytes as text: 10.1.0.2 for a mapped address, else as RFC 5952 wants it. */
export function formatAddress(bytes: Uint8Array, offset = 0): string {
  if (isMapped(bytes, offset)) {
    const at = offset + 12;
    return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
  }
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[offset + i] << 8) | bytes[offset + i + 1]);
  let run = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length++;
    if (length > run.length) run = { at, length };
  }
  const hex = (part: number[]) => part.map((g) => g.toString(16)).join(':');
  if (run.at < 0) return hex(groups);
  return `${hex(groups.slice(0, run.at))}::${hex(groups.slice(run.at + run.length))}`;
}

function parseIpv4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes = parts.map((p) => (/^(0|[1-9]\d{0,2})$/.test(p) ? Number(p) : 256));
  return bytes.every((b) => b < 256) ? bytes : undefined;
}

/** @param end the groups end the address: only there it may be written as IPv4 */
function parseGroups(text: string, end: boolean): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    const v4 = end && i === parts.length - 1 ? parseIpv4(part) : undefined;
    if (v4) bytes.push(...v4);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) {
      const group = Number.parseInt(part, 16);
      bytes.push(group >> 8, group & 0xff);
    } else return undefined;
  }
  return bytes;
}

function addressBytes(text: string): number[] | undefined {
  const v4 = parseIpv4(text);
  if (v4) return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...v4];
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half, i) => parseGroups(half, i === halves.length - 1));
  if (!head) return undefined;
  if (halves.length === 1) return head.length === 16 ? head : undefined;
  if (!tail || head.length + tail.length > 14) return undefined;
  return [...head, ...new Array<number>(16 - head.length - tail.length).fill(0), ...tail];
}

/**
 * Write an IPv4 or IPv6 address into 16 bytes.
 * @throws RangeError when the text is neither
 */
export function parseAddress(text: string, into: Uint8Array, offset = 0): void {
  const bytes = addressBytes(text);
  if (!bytes) throw new RangeError(`"${text}" is no IPv4 or IPv6 address`);
  into.set(bytes, offset);
}
