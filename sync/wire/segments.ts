/** The segments of a datagram: what each is, where it may stand, and what makes an item of it sound. */
import { RECORD_SIZE, RECORD_VERSION, RecordOffset, State } from '../../kernel/record/layout.js';
import { word } from '../cache.js';
import { IDENTITY_SIZE } from '../identity.js';
import { readU64 } from './fields.js';
import { type Header, Type } from './header.js';
import type { Rejection } from './rejections.js';

/** Octets before the items: type, count, octets of all items. */
export const SEGMENT_SIZE = 4;

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

export interface SegmentRule {
  readonly size: number;
  /** Types of datagram that may carry it. */
  readonly within: readonly number[];
  check?(header: Header, bytes: Uint8Array, view: DataView, at: number): Rejection | undefined;
}

const wholeNumbers = (_: Header, __: Uint8Array, view: DataView, at: number) =>
  Number.isNaN(readU64(view, at)) || Number.isNaN(readU64(view, at + 8)) ? 'range' : undefined;

export const RULES: Readonly<Record<number, SegmentRule>> = {
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
