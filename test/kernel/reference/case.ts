// SPDX-License-Identifier: MIT
/** One packet on one entry: tried by both, and told of when they disagree. */
import { type Difference, differences } from './compare.js';
import { egress } from './egress.js';
import type { Entry, Leg } from './entry.js';
import { ingress } from './ingress.js';
import { parse } from './parse.js';
import type { Observed, Rig } from './rig.js';
import type { FragmentKey, World } from './world.js';

export interface Case {
  program: 'ingress' | 'egress';
  leg: Leg;
  entry: Entry;
  frame: Buffer;
  mark: number;
}

export interface Tried {
  found: Difference[];
  counts: Observed['counts'];
  after: Entry | undefined;
}

/**
 * The entry must be in the rig's table already. Where the kernel had no room for a packet (others on the
 * same machine send too), nothing is found.
 */
export function tryCase(rig: Rig, one: Case): Tried {
  const got = rig.run(one.program, one.leg, one.frame, one.mark);
  // a limit of time may be reached while the program runs
  let found: Difference[] = [];
  const { counts, entry: after } = got;
  if (counts.has('drop_store')) return { found, counts, after: undefined };
  for (const nowNs of got.ns) {
    found = judge(rig, one, got, nowNs);
    if (found.length === 0) break;
  }
  return { found, counts, after };
}

function judge(rig: Rig, one: Case, got: Observed, nowNs: bigint): Difference[] {
  const { frame } = one;
  const world: World = {
    entry: one.entry,
    nowNs,
    timeoutMs: rig.timeoutMs,
    mark: rig.mark,
    aligned: (address, port) => rig.aligned.get(`${address} ${port}`),
    route: rig.route,
    fragmentLeg: (key) => rig.fragments.get(fragmentName(key)),
    guard: rig.guard,
    // how many there may be is another test's business
    mayComplain: !got.counts.has('icmp_limited'),
  };
  const expected =
    one.program === 'ingress' ? ingress(frame, rig.nodeMac, world) : egress(frame, one.mark, world);
  if (expected.noted) rig.fragments.set(fragmentName(expected.noted.key), expected.noted.leg);
  return differences(expected, got, nowNs);
}

function fragmentName({ source, destination, id }: FragmentKey): string {
  return `${source} ${destination} ${id}`;
}

/** What disagrees, and what it is about, for a human. */
export function report({ one, found }: { one: Case; found: Difference[] }, where: string): string {
  const sides = found.flatMap(({ what, expected, got }) => [
    `  ${what}`,
    `    expected ${expected}`,
    `    got      ${got}`,
  ]);
  const entry = Object.entries(one.entry).map(([name, value]) => `  ${name} ${show(value)}`);
  return [
    `${where}: ${one.program} on leg ${one.leg}, mark ${one.mark}`,
    ...sides,
    'packet',
    ...Object.entries(parse(one.frame)).map(([name, value]) => `  ${name} ${show(value)}`),
    `  ${one.frame.toString('hex')}`,
    'entry',
    ...entry,
  ].join('\n');
}

/** Digits; all of them stand in the frame. */
const SHOWN_MAX = 160;

function show(value: unknown): string {
  return JSON.stringify(value, (_, inner) => {
    if (typeof inner === 'bigint') return String(inner);
    if (inner?.type !== 'Buffer') return inner;
    const hex = Buffer.from(inner.data).toString('hex');
    return hex.length > SHOWN_MAX ? `${hex.slice(0, SHOWN_MAX)}… ${hex.length / 2} octets` : hex;
  });
}
