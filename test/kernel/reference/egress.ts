// SPDX-License-Identifier: MIT
/** Packets that the local stack sends on addresses that are, or are about to be, spliced. */
import { MARK_ALIGN } from '../../../kernel/record/layout.js';
import { aligned, isSyn } from './align.js';
import { copyEntry, type Entry, type Leg, other } from './entry.js';
import { fenced, pass } from './fence.js';
import { legOf } from './ingress.js';
import { commitLeg, isTorn, remove } from './life.js';
import { isTimestamp, readOptions, timestamp, withTimestamp, writeOptions } from './options.js';
import { type Packet, serialise } from './packet.js';
import { parse } from './parse.js';
import { add, after, before, later, subtract } from './serial.js';
import { type Outcome, Passage, type World } from './world.js';

export function egress(frame: Buffer, mark: number, world: World): Outcome {
  const p = new Passage(world, world.entry && copyEntry(world.entry));
  if (mark === world.mark) return p.end('stack', frame); // translated: it leaves as it is
  const parsed = parse(frame);
  if (parsed.kind !== 'tcp') return pass(p, frame, 'out');
  const { packet } = parsed;
  if ((mark & ~0xff) === MARK_ALIGN && isSyn(packet)) {
    const outcome = fenced(p, frame, 'out');
    if (outcome) return outcome;
    p.count('syn_aligned');
    return p.end('stack', serialise(aligned(packet, mark & 0xff)));
  }
  const leg = p.entry && legOf(p.entry, turned(packet));
  if (!p.entry || leg === undefined) return pass(p, frame, 'out');
  return local(p, frame, packet, p.entry, leg);
}

/** As if it had come in from the far end. */
function turned(packet: Packet): Packet {
  const { ip, tcp } = packet;
  return {
    ...packet,
    ip: { ...ip, source: ip.destination, destination: ip.source },
    tcp: { ...tcp, sourcePort: tcp.destinationPort, destinationPort: tcp.sourcePort },
  };
}

function local(p: Passage, frame: Buffer, packet: Packet, e: Entry, leg: Leg): Outcome {
  const { flags } = packet.tcp;
  const making = e.state[leg] === 'CLOSE' || e.state[leg] === 'ESTABLISHED';
  if (making && !isTorn(e)) {
    if (flags.fin || flags.rst) return abort(p, frame, e);
    const outcome = fenced(p, frame, 'out');
    if (outcome || e.state[leg] === 'CLOSE') return outcome ?? p.end('stack', frame);
    return held(p, frame, packet, e, leg);
  }
  if (e.open[leg]) return ownData(p, frame, packet, e, leg);
  // nobody here speaks for a spliced leg: this is the stack's answer to a stray packet
  return p.drop(packet.tcp.flags.rst ? 'local_rst' : 'local_stray');
}

/**
 * A proxy closes a socket only after it has given the entry back, or committed the leg. So the proxy has
 * died, and the kernel closes for it: the stack is to tell both ends.
 */
function abort(p: Passage, frame: Buffer, e: Entry): Outcome {
  p.count('aborted');
  remove(p, e);
  return pass(p, frame, 'out');
}

/** Nothing may acknowledge more than the proxy had taken when the hold began. */
function held(p: Passage, frame: Buffer, packet: Packet, e: Entry, leg: Leg): Outcome {
  const { tcp, payload } = packet;
  const { flags } = tcp;
  if (flags.syn || !after(tcp.ack, e.base[leg])) return p.end('stack', frame);
  if (payload.length === 0 && !flags.fin) return p.drop('hold_ack');
  return p.end('stack', serialise({ ...packet, tcp: { ...tcp, ack: e.base[leg] } }));
}

/**
 * The proxy's own data, while packets are translated beside them: they say what the last translated
 * segment said of the other end, never close the connection, and are no older than what has passed them
 * by, or the far end takes them for duplicates (PAWS, RFC 7323 section 5).
 */
function ownData(p: Passage, frame: Buffer, packet: Packet, e: Entry, leg: Leg): Outcome {
  const { tcp, payload } = packet;
  if (tcp.flags.rst) return p.drop('local_rst');
  if (tcp.flags.fin) {
    // the proxy has died: what it still had to say is in the socket's queue, or is not
    if (before(add(tcp.seq, payload.length), e.ownEnd[leg])) return abort(p, frame, e);
    if (e.acked[leg]) commitLeg(p, e, leg);
    p.count('local_fin');
    if (payload.length === 0) return p.end('drop');
  }
  const options = readOptions(tcp.options)?.map((option) => {
    if (!isTimestamp(option)) return option;
    const { value, echo } = timestamp(option);
    return withTimestamp(option, later(e.tsSent[leg], value), echo);
  });
  const from = other(leg); // the direction that leaves here
  const own: Packet = {
    ...packet,
    tcp: {
      ...tcp,
      ack: subtract(e.seenAck[from], e.seqDelta[leg]),
      window: Math.min(0xffff, Math.floor(e.seenWindow[from] / 2 ** (e.wscaleOut[leg] & 15))),
      flags: { ...tcp.flags, fin: false },
      options: options ? writeOptions(options) : tcp.options,
    },
  };
  return p.end('stack', serialise(own));
}
