/** What a REPORT says: how much of a stream has come, what is missing of it, and whether that is all. */
import type { Outbox } from './outbox.js';
import type { Peer } from './peer.js';
import {
  type Datagram,
  HeaderFlag,
  type Rejection,
  readU64,
  Segment,
  Type,
  type Writer,
  writeU64,
} from './wire.js';

/** Tell the peer what has come of its stream. */
export function sayReport(outbox: Outbox, peer: Peer): void {
  outbox.control(
    Type.REPORT,
    {
      receiver: peer.node,
      receiverIncarnation: peer.incarnation,
      ack: peer.window.complete,
      flags: peer.inSync ? HeaderFlag.HOLDS_ALL : 0,
    },
    (writer) => writeReport(writer, peer),
  );
}

/** Note what the peer says of our stream. What it misses is the mode's business. */
export function takeReport(outbox: Outbox, peer: Peer, datagram: Datagram): Rejection | undefined {
  const { header, segments, view } = datagram;
  if (header.ack > outbox.sequence) return 'ack_beyond';
  // an older report that was overtaken says nothing new
  if (header.ack < peer.acked) return 'late';
  peer.acked = header.ack;
  peer.holdsAll = (header.flags & HeaderFlag.HOLDS_ALL) !== 0;
  for (const { type, at, count } of segments) {
    if (type === Segment.FOLLOWED && count > 0) peer.followedFrom = readU64(view, at);
  }
  return undefined;
}

function writeReport(writer: Writer, { window, refusedAt, lackedAt }: Peer): void {
  const followed = writer.item(Segment.FOLLOWED);
  // what was refused is not here, whatever of it has come
  writeU64(writer.view, followed, Math.max(window.base, Math.max(refusedAt, lackedAt) + 1));
  writeU64(writer.view, followed + 8, window.highest);
  for (const range of window.missing) {
    if (!writer.fits(Segment.MISSING)) return;
    const at = writer.item(Segment.MISSING);
    writeU64(writer.view, at, range.from);
    writeU64(writer.view, at + 8, range.to);
  }
}
