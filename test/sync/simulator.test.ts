// deadline: 120
// The simulator over some seeds: npm run simulate runs as many as one likes, docs/simulator.md says how.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { failureText } from './simulator/report.js';
import { run } from './simulator/run.js';

const SEEDS = 60;

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

simulator.run();
