/**
 * The datagrams between the nodes: docs/wire.md draws them. Little-endian, as the records are.
 *
 * A header of fixed size, then segments: each a type, a number of items of one size, and the items.
 * Both are tables here. Parsing gives a value or a named rejection; it does not throw and does not
 * read past the end, and nothing is applied before the whole datagram has been found sound.
 */
import { RECORD_SIZE, RECORD_VERSION, RecordOffset, State } from '../kernel/record/layout.js';
import { word } from './cache.js';
import { IDENTITY_SIZE } from './identity.js';

export const MAGIC = 0x434c5053; // "SPLC"
export const WIRE_VERSION = 1;

export const Type = {
  /** Keep-alive: who the sender is, and the highest sequence that it has sent. */
  HELLO: 1,
  /** Records and endings. The only type that takes a sequence of its own. */
  DATA: 2,
  /** To one node: what has come of its stream, and what is missing. */
  REPORT: 3,
  /** To one node or to all: send all that you own. */
  REQUEST: 4,
} as const;

export const HeaderFlag = {
  /** HELLO, DATA: report at once. */
  REPORT_WANTED: 0x01,
  /** REPORT: the sender holds all that the receiver owns. */
  HOLDS_ALL: 0x02,
  /** DATA: what it repairs began in the datagrams before it. */
  CONTINUED: 0x04,
  /** HELLO: the sender stops; nobody need wait for it. */
  LEAVING: 0x08,
} as const;

/** A sequence fits into a double as an integer: 2^53 datagrams. */
const SAFE_HIGH = 0x1fffff;

interface Field {
  readonly at: number;
  read(view: DataView, at: number): number;
  write(view: DataView, at: number, value: number): void;
}

const u8 = (at: number): Field => ({
  at,
  read: (view, at) => view.getUint8(at),
  write: (view, at, value) => view.setUint8(at, value),
});
const u16 = (at: number): Field => ({
  at,
  read: (view, at) => view.getUint16(at, true),
  write: (view, at, value) => view.setUint16(at, value, true),
});
const u32 = (at: number): Field => ({
  at,
  read: (view, at) => view.getUint32(at, true),
  write: (view, at, value) => view.setUint32(at, value, true),
});
const u64 = (at: number): Field => ({ at, read: readU64, write: writeU64 });

/** NaN when the number is above 2^53. */
export function readU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  return high > SAFE_HIGH ? Number.NaN : high * 0x100000000 + view.getUint32(at, true);
}

export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 0x100000000), true);
}

/** Every field of the header, in order. */
const HEADER = {
  magic: u32(0),
  version: u8(4),
  type: u8(5),
  flags: u8(6),
  /** Key that seals the datagram; 0: none. */
  key: u8(7),
  sender: u32(8),
  /** 0: all. */
  receiver: u32(12),
  /** Of the sender's start. */
  incarnation: u64(16),
  /** REPORT, REQUEST: of the start of the receiver that is meant. */
  receiverIncarnation: u64(24),
  /** DATA: its own; else the highest that has been sent. */
  sequence: u64(32),
  /** The lowest that the sender can still repair. */
  oldest: u64(40),
  /** REPORT: all up to here is complete. REQUEST: a bulk that begins here or later will do. */
  ack: u64(48),
  /** Highest epoch that the sender has seen. */
  epoch: u32(56),
  /** Octets after the header. */
  length: u16(60),
  /** Zero, not looked at: room for the nonce of a sealed datagram. */
  reserved: u16(62),
  nonce: u64(64),
} satisfies Record<string, Field>;

export const HEADER_SIZE = 72;
/** Type, count, octets of all items. */
export const SEGMENT_SIZE = 4;

export type HeaderName = keyof typeof HEADER;
export type Header = Record<HeaderName, number>;
const HEADER_FIELDS = Object.entries(HEADER) as [HeaderName, Field][];

export const Segment = {
  /** struct splice_record, owned by the sender. */
  RECORD: 1,
  /** Identity, and the claim under which it has ended (0, 0: the sender just does not own it). */
  GONE: 2,
  /** A bulk is complete: its first sequence, and how many records it listed. */
  BULK_END: 3,
  /** Sequences whose content is in this datagram. */
  REPAIRS: 4,
  /** REPORT: first sequence that the receiver has followed, and the highest that it knows of. */
  FOLLOWED: 5,
  /** REPORT: ranges, first and last sequence. */
  MISSING: 6,
  /** HELLO: NodeName of the sender, ASCII. */
  NAME: 7,
  /** HELLO: node id, zero, incarnation under which the sender knows that node. */
  KNOWN: 8,
} as const;

/** Inside a GONE item: the claim under which the splice has ended. */
export const GONE_EPOCH = IDENTITY_SIZE;
export const GONE_OWNER = GONE_EPOCH + 4;
const GONE_SIZE = GONE_OWNER + 4;
export const NAME_MAX = 63;
const NAME_CHARACTER = Array.from({ length: 256 }, (_, code) =>
  /[A-Za-z0-9._-]/.test(String.fromCharCode(code)),
);

interface SegmentRule {
  readonly size: number;
  /** Types of datagram that may carry it. */
  readonly within: readonly number[];
  check?(header: Header, bytes: Uint8Array, view: DataView, at: number): Rejection | undefined;
}

const wholeNumbers = (_: Header, __: Uint8Array, view: DataView, at: number) =>
  Number.isNaN(readU64(view, at)) || Number.isNaN(readU64(view, at + 8)) ? 'range' : undefined;

const RULES: Readonly<Record<number, SegmentRule>> = {
  [Segment.RECORD]: { size: RECORD_SIZE, within: [Type.DATA], check: checkRecord },
  [Segment.GONE]: {
    size: GONE_SIZE,
    within: [Type.DATA],
    check: (_, __, view, at) =>
      view.getUint32(at + RecordOffset.origin, true) === 0 ? 'record_origin' : undefined,
  },
  [Segment.BULK_END]: { size: 16, within: [Type.DATA], check: wholeNumbers },
  [Segment.REPAIRS]: {
    size: 8,
    within: [Type.DATA],
    check: (header, _, view, at) =>
      readU64(view, at) < header.sequence ? undefined : 'repairs_future',
  },
  [Segment.FOLLOWED]: { size: 16, within: [Type.REPORT], check: wholeNumbers },
  [Segment.MISSING]: {
    size: 16,
    within: [Type.REPORT],
    check: (_, __, view, at) => (readU64(view, at) <= readU64(view, at + 8) ? undefined : 'range'),
  },
  [Segment.NAME]: {
    size: 1,
    within: [Type.HELLO],
    check: (_, bytes, __, at) => (NAME_CHARACTER[bytes[at]] ? undefined : 'name'),
  },
  [Segment.KNOWN]: {
    size: 16,
    within: [Type.HELLO],
    check: (_, __, view, at) => (Number.isNaN(readU64(view, at + 8)) ? 'range' : undefined),
  },
};

/** Why a datagram was not taken. Each is a counter. */
export const REJECTIONS = [
  'short', // less than a header
  'magic', // not of this protocol
  'version', // of another version of it
  'type', // no such type of datagram
  'key', // sealed, and there is no such key
  'length', // the length in the header is not the datagram's
  'range', // a number above 2^53, or a range that ends before it begins
  'sender', // node 0 does not exist
  'segment', // a segment ends after the datagram, or its size is not that of its items
  'segment_place', // a segment that this type of datagram does not carry
  'record_version',
  'record_owner', // a record that is not the sender's
  'record_origin', // an identity without an origin
  'record_state', // a splice that cannot live on another node
  'repairs_future', // repairs what comes after it
  'name', // not a NodeName, or not the one of the sender's id
  'own', // sent by this node, now or before its last start
  'twin', // sent under the id of this node by another one
  'old_incarnation', // of an earlier start of the sender
  'other_start', // meant for another start of this node
  'too_many_peers',
  'late', // came after its successors, too late to tell whether it still holds: repaired
  'duplicate',
  'ack_beyond', // acknowledges what has not been sent
] as const;
export type Rejection = (typeof REJECTIONS)[number];

export interface SegmentView {
  readonly type: number;
  readonly count: number;
  /** Of its first item. */
  readonly at: number;
  /** Octets of an item. */
  readonly size: number;
}

export interface Datagram {
  readonly header: Header;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly segments: readonly SegmentView[];
  /** Segments of a type that this version does not know: skipped. */
  readonly unknown: number;
}

function checkRecord(header: Header, bytes: Uint8Array, _: DataView, at: number) {
  if (bytes[at + RecordOffset.version] !== RECORD_VERSION) return 'record_version';
  if (word(bytes, at + RecordOffset.owner) !== header.sender) return 'record_owner';
  if (word(bytes, at + RecordOffset.origin) === 0) return 'record_origin';
  for (let leg = 0; leg < 2; leg++) {
    const state = bytes[at + RecordOffset.state + leg];
    if (state < State.SPLICED || state > State.TIMEWAIT) return 'record_state';
  }
  return undefined;
}

function checkHeader(header: Header, size: number): Rejection | undefined {
  if (header.magic !== MAGIC) return 'magic';
  if (header.version !== WIRE_VERSION) return 'version';
  if (header.type < Type.HELLO || header.type > Type.REQUEST) return 'type';
  if (header.key !== 0) return 'key';
  if (header.length !== size - HEADER_SIZE) return 'length';
  if (header.sender === 0) return 'sender';
  const { incarnation, receiverIncarnation, sequence, oldest, ack } = header;
  const numbers = incarnation + receiverIncarnation + sequence + oldest + ack;
  if (Number.isNaN(numbers) || oldest > sequence + 1 || oldest === 0) return 'range';
  if (header.type === Type.DATA && sequence === 0) return 'range';
  return undefined;
}

/** The datagram, sound from end to end, or why not. */
export function parse(bytes: Uint8Array): Datagram | Rejection {
  if (bytes.byteLength < HEADER_SIZE) return 'short';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = {} as Header;
  for (const [name, field] of HEADER_FIELDS) header[name] = field.read(view, field.at);
  const wrong = checkHeader(header, bytes.byteLength);
  if (wrong) return wrong;

  const segments: SegmentView[] = [];
  let unknown = 0;
  for (let at = HEADER_SIZE; at < bytes.byteLength; ) {
    if (bytes.byteLength - at < SEGMENT_SIZE) return 'segment';
    const type = bytes[at];
    const count = bytes[at + 1];
    const octets = view.getUint16(at + 2, true);
    at += SEGMENT_SIZE;
    if (octets > bytes.byteLength - at) return 'segment';
    const rule = RULES[type];
    if (rule === undefined) {
      unknown++;
    } else {
      if (octets !== count * rule.size) return 'segment';
      if (!rule.within.includes(header.type)) return 'segment_place';
      for (let item = 0; rule.check && item < count; item++) {
        const fault = rule.check(header, bytes, view, at + item * rule.size);
        if (fault) return fault as Rejection;
      }
      segments.push({ type, count, at, size: rule.size });
    }
    at += octets;
  }
  return { header, bytes, view, segments, unknown };
}

/** One datagram being written. The buffer is used again for the next one. */
export class Writer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  #at = HEADER_SIZE;
  #segment = 0;

  constructor(mtu: number) {
    this.bytes = new Uint8Array(mtu);
    this.view = new DataView(this.bytes.buffer);
  }

  get empty(): boolean {
    return this.#at === HEADER_SIZE;
  }

  /** Octets left, if a new segment has to begin. */
  get left(): number {
    return this.bytes.length - this.#at - SEGMENT_SIZE;
  }

  /** Room for one more item of this type? */
  fits(type: number): boolean {
    const size = RULES[type].size;
    const grows = this.#segment > 0 && this.#grows(type);
    return this.bytes.length - this.#at >= size + (grows ? 0 : SEGMENT_SIZE);
  }

  /** Where to write one more item of this type, which must fit. */
  item(type: number): number {
    if (this.#segment === 0 || !this.#grows(type)) {
      this.#segment = this.#at;
      this.bytes[this.#at] = type;
      this.bytes[this.#at + 1] = 0;
      this.#at += SEGMENT_SIZE;
    }
    const at = this.#at;
    this.#at += RULES[type].size;
    this.bytes[this.#segment + 1]++;
    this.view.setUint16(this.#segment + 2, this.#at - this.#segment - SEGMENT_SIZE, true);
    return at;
  }

  /** The finished datagram, valid until the next item is written. */
  finish(fields: Partial<Header> & { type: number; sender: number }): Uint8Array {
    const header = {
      ...fields,
      magic: MAGIC,
      version: WIRE_VERSION,
      length: this.#at - HEADER_SIZE,
    };
    for (const [name, field] of HEADER_FIELDS) {
      field.write(this.view, field.at, (header as Partial<Header>)[name] ?? 0);
    }
    const datagram = this.bytes.subarray(0, this.#at);
    this.#at = HEADER_SIZE;
    this.#segment = 0;
    return datagram;
  }

  #grows(type: number): boolean {
    return this.bytes[this.#segment] === type && this.bytes[this.#segment + 1] < 255;
  }
}
