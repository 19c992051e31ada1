/**
 * The datagrams between the nodes: docs/wire.md draws them. Little-endian, as the records are.
 *
 * A header of fixed size, then segments: each a type, a number of items of one size, and the items.
 * Both are tables here. Parsing gives a value or a named rejection; it does not throw and does not
 * read past the end, and nothing is applied before the whole datagram has been found sound.
 */
export { checksum } from './wire/checksum.js';
export { CONTEXTS_MAX, compressible, contextOf, unpack } from './wire/compact.js';
export { readU64, writeU64 } from './wire/fields.js';
export {
  HEADER_SIZE,
  HELLO_VERSION,
  type Header,
  HeaderFlag,
  MAGIC,
  NONCE_AT,
  Type,
  WIRE_VERSION,
} from './wire/header.js';
export { type Datagram, nameIn, parse, type Reading, type SegmentView } from './wire/parse.js';
export { REJECTIONS, type Rejection } from './wire/rejections.js';
export { ROLES, type Role, type RoleName, readRole, writeRole } from './wire/role.js';
export {
  ACTIVE_HASH,
  COMPARED_RECORDS,
  COMPARED_VERDICT,
  DIGEST_SUM,
  END_BUCKETS,
  EPOCH_MAX,
  GONE_EPOCH,
  GONE_OWNER,
  NAME_MAX,
  OFFER_WHAT,
  Offered,
  PATHS_MAX,
  Refusal,
  ROUND_BUCKETS,
  SEGMENT_SIZE,
  Segment,
  TAKEN_ENTRIES,
  TAKEN_EPOCH,
  TAKEN_OUTCOME,
  TAKEN_SIZE,
  TAKEN_WHY,
  TakenOutcome,
  Verdict,
} from './wire/segments.js';
export { Writer } from './wire/writer.js';
