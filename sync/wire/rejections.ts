/** Why a datagram was not taken. Each is a counter. */
export const REJECTIONS = [
  'short', // less than a header
  'magic', // not of this protocol
  'version', // of another version of it
  'type', // no such type of datagram
  'key', // sealed, and there is no such key
  'length', // the length in the header is not the datagram's
  'crc', // not as it was sent: the checksum is another one
  'range', // a number above 2^53, or a range that ends before it begins
  'sender', // node 0 does not exist
  'segment', // a segment ends after the datagram, or its size is not that of its items
  'segment_place', // a segment that this type of datagram does not carry
  'record_version',
  'record_owner', // a record that is not the sender's
  'record_origin', // an identity without an origin
  'record_context', // a compact record without its context, or too many contexts
  'record_state', // a splice that cannot live on another node
  'repairs_future', // repairs what comes after it
  'role', // no such role, an epoch that nobody reaches, or a YIELD or YIELDED that does not say one role
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
