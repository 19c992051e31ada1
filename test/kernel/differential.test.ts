// SPDX-License-Identifier: MIT
// deadline: 120
/**
 * Random and adversarial packets through the datapath and through its reference (test/kernel/reference),
 * which is written from the documents and not from the eBPF programs: verdict, every byte, counters and
 * every field of the entry must agree. Several packets pass each splice, whose state carries on.
 *
 *   SEED=123 COUNT=1000000 node --import tsx test/kernel/differential.test.ts
 *
 * repeats a run, or makes a longer one. The seed is printed with what was found.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type CounterName, MARK_ALIGN, Option } from '../../kernel/record/layout.js';
import { isolateOrSkip } from '../support/isolate.js';
import { type Case, report, tryCase } from './reference/case.js';
import { Dice, plan } from './reference/dice.js';
import type { Entry, Leg, Pair } from './reference/entry.js';
import {
  ALIGNED_PORT,
  type Family,
  liveEntry,
  plainFrame,
  randomEntry,
  randomFrame,
} from './reference/generate.js';
import { ETHERNET } from './reference/packet.js';
import { ADDRESSES, Rig, text } from './reference/rig.js';
import { smallest } from './reference/shrink.js';

await isolateOrSkip(import.meta.url);

const PACKETS = 20_000;
const PACKETS_PER_SPLICE_MAX = 6;
/** Of IPv6, in its header. */
const HOP_LIMIT = 7;
/** Of leg 0 and leg 1. */
const FAMILIES: Pair<Family>[] = [
  [4, 4],
  [6, 6],
  [4, 6],
  [6, 4],
];

/** Counters that packets by themselves can move: all of them must have moved, or the packets are too tame. */
const REACHED: CounterName[] = [
  'translated',
  'missed',
  'committed',
  'destroyed',
  'aborted',
  'events',
  'local_copy',
  'clamped',
  'guard_held',
  'drain_syn',
  'hold_ack',
  'hold_fin',
  'old_data',
  'local_rst',
  'local_fin',
  'local_stray',
  'rst_relayed',
  'rst_refused',
  'fin_refused',
  'syn_probed',
  'syn_reused',
  'malformed_passed',
  'drop_malformed',
  'drop_ttl',
  'drop_mtu',
  'drop_route',
  'drop_fragment',
  'drop_ecn',
  'fragments',
  'ip_options',
  'trimmed',
  'icmp_relayed',
  'icmp_refused',
  'icmp_too_big',
  'icmp_ttl',
  'late_reset',
  'syn_aligned',
  'fenced_unspliced',
  'fenced_sent',
];

const test = suite('the datapath against its reference');
const rig = await Rig.open();
rig.guardAddresses([ADDRESSES[0][4].near, ADDRESSES[0][6].near]);
rig.align(text(ADDRESSES[0][4].near), ALIGNED_PORT, Option.TS0 | Option.ECN0);
rig.align(text(ADDRESSES[1][6].near), ALIGNED_PORT, Option.SACK0);

test('whatever a packet is, it has the same effect by both', () => {
  const { seed, count } = plan(PACKETS);
  const dice = new Dice(seed);
  const moved = new Set<CounterName>();
  for (let done = 0; done < count; ) {
    rig.setGuard(dice.once(3), dice.once(3));
    rig.setFence(dice.once(5));
    let entry: Entry | undefined = rig.place(
      randomEntry(dice, process.hrtime.bigint(), dice.pick(FAMILIES)),
    );
    for (let left = 1 + dice.below(PACKETS_PER_SPLICE_MAX); entry && left > 0; left--, done++) {
      const one = randomCase(dice, entry);
      const { found, counts, after } = tryCase(rig, one);
      for (const name of counts.keys()) moved.add(name);
      if (found.length > 0) {
        const shown = smallest(rig, one) ?? { one, found };
        throw new Error(report(shown, `SEED=${seed}, packet ${done}`));
      }
      entry = after;
    }
  }
  const missing = count < PACKETS ? [] : REACHED.filter((name) => !moved.has(name));
  assert.equal(missing, [], `SEED=${seed}: nothing that would count as these was sent`);
});

function randomCase(dice: Dice, entry: Entry): Case {
  const leg = dice.below(2) as Leg;
  const program = dice.once(5) ? 'egress' : 'ingress';
  const frame = randomFrame(
    dice,
    entry,
    leg,
    program === 'egress',
    rig.nodeMac,
    rig.fragments.size > 0,
  );
  return { program, leg, entry, frame, mark: randomMark(dice) };
}

function randomMark(dice: Dice): number {
  if (dice.once(30)) return rig.mark;
  return dice.once(10) ? MARK_ALIGN | dice.below(64) : 0;
}

/** How many ICMP errors a node says at once, and how long it takes until it says one more. */
const ICMP_BURST = 50;
const ICMP_GAP_NS = 1_000_000n;

test('of many packets whose hops are used up, some are complained of, so many at once and a second', async () => {
  const dice = new Dice(1);
  rig.setFence(false);
  await new Promise((resolve) => setTimeout(resolve, 2 * ICMP_BURST)); // as if nobody had complained yet
  const entry = rig.place(liveEntry(dice, process.hrtime.bigint(), [4, 6]));
  const frame = plainFrame(dice, entry, 1, rig.nodeMac);
  frame[ETHERNET + HOP_LIMIT] = 1;
  const sent = 4 * ICMP_BURST;
  const start = process.hrtime.bigint();
  for (let i = 0; i < sent; i++) rig.verdict('ingress', 1, frame);
  const gaps = Number((process.hrtime.bigint() - start) / ICMP_GAP_NS);
  const { counts } = rig.since();
  const said = counts.get('icmp_ttl') ?? 0;
  assert.ok(
    said >= Math.min(sent, ICMP_BURST) && said <= ICMP_BURST + gaps + 1,
    `${said} in ${gaps} ms`,
  );
  assert.is(said + (counts.get('icmp_limited') ?? 0), sent);
  assert.is(counts.get('drop_ttl'), sent);
});

test.after(() => rig.close());
test.run();
