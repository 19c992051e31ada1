// SPDX-License-Identifier: MIT
// deadline: 120
/** The short form of `npm run nemesis`: docs/nemesis.md says what is judged. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { whatIsMissing } from '../lab/preflight.js';
import { inLab } from '../lab/run-in-test.js';
import { accountText } from './account.js';
import { run, type Verdict } from './run.js';
import { schedule } from './schedule.js';

const SEED = Number(process.env.SEED ?? 183);
const MS = 6000;
const CALM_MS = 1000;
const FLOWS = 30;
/** Everything shorter and closer than in a long run. */
const PACE = 0.15;

const nemesis = suite(`nemesis, seed ${SEED}`);
const missing = whatIsMissing();
if (missing) console.log(`skipped: ${missing}`);
const test = missing ? nemesis.skip : nemesis;
let verdict: Verdict & { remains: string[] };
const told: string[] = [];

test('the run comes to its end', async () => {
  const steps = schedule({ seed: SEED, ms: MS, pace: PACE });
  // whoever had the addresses when a fault of the schedule came: at the end they move, and flows with them
  steps.push({ ...steps[0], kind: 'handover', at: MS + CALM_MS, lasts: 0 });
  const o = {
    steps,
    ms: MS + 2 * CALM_MS,
    flows: FLOWS,
    rate: 4,
    say: (text: string) => told.push(text),
  };
  verdict = await inLab((lab) => run(lab, o));
  console.log(accountText(verdict));
});

test('each flow that was lost is explained, and no byte is wrong', () => {
  assert.equal(verdict.unexplained, [], told.join('\n'));
  assert.is(verdict.totals.wrong, 0);
});

test('at the end nothing is left, and everybody lives', () => {
  assert.equal(verdict.rest.wrong, [], told.join('\n'));
});

test('flows have gone on over takeovers, and many have come to their right end', () => {
  assert.ok(verdict.carried > FLOWS / 3, accountText(verdict));
  assert.ok(verdict.totals.ended > 2 * FLOWS, accountText(verdict));
});

test('the lab leaves nothing behind', () => {
  assert.equal(verdict.remains, []);
});

nemesis.run();
