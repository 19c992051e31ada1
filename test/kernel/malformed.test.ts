// SPDX-License-Identifier: MIT
// deadline: 120
/**
 * Malformed packets by the hundred thousand: cut at every length, lying about every length, options,
 * chains of extension headers and ICMP quotes of nonsense. Each has one verdict and, where one is named,
 * its counter; none of them changes the table.
 *
 *   SEED=123 COUNT=1000000 node --import tsx test/kernel/malformed.test.ts
 */
import { isDeepStrictEqual } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { CounterName } from '../../kernel/record/layout.js';
import { isolateOrSkip } from '../support/isolate.js';
import { Dice, plan } from './reference/dice.js';
import type { Entry, Leg, Pair } from './reference/entry.js';
import { type Family, icmpFrame, liveEntry, plainFrame } from './reference/generate.js';
import { legOf } from './reference/ingress.js';
import {
  brokenChain,
  brokenOptions,
  lyingHeaders,
  lyingLengths,
  noise,
  noisy,
  truncated,
} from './reference/mangle.js';
import { readOptions } from './reference/options.js';
import { fragmentOf } from './reference/packet.js';
import { parse } from './reference/parse.js';
import { Rig } from './reference/rig.js';

await isolateOrSkip(import.meta.url);

const PACKETS = 100_000;
/** Between two looks at the counters and the table. */
const BATCH = 200;
const FAMILIES: Pair<Family>[] = [
  [4, 4],
  [6, 6],
  [4, 6],
  [6, 4],
];

interface Expected {
  verdict: 'stack' | 'drop';
  counter: CounterName | undefined;
}

/** What must become of a packet that makes no sense; undefined of one that does, or might. */
function expectation(frame: Buffer, e: Entry, leg: Leg): Expected | undefined {
  const parsed = parse(frame);
  if (parsed.kind === 'malformed') return { verdict: 'stack', counter: 'malformed_passed' };
  // no first fragment has been sent, so no later one belongs to anything
  if (parsed.kind === 'other' || parsed.kind === 'later')
    return { verdict: 'stack', counter: undefined };
  if (parsed.kind === 'icmp') return undefined;
  const { ip, tcp } = parsed.packet;
  if (legOf(e, parsed.packet) !== leg) {
    const counter = fragmentOf(ip) ? undefined : 'missed';
    return { verdict: 'stack', counter };
  }
  const { syn, rst, fin } = tcp.flags;
  if (readOptions(tcp.options) || syn || rst || fin || fragmentOf(ip)) return undefined;
  if (ip.hopLimit <= 1 || (ip.trafficClass & 3) === 3) return undefined;
  return { verdict: 'drop', counter: 'drop_malformed' };
}

const test = suite('malformed packets');
const rig = await Rig.open();
const { seed, count } = plan(PACKETS);
const dice = new Dice(seed);

/** Sends one, and looks at everything. */
function refuseOne(e: Entry, leg: Leg, frame: Buffer, { verdict, counter }: Expected): void {
  const where = `SEED=${seed}, leg ${leg}: ${frame.toString('hex')}`;
  assert.is(rig.verdict('ingress', leg, frame), verdict, where);
  const { counts, entry } = rig.since();
  assert.equal(Object.fromEntries(counts), counter ? { [counter]: 1 } : {}, where);
  assert.equal(entry, e, where);
}

/** Sends those that make no sense; returns how many they were. */
function refuse(e: Entry, leg: Leg, frames: Iterable<Buffer>): number {
  let sent = 0;
  let batch: [Buffer, Expected][] = [];
  const look = (): void => {
    const counters = batch.flatMap(([, { counter }]) => counter ?? []);
    const expected: Partial<Record<CounterName, number>> = {};
    for (const counter of counters) expected[counter] = (expected[counter] ?? 0) + 1;
    const { counts, entry } = rig.since();
    if (!isDeepStrictEqual([Object.fromEntries(counts), entry], [expected, e])) {
      // which of them was it? They change nothing, so they can be sent again.
      for (const [frame, wanted] of batch) refuseOne(e, leg, frame, wanted);
      assert.unreachable(`SEED=${seed}: ${[...counts]} in place of ${Object.entries(expected)}`);
    }
    batch = [];
  };
  for (const frame of frames) {
    const wanted = expectation(frame, e, leg);
    if (!wanted) continue;
    const verdict = rig.verdict('ingress', leg, frame);
    assert.is(verdict, wanted.verdict, `SEED=${seed}, leg ${leg}: ${frame.toString('hex')}`);
    sent++;
    batch.push([frame, wanted]);
    if (batch.length === BATCH) look();
  }
  look();
  return sent;
}

for (const families of FAMILIES) {
  const name = families.map((family) => `IPv${family}`).join(' to ');

  test(`whatever lengths a packet claims, none is believed that cannot be: ${name}`, () => {
    for (const leg of [0, 1] as const) {
      const e = rig.place(liveEntry(dice, process.hrtime.bigint(), families));
      const frame = plainFrame(dice, e, leg, rig.nodeMac);
      for (const lies of [truncated, lyingLengths, lyingHeaders]) {
        assert.ok(refuse(e, leg, lies(frame)) > 0);
      }
      assert.ok(refuse(e, leg, truncated(icmpFrame(dice, e, leg, rig.nodeMac))) > 0);
    }
  });

  test(`options, chains of headers and noise: ${name}`, () => {
    const share = count / FAMILIES.length;
    for (let sent = 0; sent < share; ) {
      const e = rig.place(liveEntry(dice, process.hrtime.bigint(), families));
      const leg = dice.below(2) as Leg;
      const before = sent;
      sent += refuse(e, leg, mangled(e, leg, families[leg]));
      assert.ok(sent > before);
    }
  });
}

const MANGLED_PER_SPLICE = 4_000;

function* mangled(e: Entry, leg: Leg, family: Family): Generator<Buffer> {
  for (let i = 0; i < MANGLED_PER_SPLICE; i++) {
    const frame = plainFrame(dice, e, leg, rig.nodeMac);
    const kinds = [
      brokenOptions,
      brokenOptions,
      noisy,
      noise,
      ...(family === 6 ? [brokenChain] : []),
    ];
    yield dice.pick(kinds)(dice, frame);
  }
}

test('an ICMP error that quotes nonsense never changes the table', () => {
  for (const families of FAMILIES) {
    const e = rig.place(liveEntry(dice, process.hrtime.bigint(), families));
    for (const leg of [0, 1] as const) {
      for (let i = 0; i < 1000; i++) {
        const frame = noisy(dice, icmpFrame(dice, e, leg, rig.nodeMac));
        if (parse(frame).kind === 'tcp') continue;
        assert.is.not(rig.verdict('ingress', leg, frame), 'unknown', frame.toString('hex'));
      }
      assert.equal(rig.since().entry, e, `SEED=${seed}`);
    }
  }
});

test.after(() => rig.close());
test.run();
