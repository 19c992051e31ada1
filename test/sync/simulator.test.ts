// deadline: 240
// The simulator over some seeds: npm run simulate runs as many as one likes, docs/simulator.md says how.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MUTANTS } from './simulator/mutants.js';
import { judge, occurrences } from './simulator/mutate.js';
import { failureText } from './simulator/report.js';
import { run } from './simulator/run.js';

const SEEDS = 60;

/** Some of those that are caught soonest: `npm run simulate -- --mutants` runs them all. */
const QUICK = ['a gap is not noticed', 'changes are not announced, births are'];
const QUICK_SEEDS = 6;

const simulator = suite('simulator');

simulator(`${SEEDS} runs: nothing happens that must not, and all comes to rest`, () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { failure } = run({ seed });
    assert.not(failure, failure && failureText(seed, failure));
  }
});

simulator('a seed is all there is to a run', () => {
  const [first, second] = [run({ seed: 3, steps: 10 }), run({ seed: 3, steps: 10 })];
  assert.equal(first, second);
  assert.not.equal(first.counts, run({ seed: 4, steps: 10 }).counts);
});

simulator('what the mutants break is in the sources, once', () => {
  const lost = MUTANTS.filter((mutant) => occurrences(mutant) !== 1).map(({ name }) => name);
  assert.equal(lost, []);
});

for (const mutant of MUTANTS.filter(({ name }) => QUICK.includes(name))) {
  simulator(`it is seen when ${mutant.name}`, async () => {
    assert.ok((await judge(mutant, QUICK_SEEDS)).caught);
  });
}

simulator.run();
