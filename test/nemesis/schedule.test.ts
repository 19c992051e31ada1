// SPDX-License-Identifier: MIT
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ALL_KINDS, kindsNamed, schedule, stepText } from './schedule.js';

const test = suite('schedule of faults');
const MS = 600_000;

test('a seed stands for one schedule, another for another', () => {
  assert.equal(schedule({ seed: 7, ms: MS }), schedule({ seed: 7, ms: MS }));
  assert.not.equal(schedule({ seed: 7, ms: MS }), schedule({ seed: 8, ms: MS }));
});

test('a longer run begins as a shorter one does', () => {
  const short = schedule({ seed: 7, ms: MS / 4 });
  assert.equal(schedule({ seed: 7, ms: MS }).slice(0, short.length), short);
});

test('every kind comes before one comes again', () => {
  const first = schedule({ seed: 3, ms: MS }).slice(0, ALL_KINDS.length);
  assert.equal(first.map(({ kind }) => kind).sort(), [...ALL_KINDS].sort());
});

test('some faults overlap, and none lasts beyond the end', () => {
  const steps = schedule({ seed: 3, ms: MS });
  const overlapping = steps.filter(
    (step, i) => i > 0 && step.at < steps[i - 1].at + steps[i - 1].lasts,
  );
  assert.ok(overlapping.length > steps.length / 20, `${overlapping.length} of ${steps.length}`);
  assert.ok(steps.every(({ at, lasts }) => at + lasts <= MS));
});

test('kinds are chosen by words in their names; a word that is in none is refused', () => {
  assert.equal(kindsNamed(['switchd', 'handover']), [
    'kill-switchd',
    'stop-switchd',
    'restart-switchd',
    'handover',
  ]);
  assert.is(kindsNamed(['switchd', 'flood']), undefined);
  const only = schedule({ seed: 1, ms: MS, kinds: ['cut-sync', 'handover'] });
  assert.equal([...new Set(only.map(({ kind }) => kind))].sort(), ['cut-sync', 'handover']);
});

test('each step is a line that says who, how and how long', () => {
  const lines = schedule({ seed: 3, ms: MS }).map(stepText);
  assert.ok(lines.some((line) => /^kill-web web-[123] for \d\.\d s$/.test(line)));
  assert.ok(lines.some((line) => /^block-sync lb-[ab] \(both ways\) for \d\.\d s$/.test(line)));
  assert.ok(lines.some((line) => /^crash-node lb-[ab], rebooted for \d\.\d s$/.test(line)));
});

test.run();
