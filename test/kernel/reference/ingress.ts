// SPDX-License-Identifier: MIT
/** Packets that come in (docs/datapath.md, "What happens to a packet that comes in"). */
import { aligned, isSyn } from './align.js';
import { answerSegment, complain } from './answer.js';
import { copyEntry, type Entry, type Leg, other } from './entry.js';
import { fenced, pass } from './fence.js';
import { follow } from './follow.js';
import { forward, isUnreadable, losesMark, prepare } from './forward.js';
import { laterFragment, mayBeFragmented } from './fragment.js';
import { isHeld } from './guard.js';
import { icmp } from './icmp.js';
import { inWindow, judgeRst, receiverNext } from './judge.js';
import { isFinished, isTorn, remove, shorten, tearDown } from './life.js';
import { splitOpenLeg } from './open-leg.js';
import { fragmentOf, type Packet, serialise } from './packet.js';
import { parse } from './parse.js';
import { add, subtract } from './serial.js';
import { type Outcome, Passage, type World } from './world.js';

/** @param ours the Ethernet address of the interface */
export function ingress(frame: Buffer, ours: Buffer, world: World): Outcome {
  const p = new Passage(world, world.entry && copyEntry(world.entry));
  // flooded and promiscuous frames are somebody else's flow
  if (!frame.subarray(0, 6).equals(ours)) return p.end('stack', frame);
  const parsed = parse(frame);
  switch (parsed.kind) {
    case 'other':
      return pass(p, frame, 'in');
    case 'malformed':
      p.count('malformed_passed');
      return pass(p, frame, 'in');
    case 'icmp':
      return icmp(p, parsed.datagram) ?? pass(p, frame, 'in');
    case 'later':
      return laterFragment(p, parsed.datagram) ?? pass(p, frame, 'in');
    case 'tcp':
      return segmentIn(p, frame, parsed.packet);
  }
}

function segmentIn(p: Passage, frame: Buffer, packet: Packet): Outcome {
  const leg = p.entry && legOf(p.entry, packet);
  if (p.entry && leg !== undefined) return hit(p, frame, packet, p.entry, leg);
  if (!fragmentOf(packet.ip)) p.count('missed');
  return fenced(p, frame, 'in') ?? notSpliced(p, frame, packet);
}

function notSpliced(p: Passage, frame: Buffer, packet: Packet): Outcome {
  const { ip, tcp } = packet;
  const options = p.world.aligned(ip.destination, tcp.destinationPort);
  const held = isHeld(p, packet);
  const cut = options && isSyn(packet) && !tcp.flags.rst && !fragmentOf(ip);
  if (cut) p.count('syn_aligned');
  if (held) p.count(held);
  if (held) return p.end('drop');
  return p.end('stack', cut ? serialise(aligned(packet, options)) : frame);
}

/** The leg whose far end sends such packets. */
export function legOf(e: Entry, { ip, tcp }: Packet): Leg | undefined {
  const leg = e.tuple.findIndex(
    (t) =>
      t.far === ip.source &&
      t.near === ip.destination &&
      t.farPort === tcp.sourcePort &&
      t.nearPort === tcp.destinationPort,
  );
  return leg < 0 ? undefined : (leg as Leg);
}

function hit(p: Passage, frame: Buffer, packet: Packet, e: Entry, leg: Leg): Outcome {
  const { ip, tcp } = packet;
  const { flags } = tcp;
  if (e.state[leg] === 'CLOSE' && !isTorn(e)) return p.end('stack', frame); // still shaking hands
  if (e.state[leg] === 'ESTABLISHED') {
    // a FIN now would close the socket before the splice takes over; it comes again
    return flags.fin ? p.drop('hold_fin') : p.end('stack', frame);
  }
  // nobody can answer a fragment
  if (fragmentOf(ip) && (flags.syn || isTorn(e) || !mayBeFragmented(e))) {
    return p.drop('drop_fragment');
  }
  if (flags.syn) return syn(p, frame, packet, e, leg);
  if (isTorn(e) && !flags.rst) return late(p, packet);
  if (ip.hopLimit <= 1)
    return fragmentOf(ip) ? p.drop('drop_ttl') : complain(p, packet, 'drop_ttl');
  if (losesMark(ip, e, leg)) return p.drop('drop_ecn');
  if (flags.rst) return rst(p, packet, e, leg);
  if (!flags.ack) return p.drop('drop_malformed');
  return segment(p, packet, e, leg);
}

/** Data, an acknowledgement, a FIN: what a live connection consists of. */
function segment(p: Passage, packet: Packet, e: Entry, leg: Leg): Outcome {
  if (packet.tcp.flags.fin && !inWindow(e, leg, packet.tcp.seq)) return p.drop('fin_refused');
  if (isUnreadable(packet, e, leg)) return p.drop('drop_malformed');
  if (e.open[leg]) return splitOpenLeg(p, packet, e, leg);
  const ready = prepare(p, packet, e, leg);
  if ('verdict' in ready) return ready;
  follow(p, ready.packet, e, leg);
  return forward(p, ready, e, leg);
}

function rst(p: Passage, packet: Packet, e: Entry, leg: Leg): Outcome {
  const verdict = judgeRst(e, leg, packet.tcp.seq);
  if (verdict === 'refused') return p.drop('rst_refused');
  if (isUnreadable(packet, e, leg)) return p.drop('drop_malformed');
  const ready = prepare(p, packet, e, leg);
  if ('verdict' in ready) return ready;
  if (verdict === 'believed' && !isFinished(e)) {
    tearDown(p, e);
    e.lastSeenNs = p.world.nowNs;
  } else if (receiverNext(e, leg) === undefined) {
    shorten(p, e);
  }
  p.count('rst_relayed');
  return forward(p, ready, e, leg);
}

/** The RST that ended the splice may have been lost: RFC 9293 section 3.10.7.1. */
function late(p: Passage, packet: Packet): Outcome {
  const { tcp, payload } = packet;
  p.count('late_reset');
  if (tcp.flags.ack) return answerSegment(p, packet, tcp.ack, 0, { rst: true });
  const end = add(tcp.seq, payload.length + (tcp.flags.fin ? 1 : 0));
  return answerSegment(p, packet, 0, end, { rst: true, ack: true });
}

function syn(p: Passage, frame: Buffer, packet: Packet, e: Entry, leg: Leg): Outcome {
  const outcome = fenced(p, frame, 'in'); // a new connection is for the owner of the address
  if (outcome) return outcome;
  if (!isFinished(e)) return probe(p, packet, e, leg);
  if (packet.tcp.flags.ack) return p.drop('drop_malformed');
  p.count('syn_reused');
  e.unproven = 0;
  remove(p, e);
  return notSpliced(p, frame, packet);
}

/**
 * The SYN's sender has forgotten the old connection, or somebody guesses. A keep-alive (RFC 9293 section
 * 3.8.4) asks: one octet before what the sender has acknowledged. A live end answers by an ACK, one
 * that has forgotten by RST, or not at all: then the entry goes, and the SYN's next copy passes.
 */
function probe(p: Passage, packet: Packet, e: Entry, leg: Leg): Outcome {
  p.count('syn_probed');
  shorten(p, e);
  const theirs = e.seen[leg] ? e.seenEnd[leg] : e.base[leg];
  const ours = e.seen[leg] ? e.seenAck[leg] : add(e.base[other(leg)], e.seqDelta[other(leg)]);
  return answerSegment(p, packet, subtract(ours, 1), theirs, { ack: true });
}
