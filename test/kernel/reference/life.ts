// SPDX-License-Identifier: MIT
/**
 * The life of a splice: the state of each leg, the time that it is given, whom its changes are told to.
 *
 *   CLOSE → ESTABLISHED → PRE_SPLICED → SPLICED → FIN_RELAYED → SHUTDOWN → TIMEWAIT
 */
import type { StateName, TimeoutName } from '../../../kernel/record/layout.js';
import { type Entry, type Leg, other, type Pair } from './entry.js';
import type { Passage } from './world.js';

const NS_PER_MS = 1_000_000n;

const both = (e: Entry, state: StateName): boolean => e.state[0] === state && e.state[1] === state;
export const isOpen = (e: Entry): boolean => e.open[0] || e.open[1];

/** Torn down by a RST. With an open socket, CLOSE means that the addresses are reserved only. */
export const isTorn = (e: Entry): boolean => both(e, 'CLOSE') && !isOpen(e);
/** Nothing but late packets is expected. */
export const isFinished = (e: Entry): boolean => isTorn(e) || both(e, 'TIMEWAIT');
/** Packets are translated. */
const isActive = (e: Entry): boolean => e.state[0] !== 'CLOSE' && e.state[0] !== 'ESTABLISHED';

function legState(e: Entry, leg: Leg): StateName {
  const towards = other(leg); // the direction that leaves on this leg
  if (e.open[leg] || e.deferred[leg]) return 'PRE_SPLICED';
  if (e.finAcked[towards]) return 'SHUTDOWN';
  if (e.fin[towards]) return 'FIN_RELAYED';
  return 'SPLICED';
}

function activeStates(e: Entry): Pair<StateName> {
  const states: Pair<StateName> = [legState(e, 0), legState(e, 1)];
  return states.every((state) => state === 'SHUTDOWN') ? ['TIMEWAIT', 'TIMEWAIT'] : states;
}

/** What is held for another owner lives until that one says that it has ended. */
const FOR_EVER = 0xffffffff;

const timeoutMsOf = (p: Passage, e: Entry): number =>
  e.standby && !isFinished(e) ? FOR_EVER : p.world.timeoutMs[timeoutOf(e)];

function timeoutOf(e: Entry): TimeoutName {
  if (both(e, 'CLOSE')) return isOpen(e) ? 'synsent' : 'close';
  if (isOpen(e)) return 'synack';
  if (both(e, 'TIMEWAIT')) return 'timewait';
  if (e.fin[0] && e.fin[1]) return 'lastack';
  if (e.fin[0] || e.fin[1]) return 'finwait';
  return 'established';
}

/** A change of flags or states: a new generation, unless another node counts them; with its own timeout. */
function changed(p: Passage, e: Entry, was: { finished: boolean; open: boolean }): void {
  if (!e.standby) e.generation = (e.generation + 1) >>> 0;
  e.timeoutMs = timeoutMsOf(p, e);
  e.shortened = false;
  e.changed = true;
  if (isFinished(e) && !was.finished) p.live -= 1;
  // a splice with open sockets lives here only; other nodes have never heard of it
  if (isOpen(e) || (isTorn(e) && was.open)) return;
  // of one that is held for another owner only its end is said: whoever takes it over must not raise it again
  if (e.standby && !isTorn(e)) return;
  if (was.open) p.count('committed');
  p.count('events');
}

/** Sets flags by leg or direction, and the states that follow from them. */
export function setFlags(
  p: Passage,
  e: Entry,
  set: { fin?: Leg; finAcked?: Leg; acked?: Leg }[],
): void {
  const news = set.filter((flags) =>
    (Object.entries(flags) as [keyof typeof flags, Leg][]).some(([name, side]) => !e[name][side]),
  );
  if (!isActive(e) || news.length === 0) return;
  const was = { finished: isFinished(e), open: isOpen(e) };
  e.deferred = [false, false]; // one that is closing has nothing to wait for
  for (const flags of news) {
    for (const [name, side] of Object.entries(flags) as ['fin' | 'finAcked' | 'acked', Leg][]) {
      e[name][side] = true;
    }
  }
  const states: Pair<StateName> = [legState(e, 0), legState(e, 1)];
  e.state =
    states[0] === 'SHUTDOWN' && states[1] === 'SHUTDOWN' ? ['TIMEWAIT', 'TIMEWAIT'] : states;
  changed(p, e, was);
}

/** A RST that is believed: the splice only waits for what comes late. */
export function tearDown(p: Passage, e: Entry): void {
  const was = { finished: isFinished(e), open: isOpen(e) };
  e.state = ['CLOSE', 'CLOSE'];
  e.open = [false, false];
  e.deferred = [false, false];
  changed(p, e, was);
}

/** Takes a splice out of the table. */
export function remove(p: Passage, e: Entry): void {
  p.count('destroyed');
  if (!isFinished(e)) p.live -= 1;
  // of one torn down, the end has been told already; of one held for another owner, that one tells it unless
  // packets have come for it here
  const told = !e.standby || e.unproven === 0 || e.shortened;
  if (!isOpen(e) && !isTorn(e) && told) p.count('events');
  p.entry = undefined;
}

/** The local socket of a leg is gone, and owes its far end nothing. */
export function commitLeg(p: Passage, e: Entry, leg: Leg): void {
  const was = { finished: isFinished(e), open: isOpen(e) };
  e.open[leg] = false;
  e.state = activeStates(e);
  changed(p, e, was);
}

/** A packet has passed: all the time of the state lies ahead again. */
export function touch(p: Passage, e: Entry): void {
  e.lastSeenNs = p.world.nowNs;
  if (e.unproven) e.unproven = e.probes = 0;
  if (!e.shortened) return;
  e.shortened = false;
  e.timeoutMs = timeoutMsOf(p, e);
}

/** Doubts: it goes soon unless traffic shows that it lives. What is left is never prolonged by that. */
export function shorten(p: Passage, e: Entry): void {
  const probe = p.world.timeoutMs.probe;
  const idleMs = Number(BigInt.asUintN(64, p.world.nowNs - e.lastSeenNs) / NS_PER_MS);
  if (idleMs + probe >= e.timeoutMs) return;
  e.lastSeenNs = p.world.nowNs;
  e.timeoutMs = probe;
  e.shortened = true;
}
