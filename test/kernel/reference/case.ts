// SPDX-License-Identifier: MIT
/** One packet on one entry: tried by both, and told of when they disagree. */
import { type Difference, differences } from './compare.js';
import { egress } from './egress.js';
import type { Entry, Leg } from './entry.js';
import { ingress } from './ingress.js';
import { parse } from './parse.js';
import type { Observed, Rig } from './rig.js';
import type { FragmentKey, World } from './world.js';

const MARK = 0x53504c;

export interface Case {
  program: 'ingress' | 'egress';
  leg: Leg;
  entry: Entry;
  frame: Buffer;
  mark: number;
}

/** The entry must be in the rig's table already. */
export function tryCase(rig: Rig, one: Case): { found: Difference[]; after: Entry | undefined } {
  const got = rig.run(one.program, one.leg, one.frame, one.mark);
  // a limit of time may be reached while the program runs
  let found: Difference[] = [];
  for (const nowNs of got.ns) {
    found = judge(rig, one, got, nowNs);
    if (found.length === 0) break;
  }
  return { found, after: got.entry };
}

function judge(rig: Rig, one: Case, got: Observed, nowNs: bigint): Difference[] {
  const { frame } = one;
  const world: World = {
    entry: one.entry,
    nowNs,
    timeoutMs: rig.timeoutMs,
    mark: MARK,
    route: rig.route,
    fragmentLeg: (key) => rig.fragments.get(fragmentName(key)),
    // how many there may be is tried by itself (icmp-limit)
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

export function report(one: Case, found: Difference[], where: string): string {
  return [
    `${where}: ${one.program} on leg ${one.leg}`,
    ...found.map(
      ({ what, expected, got }) => `  ${what}\n    expected ${expected}\n    got      ${got}`,
    ),
    describe(one),
  ].join('\n');
}

function describe({ entry, frame }: Case): string {
  const show = (value: unknown): string =>
    JSON.stringify(
      value,
      (_, inner) => {
        if (typeof inner === 'bigint') return String(inner);
        if (inner?.type === 'Buffer') return Buffer.from(inner.data).toString('hex');
        return inner;
      },
      1,
    ).replace(/\n +(?! *")/g, ' ');
  return `entry ${show(entry)}\npacket ${show(parse(frame))}\nframe ${frame.toString('hex')}`;
}
