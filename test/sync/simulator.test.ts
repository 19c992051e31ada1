// deadline: 240
// The simulator over some seeds: npm run simulate runs as many as one likes, docs/simulator.md says how.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MUTANTS } from './simulator/mutants.js';
import { judge, occurrences } from './simulator/mutate.js';
import { run } from './simulator/run.js';

const SEEDS = 200;
/** Mishaps: a shorter run is the beginning of the same run. */
const STEPS = 20;
const MAIN = fileURLToPath(new URL('./simulator/main.ts', import.meta.url));

/** Some of those that are caught soonest: `npm run simulate -- --mutants` runs them all. */
const QUICK = ['a gap is not noticed', 'changes are not announced, births are'];
const QUICK_SEEDS = 6;

const simulator = suite('simulator');

simulator(`${SEEDS} runs: nothing happens that must not, and all comes to rest`, async () => {
  const args = ['--import', 'tsx', MAIN, '--seeds', String(SEEDS), '--steps', String(STEPS)];
  const child = spawn(process.execPath, [...args, '--jobs', '2']);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      said += data;
    });
  }
  const status = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  assert.is(status, 0, said);
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
