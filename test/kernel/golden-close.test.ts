// SPDX-License-Identifier: MIT
/**
 * Golden packets that end a splice, or must not: FIN and RST, and time.
 * The network and the numbers are drawn in test/support/golden.ts.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Golden, type GoldenCase } from '../support/golden.js';
import { isolateOrSkip } from '../support/isolate.js';

await isolateOrSkip(import.meta.url);
const golden = await Golden.open();
/** One round of the sweep over the table, and some. */
const SWEEP_MS = 1_200;

const closing: GoldenCase[] = [
  {
    title: 'both sides say goodbye, and the splice waits out late packets',
    steps: [
      {
        in: 'client > virtual FA seq  1000 ack 907000 win 512 ttl 64',
        out: 'proxy > server  FA seq 51000 ack   7000 win 256 ttl 63',
        states: ['SPLICED', 'FIN_RELAYED'],
      },
      {
        in: 'server  > proxy  A seq   7000 ack 51001 win 80 ttl 64',
        out: 'virtual > client A seq 907000 ack  1001 win 10 ttl 63',
        states: ['SPLICED', 'SHUTDOWN'],
      },
      {
        in: 'server  > proxy  FA seq   7000 ack 51001 win 80 ttl 64',
        out: 'virtual > client FA seq 907000 ack  1001 win 10 ttl 63',
        states: ['FIN_RELAYED', 'SHUTDOWN'],
      },
      {
        in: 'client > virtual A seq  1001 ack 907001 win 512 ttl 64',
        out: 'proxy > server  A seq 51001 ack   7001 win 256 ttl 63',
        states: ['TIMEWAIT', 'TIMEWAIT'],
      },
      {
        in: 'server  > proxy  FA seq   7000 ack 51001 win 80 ttl 64',
        out: 'virtual > client FA seq 907000 ack  1001 win 10 ttl 63',
        states: ['TIMEWAIT', 'TIMEWAIT'],
      },
    ],
  },
  {
    title: 'a FIN with data is acknowledged only when the data are',
    steps: [
      {
        in: 'server  > proxy  FPA seq   7000 ack 51000 win 80 ttl 64 "goodbye"',
        out: 'virtual > client FPA seq 907000 ack  1000 win 10 ttl 63 "goodbye"',
        states: ['FIN_RELAYED', 'SPLICED'],
      },
      {
        in: 'client > virtual A seq  1000 ack 907007 win 512 ttl 64',
        out: 'proxy > server  A seq 51000 ack   7007 win 256 ttl 63',
        states: ['FIN_RELAYED', 'SPLICED'],
      },
      {
        in: 'client > virtual A seq  1000 ack 907008 win 512 ttl 64',
        out: 'proxy > server  A seq 51000 ack   7008 win 256 ttl 63',
        states: ['SHUTDOWN', 'SPLICED'],
      },
    ],
  },
  {
    title: 'a FIN far outside the window is dropped and changes nothing',
    steps: [
      {
        in: 'server  > proxy  A seq   7000 ack 51000 win 80 ttl 64',
        out: 'virtual > client A seq 907000 ack  1000 win 10 ttl 63',
      },
      {
        in: 'client > virtual FA seq 900000 ack 907000 win 512 ttl 64',
        verdict: 'drop',
        counts: ['fin_refused'],
        states: ['SPLICED', 'SPLICED'],
      },
    ],
  },
  {
    title: 'a RST at the next expected byte is passed on and ends the splice',
    steps: [
      {
        in: 'server  > proxy  A seq   7000 ack 51000 win 80 ttl 64',
        out: 'virtual > client A seq 907000 ack  1000 win 10 ttl 63',
      },
      {
        in: 'client > virtual R seq  1000 win 0 ttl 64',
        out: 'proxy > server  R seq 51000 win 0 ttl 63',
        counts: ['rst_relayed'],
        states: ['CLOSE', 'CLOSE'],
      },
    ],
  },
  {
    title: 'a RST elsewhere in the window is passed on, for the end host to challenge',
    steps: [
      {
        in: 'server  > proxy  A seq   7000 ack 51000 win 80 ttl 64',
        out: 'virtual > client A seq 907000 ack  1000 win 10 ttl 63',
      },
      {
        in: 'client > virtual R seq  3000 win 0 ttl 64',
        out: 'proxy > server  R seq 53000 win 0 ttl 63',
        counts: ['rst_relayed'],
        states: ['SPLICED', 'SPLICED'],
      },
    ],
  },
  {
    title: 'a RST outside the window is dropped',
    steps: [
      {
        in: 'server  > proxy  A seq   7000 ack 51000 win 80 ttl 64',
        out: 'virtual > client A seq 907000 ack  1000 win 10 ttl 63',
      },
      {
        in: 'client > virtual R seq 900000 win 0 ttl 64',
        verdict: 'drop',
        counts: ['rst_refused'],
        states: ['SPLICED', 'SPLICED'],
      },
      {
        in: 'client > virtual R seq 900 win 0 ttl 64',
        verdict: 'drop',
        counts: ['rst_refused'],
        states: ['SPLICED', 'SPLICED'],
      },
    ],
  },
  {
    title: 'a RST that comes before any other packet is passed on but not believed yet',
    steps: [
      {
        in: 'server  > proxy  R seq   7000 win 0 ttl 64',
        out: 'virtual > client R seq 907000 win 0 ttl 63',
        counts: ['rst_relayed'],
        states: ['SPLICED', 'SPLICED'],
        remainingMsMax: 60_000,
      },
      {
        in: 'client > virtual A seq  1000 ack 907000 win 512 ttl 64',
        out: 'proxy > server  A seq 51000 ack   7000 win 256 ttl 63',
        remainingMsMin: 100_000,
      },
    ],
  },
];

const ending = suite('golden packets: FIN and RST');
for (const one of closing) ending(one.title, () => golden.check(one));
ending.run();

const time = suite('golden packets: time');

time(
  'a record idle for longer than this machine has been up keeps the time it had left',
  async () => {
    const days30 = 30 * 86_400_000;
    golden.check({
      title: 'before any packet',
      entry: { idleMs: days30, remainingMs: 60_000 },
      in: '10.1.0.2:40002 > virtual A seq 1000 ack 907000 win 512 ttl 64',
      remainingMsMin: 58_000,
      remainingMsMax: 60_000,
    });
    await new Promise((resolve) => setTimeout(resolve, SWEEP_MS));
    golden.step({
      title: 'after a round of the sweep, a packet gives it the time of its state',
      in: 'client > virtual A seq  1000 ack 907000 win 512 ttl 64',
      out: 'proxy > server  A seq 51000 ack   7000 win 256 ttl 63',
      remainingMsMin: 86_400_000,
    });
  },
);

time('a record whose time has run out goes without a packet and without a daemon', async () => {
  const last = { in: '10.1.0.2:40002 > virtual A seq 1000 ack 907000 win 512 ttl 64' };
  golden.check({ title: 'inserted', entry: { remainingMs: 300 }, ...last });
  const before = golden.datapath.counters().expired;
  await new Promise((resolve) => setTimeout(resolve, 300 + SWEEP_MS));
  golden.step({ title: 'expired', ...last, states: 'gone' });
  assert.is(Number(golden.datapath.counters().expired - before), 1);
});

time(
  'a packet on another processor, stamped after the sweep looked at its clock, is no age',
  async () => {
    const far = 3 * SWEEP_MS;
    golden.reset({ remainingMs: 5_000 });
    golden.stampAhead(far);
    await new Promise((resolve) => setTimeout(resolve, SWEEP_MS));
    golden.step({
      title: 'the splice is still there, with all of its time',
      in: '10.1.0.2:40002 > virtual A seq 1000 ack 907000 win 512 ttl 64',
      remainingMsMin: 5_000,
    });
  },
);

time.after(() => golden.close());
time.run();
