// SPDX-License-Identifier: MIT
/** Entries that are held for another owner: translated, in silence, until that one or a commit says otherwise. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EventType, Result, State } from '../../kernel/record/layout.js';
import { isolateOrSkip } from '../support/isolate.js';
import { timely } from '../support/timely.js';
import {
  DATA,
  FIN,
  FIN_ACKNOWLEDGED,
  HeldSplice,
  isHeld,
  PEER,
  RESET,
  SWEEP_MS,
  states,
} from './held.js';

await isolateOrSkip(import.meta.url);
const held = await HeldSplice.open();
const { golden, table } = held;
const { datapath } = golden;

const test = suite('standby entries');
const real = timely(test, 10_000);

test.before.each(() => held.empty());
test.after(() => held.close());

real('they are translated, and of what packets do only the end is told', async () => {
  assert.is(held.put(held.said()), Result.OK);
  golden.step(DATA);
  golden.step({ ...FIN, states: ['SPLICED', 'FIN_RELAYED'] });
  assert.is(held.only().generation, 4, 'the generation is what the owner has said');
  golden.step(FIN_ACKNOWLEDGED);
  assert.equal(await held.events(), []);
  golden.step(RESET);
  assert.is(states(held.only()), 'CLOSE CLOSE');
  table.flush({ events: true });
  const end = { type: EventType.DESTROY, owner: PEER, epoch: 3, generation: 4 };
  assert.equal(await held.events(), [end], 'once, and under the claim of its owner');
});

real('the end of one that no packet has come for is not told', async () => {
  held.put(held.said());
  table.flush({ events: true });
  assert.equal(await held.events(), []);
});

real('what their owner says later holds, but for FINs and resets that have come here', () => {
  held.put(held.said());
  golden.step(FIN);
  assert.is(held.put(held.said()), Result.EXISTS, 'the owner has said nothing new');
  const newer = (generation: number) =>
    held.said((r) => {
      r.generation = generation;
    });
  assert.is(held.put(newer(5)), Result.OK);
  assert.is(states(held.only()), 'SPLICED FIN_RELAYED');
  assert.is(held.only().generation, 5);
  assert.is(held.put(held.said()), Result.EXISTS, 'what is older comes late');
  golden.step(FIN_ACKNOWLEDGED);
  golden.step(RESET);
  assert.is(held.put(newer(6)), Result.OK);
  assert.is(states(held.only()), 'CLOSE CLOSE');
});

real('they do not expire, are not probed and not shortened while they live', async () => {
  const short = held.said((r) => {
    r.remainingMs = 1;
    r.idleMs = 60_000;
  });
  held.put(short);
  assert.is(table.shorten(1), 0);
  assert.equal([...table.unproven(0)], []);
  await sleep(SWEEP_MS);
  assert.ok(isHeld(held.only()));
});

real('without hot standby they go after so long without a packet', async () => {
  datapath.standbyMs = 400;
  try {
    held.put(held.said());
    golden.step(DATA);
    assert.ok(held.only().remainingMs <= 400);
    golden.step(FIN);
    assert.ok(held.only().remainingMs <= 400, 'a change of state does not prolong it');
    const expired = datapath.counter('standby_expired');
    await sleep(400 + SWEEP_MS);
    assert.equal(held.dump(), []);
    assert.is(datapath.counter('standby_expired'), expired + 1);
  } finally {
    datapath.standbyMs = 0;
  }
});

real('they can be deleted without touching what has become own', () => {
  held.put(held.said());
  assert.equal([...table.delete(held.said().bytes, { held: true })], [Result.OK]);
  assert.equal(held.dump(), []);
  held.put(held.own());
  assert.equal([...table.delete(held.said().bytes, { held: true })], [Result.NOT_FOUND]);
  assert.is(held.dump().length, 1);
});

real('one that has ended goes when its time is over', () => {
  const ended = held.said((r) => {
    for (const leg of [0, 1] as const) r.setState(leg, State.TIMEWAIT);
  });
  held.put(ended);
  assert.ok(held.only().remainingMs <= 120_000);
});

test.run();
