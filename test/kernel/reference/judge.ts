// SPDX-License-Identifier: MIT
/**
 * What a splice learns from the segments that pass, and which of them it believes (RFC 5961): a blind
 * attacker must not be able to do to the splice what he cannot do to its ends.
 *
 * For a direction, all is said in the sequence space of its sender: the receiver's acknowledgements
 * come by in the other direction and are translated back.
 */
import { type Entry, type Leg, other } from './entry.js';
import type { Packet } from './packet.js';
import { add, after, ahead, before, subtract } from './serial.js';

/** Duplicates may be this old and are still believed to belong to the connection. */
const OLD_BYTES_MAX = 2 ** 30;
/** Of what an end has sent, so much beside its window may not have been seen here. */
const UNSEEN_BYTES_MAX = 16 * 2 ** 20;

/** What the receiver of a direction expects next; undefined when it has not been heard yet. */
export function receiverNext(e: Entry, direction: Leg): number | undefined {
  const back = other(direction);
  return e.seen[back] ? subtract(e.seenAck[back], e.seqDelta[direction]) : undefined;
}

/** The receiver may accept it, or has had it not long ago. True also while nothing is known. */
export function inWindow(e: Entry, direction: Leg, seq: number): boolean {
  const next = receiverNext(e, direction);
  if (next === undefined) return true;
  const distance = ahead(seq, next);
  return distance <= e.seenWindow[other(direction)] && distance > -OLD_BYTES_MAX;
}

export type RstVerdict = 'refused' | 'doubtful' | 'believed';

/**
 * The end host believes a RST at exactly the number that it expects next. That lies between its last
 * acknowledgement and the end of what was sent to it. Elsewhere in the window it challenges the sender.
 */
export function judgeRst(e: Entry, direction: Leg, seq: number): RstVerdict {
  const next = receiverNext(e, direction);
  if (next === undefined) return 'doubtful';
  const sent = e.seen[direction] ? e.seenEnd[direction] : next;
  if (seq === next) return 'believed';
  if (before(seq, next)) return 'refused';
  if (e.seen[direction] && !after(seq, sent)) return 'believed';
  return inWindow(e, direction, seq) ? 'doubtful' : 'refused';
}

/** Sequence number behind a segment. */
export function segmentEnd({ tcp, payload }: Packet): number {
  return add(tcp.seq, payload.length + (tcp.flags.fin ? 1 : 0));
}

/** From a segment inside the window: how far its sender is, and how far it lets the other end go. */
export function learn(e: Entry, direction: Leg, packet: Packet): void {
  const { tcp } = packet;
  const end = segmentEnd(packet);
  const window = tcp.window * 2 ** (e.wscaleIn[direction] & 15);
  const first = !e.seen[direction];
  e.seen[direction] = true;
  if (first || after(end, e.seenEnd[direction])) e.seenEnd[direction] = end;
  if (!first && isIncredible(e, direction, tcp.ack)) return;
  if (first || !before(tcp.ack, e.seenAck[direction])) {
    e.seenAck[direction] = tcp.ack;
    e.seenWindow[direction] = window;
    return;
  }
  // older than what is known, and yet it lets the other end go further
  const beyond = ahead(add(tcp.ack, window), e.seenAck[direction]);
  e.seenWindow[direction] = Math.max(e.seenWindow[direction], beyond);
}

/**
 * It acknowledges what nobody has sent (RFC 5961 section 5). What went another way, before this node
 * had the splice, has not been seen; so only what lies far ahead is not believed.
 */
function isIncredible(e: Entry, direction: Leg, ack: number): boolean {
  const back = other(direction);
  const isUnsent = e.seen[back] && after(subtract(ack, e.seqDelta[back]), e.seenEnd[back]);
  return isUnsent && ahead(ack, e.seenAck[direction]) > e.seenWindow[direction] + UNSEEN_BYTES_MAX;
}

/** It acknowledges the other side's FIN. A segment outside the window acknowledges nothing. */
export function acknowledgesFin(e: Entry, direction: Leg, { tcp }: Packet): boolean {
  const back = other(direction);
  return (
    inWindow(e, direction, tcp.seq) &&
    e.fin[back] &&
    !e.finAcked[back] &&
    e.finKnown[back] &&
    !before(subtract(tcp.ack, e.seqDelta[back]), e.finEnd[back])
  );
}

/** It acknowledges all that the proxy itself wrote on this leg. */
export function acknowledgesOwn(e: Entry, leg: Leg, ack: number): boolean {
  return !before(ack, e.ownEnd[leg]);
}
