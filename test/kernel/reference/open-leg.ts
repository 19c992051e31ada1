// SPDX-License-Identifier: MIT
/**
 * A leg whose local socket is still open (PRE_SPLICED), since the far end has not acknowledged all that
 * the proxy wrote: a packet is for the other far end, for the socket, or for both in turn.
 */
import { NO_FLAGS } from './answer.js';
import { type Entry, type Leg, other } from './entry.js';
import { follow } from './follow.js';
import { forward, forwardBeside, prepare } from './forward.js';
import { acknowledgesOwn } from './judge.js';
import { type Packet, serialise } from './packet.js';
import { add, after, before } from './serial.js';
import type { Outcome, Passage } from './world.js';

export function splitOpenLeg(p: Passage, packet: Packet, e: Entry, leg: Leg): Outcome {
  const { tcp, payload } = packet;
  const carries = payload.length > 0 || tcp.flags.fin;
  const acknowledged = acknowledgesOwn(e, leg, tcp.ack);
  const told = e.copied[leg];

  // The other end may still miss the proxy's own copy of these bytes, whose numbers they would take.
  if (carries && before(tcp.seq, e.base[leg]) && !e.acked[other(leg)]) {
    follow(p, packet, e, leg);
    return oldData(p, packet, e, leg);
  }
  if (!told && !carries && !acknowledged) {
    follow(p, packet, e, leg);
    return forSocket(p, packet, e, leg);
  }
  const ready = prepare(p, packet, e, leg);
  if ('verdict' in ready) return ready;
  follow(p, ready.packet, e, leg);
  if (told) return forward(p, ready, e, leg, !acknowledged);
  const all = forwardBeside(p, ready, e, leg, !acknowledged);
  if (all) return all;
  if (acknowledged) e.copied[leg] = true;
  return forSocket(p, packet, e, leg);
}

/**
 * What the proxy has read already, sent again because the hold kept its acknowledgement back. The
 * socket, which has it, answers with the acknowledgement that is missing.
 */
function oldData(p: Passage, packet: Packet, e: Entry, leg: Leg): Outcome {
  const { tcp, payload } = packet;
  p.count('old_data');
  const owed = !e.copied[leg] && acknowledgesOwn(e, leg, tcp.ack);
  const isNew = after(add(tcp.seq, payload.length), e.localNext[leg]) || tcp.flags.fin;
  if (owed || isNew) return forSocket(p, packet, e, leg);
  const ack = after(tcp.ack, e.ownEnd[leg]) ? e.ownEnd[leg] : tcp.ack;
  return p.handUp(serialise({ ...packet, tcp: { ...tcp, ack } }));
}

/**
 * The news for the socket, without payload: the acknowledgement, up to the end of its own data. Its
 * sequence number is the one that the socket expects, or it would drop the news with the segment.
 */
function forSocket(p: Passage, packet: Packet, e: Entry, leg: Leg): Outcome {
  const { tcp } = packet;
  p.count('local_copy');
  const bare: Packet = {
    ...packet,
    tcp: {
      ...tcp,
      seq: e.localNext[leg],
      ack: after(tcp.ack, e.ownEnd[leg]) ? e.ownEnd[leg] : tcp.ack,
      flags: { ...NO_FLAGS, ack: true },
      urgent: 0,
    },
    payload: Buffer.alloc(0),
    padding: Buffer.alloc(0),
  };
  return p.handUp(serialise(bare));
}
