/** The segments of a datagram: what each is, where it may stand, and what makes an item of it sound. */
import { RECORD_SIZE, RECORD_VERSION, RecordOffset, State } from '../../kernel/record/layout.js';
import { BUCKETS } from '../digest.js';
import { IDENTITY_SIZE } from '../identity.js';
import {
  CONTEXT_ORIGIN,
  CONTEXT_SIZE,
  CONTEXTS_MAX,
  contextOf,
  RECORD4_SIZE,
  RECORD6_SIZE,
} from './compact.js';
import { readU64 } from './fields.js';
import { Type } from './header.js';
import type { Datagram } from './parse.js';
import type { Rejection } from './rejections.js';

/** Bits of a mask of paths. */
export const PATHS_MAX = 32;
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
  /** HELLO: the lowest and the highest version that the sender speaks. */
  VERSIONS: 9,
  /** HELLO: mode of synchronisation of the sender, ASCII; none: FTFW. */
  MODE: 10,
  /** HELLO: the path that it has come by at the sender, how many it has, number of the HELLO. */
  PATH: 11,
  /** HELLO: node id, and on which of its paths that node is heard: bit 0 for path 0. */
  HEARD: 12,
  /** What the compact records after it have in common. */
  CONTEXT: 13,
  /** A record in the compact form, with IPv4 on both legs. */
  RECORD4: 14,
  /** A record in the compact form. */
  RECORD6: 15,
  /** Round, and the digest of some buckets of what the sender owns at this place of its stream. */
  DIGEST: 17,
  /** All records of some buckets have been said: since which sequence. */
  BUCKET_END: 18,
  /** VERDICT: the round, and what came of comparing some buckets. */
  COMPARED: 19,
  /** HELLO, YIELD, YIELDED: what the sender is, and for which takeover it stands. See role.ts. */
  ROLE: 20,
  /** Number of a statement, and the hash of the identity of a flow that is busy as of then; 0: none is. */
  ACTIVE: 21,
  /** OFFER: a number that its answers bear, and what is offered. */
  OFFER: 24,
  /** TAKEN: that number, how far it is, epoch, entries. */
  TAKEN: 25,
} as const;

/** Inside a GONE item: the claim under which the splice has ended. */
export const GONE_EPOCH = IDENTITY_SIZE;
export const GONE_OWNER = GONE_EPOCH + 4;
const GONE_SIZE = GONE_OWNER + 4;
export const NAME_MAX = 63;
const NAME_CHARACTER = Array.from({ length: 256 }, (_, code) =>
  /[A-Za-z0-9._-]/.test(String.fromCharCode(code)),
);

/** Nobody gets there by taking over: an epoch beyond it is noise. */
export const EPOCH_MAX = 0xffff_0000;
/** Inside a ROLE item: how many roles there are, and where its two epochs are. */
const ROLE_COUNT = 4;
const ROLE_EPOCHS = [8, 12];

export interface SegmentRule {
  /** Octets of an item. */
  readonly size: number;
  /** Types of datagram that may carry it. */
  readonly within: readonly number[];
  /** The version that brought it: to earlier ones it is unknown. Default 1. */
  readonly since?: number;
  /** Of the item at `at`. What the datagram has said before it can be relied on. */
  check?(datagram: Datagram, at: number): Rejection | undefined;
}

/** Inside a DIGEST item, after its round and buckets: the digest, 64 bits. */
export const DIGEST_SUM = 8;
/** Inside a DIGEST or COMPARED item: the buckets, as the first one and how many. */
export const ROUND_BUCKETS = 4;
/** Inside a BUCKET_END item, after the sequence. */
export const END_BUCKETS = 8;
/** Inside an ACTIVE item, after the number of the statement. */
export const ACTIVE_HASH = 4;
/** Inside a COMPARED item: the verdict, and how many records of the receiver's the sender holds. */
export const COMPARED_VERDICT = 8;
export const COMPARED_RECORDS = 12;

export const Verdict = {
  EQUAL: 0,
  DIFFERS: 1,
  /** Something before the digest is missing, or the sender is just changing what it holds. */
  UNSURE: 2,
  /** It differs since there was no room. */
  FULL: 3,
} as const;

/** Inside an OFFER item, after its number. */
export const OFFER_WHAT = 4;
const OFFER_SIZE = 8;
/** What is offered. */
export const Offered = { splices: 0, addresses: 1 } as const;

/** Inside a TAKEN item, after the number of the OFFER. */
export const TAKEN_OUTCOME = 4;
export const TAKEN_WHY = 5;
export const TAKEN_EPOCH = 8;
export const TAKEN_ENTRIES = 12;
export const TAKEN_SIZE = 16;

export const TakenOutcome = { UNDER_WAY: 0, TAKEN: 1, REFUSED: 2 } as const;

/** Why an OFFER is refused. */
export const Refusal = {
  failed: 1, // it was tried, and did not succeed
  busy: 2, // another one is under way, or it stops
  'not-in-sync': 3,
  fault: 4, // its failover manager says that it must not be active
  'has-address': 5, // it has a virtual address already
} as const;

const wholeNumbers = ({ view }: Datagram, at: number) =>
  Number.isNaN(readU64(view, at)) || Number.isNaN(readU64(view, at + 8)) ? 'range' : undefined;

export const RULES: Readonly<Record<number, SegmentRule>> = {
  [Segment.RECORD]: { size: RECORD_SIZE, within: [Type.DATA], check: checkRecord },
  [Segment.GONE]: {
    size: GONE_SIZE,
    within: [Type.DATA],
    check: ({ view }, at) =>
      view.getUint32(at + RecordOffset.origin, true) === 0 ? 'record_origin' : undefined,
  },
  [Segment.BULK_END]: { size: 16, within: [Type.DATA], check: wholeNumbers },
  [Segment.REPAIRS]: {
    size: 8,
    within: [Type.DATA],
    check: ({ header, view }, at) =>
      readU64(view, at) < header.sequence ? undefined : 'repairs_future',
  },
  [Segment.FOLLOWED]: { size: 16, within: [Type.REPORT], check: wholeNumbers },
  [Segment.MISSING]: {
    size: 16,
    within: [Type.REPORT],
    check: ({ view }, at) => (readU64(view, at) <= readU64(view, at + 8) ? undefined : 'range'),
  },
  [Segment.NAME]: {
    size: 1,
    within: [Type.HELLO],
    check: ({ bytes }, at) => (NAME_CHARACTER[bytes[at]] ? undefined : 'name'),
  },
  [Segment.MODE]: {
    size: 1,
    within: [Type.HELLO],
    since: 2,
    check: ({ bytes }, at) => (NAME_CHARACTER[bytes[at]] ? undefined : 'name'),
  },
  [Segment.KNOWN]: {
    size: 16,
    within: [Type.HELLO],
    check: ({ view }, at) => (Number.isNaN(readU64(view, at + 8)) ? 'range' : undefined),
  },
  [Segment.VERSIONS]: {
    size: 2,
    within: [Type.HELLO],
    since: 2,
    check: ({ bytes }, at) => (bytes[at] > 0 && bytes[at] <= bytes[at + 1] ? undefined : 'range'),
  },
  [Segment.PATH]: {
    size: 8,
    within: [Type.HELLO],
    since: 2,
    check: ({ bytes }, at) =>
      bytes[at] < bytes[at + 1] && bytes[at + 1] <= PATHS_MAX ? undefined : 'range',
  },
  [Segment.HEARD]: { size: 8, within: [Type.HELLO], since: 2 },
  [Segment.CONTEXT]: { size: CONTEXT_SIZE, within: [Type.DATA], since: 2, check: checkContext },
  [Segment.RECORD4]: { size: RECORD4_SIZE, within: [Type.DATA], since: 2, check: checkCompact },
  [Segment.DIGEST]: {
    size: 16,
    within: [Type.DATA],
    since: 2,
    check: ({ view }, at) => checkBuckets(view, at + ROUND_BUCKETS),
  },
  [Segment.BUCKET_END]: {
    size: 16,
    within: [Type.DATA],
    since: 2,
    check: ({ view }, at) =>
      Number.isNaN(readU64(view, at)) ? 'range' : checkBuckets(view, at + END_BUCKETS),
  },
  [Segment.COMPARED]: {
    size: 16,
    within: [Type.VERDICT],
    since: 2,
    check: ({ bytes, view }, at) =>
      bytes[at + COMPARED_VERDICT] > Verdict.FULL
        ? 'range'
        : checkBuckets(view, at + ROUND_BUCKETS),
  },
  [Segment.ROLE]: {
    size: 20,
    within: [Type.HELLO, Type.YIELD, Type.YIELDED],
    since: 2,
    check: checkRole,
  },
  [Segment.OFFER]: {
    size: OFFER_SIZE,
    within: [Type.OFFER],
    since: 2,
    check: ({ bytes }, at) => (bytes[at + OFFER_WHAT] > Offered.addresses ? 'range' : undefined),
  },
  [Segment.TAKEN]: {
    size: TAKEN_SIZE,
    within: [Type.TAKEN],
    since: 2,
    check: ({ bytes }, at) =>
      bytes[at + TAKEN_OUTCOME] > TakenOutcome.REFUSED ? 'range' : undefined,
  },
  [Segment.ACTIVE]: { size: 8, within: [Type.DATA], since: 2 },
  [Segment.RECORD6]: { size: RECORD6_SIZE, within: [Type.DATA], since: 2, check: checkCompact },
};

function checkRecord({ header, bytes, view }: Datagram, at: number) {
  if (bytes[at + RecordOffset.version] !== RECORD_VERSION) return 'record_version';
  if (view.getUint32(at + RecordOffset.owner, true) !== header.sender) return 'record_owner';
  if (view.getUint32(at + RecordOffset.origin, true) === 0) return 'record_origin';
  for (let leg = 0; leg < 2; leg++) {
    const state = bytes[at + RecordOffset.state + leg];
    if (state < State.SPLICED || state > State.TIMEWAIT) return 'record_state';
  }
  return undefined;
}

function checkBuckets(view: DataView, at: number) {
  const buckets = view.getUint16(at + 2, true);
  return buckets > 0 && view.getUint16(at, true) + buckets <= BUCKETS ? undefined : 'range';
}

function checkRole({ bytes, view }: Datagram, at: number) {
  if (bytes[at] >= ROLE_COUNT) return 'role';
  const beyond = ROLE_EPOCHS.some((field) => view.getUint32(at + field, true) > EPOCH_MAX);
  return beyond ? 'role' : undefined;
}

function checkContext({ view, contexts }: Datagram, at: number) {
  if (view.getUint32(at + CONTEXT_ORIGIN, true) === 0) return 'record_origin';
  if (contexts.length >= CONTEXTS_MAX) return 'record_context';
  contexts.push(at);
  return undefined;
}

function checkCompact({ view, contexts }: Datagram, at: number) {
  return contextOf(view, at) < contexts.length ? undefined : 'record_context';
}
