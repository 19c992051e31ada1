/**
 * npm run simulate -- [--seeds N] [--from N] [--jobs N] [--first]     many runs, on all processors
 * npm run simulate -- --seed N [--steps N] [--trace]                  one of them
 * npm run simulate -- --mutants [--seeds N] [--jobs N]                the protocol broken on purpose
 */
import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { judgeAll } from './mutate.js';
import { add, emptySummary, failureText, merge, type Summary, summaryText } from './report.js';
import { run, STEPS } from './run.js';

const FAILURES_SHOWN = 20;

interface Share {
  readonly from: number;
  readonly seeds: number;
  readonly steps: number;
  /** Stop at the first that fails. */
  readonly first: boolean;
}

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    steps: { type: 'string', default: String(STEPS) },
    jobs: { type: 'string', default: String(availableParallelism()) },
    trace: { type: 'boolean', default: false },
    mutants: { type: 'boolean', default: false },
    share: { type: 'boolean', default: false },
    first: { type: 'boolean', default: false },
  },
});
const steps = Number(values.steps);

/** Seeds one after the other. */
function runShare({ from, seeds, steps, first }: Share): Summary {
  const summary = emptySummary();
  for (let seed = from; seed < from + seeds; seed++) {
    add(summary, run({ seed, steps }));
    if (first && summary.failures.length > 0) break;
  }
  return summary;
}

/** In a process of its own. */
function elsewhere(share: Share): Promise<Summary> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [
      '--share',
      ...(share.first ? ['--first'] : []),
      ...['--from', String(share.from), '--seeds', String(share.seeds)],
      ...['--steps', String(share.steps)],
    ]);
    child.on('message', (summary) => resolve(summary as Summary));
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`a share of the runs has ended with ${code}`)));
  });
}

async function many(): Promise<number> {
  const seeds = Number(values.seeds);
  const jobs = values.first ? 1 : Math.min(Number(values.jobs), seeds);
  const each = Math.ceil(seeds / jobs);
  const began = performance.now();
  const shares = Array.from({ length: jobs }, (_, job) => {
    const from = Number(values.from) + job * each;
    const left = Number(values.from) + seeds - from;
    return { from, seeds: Math.min(each, left), steps, first: values.first };
  });
  const summary = emptySummary();
  const run = (share: Share) => (jobs > 1 ? elsewhere(share) : runShare(share));
  for (const part of await Promise.all(shares.map(run))) merge(summary, part);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`${summaryText(summary)}; ${seconds} s`);
  for (const { seed, failure } of summary.failures.slice(0, FAILURES_SHOWN)) {
    console.log(failureText(seed, failure));
  }
  return summary.failures.length > 0 ? 1 : 0;
}

function one(seed: number): number {
  const outcome = run({ seed, steps, trace: values.trace });
  if (outcome.trace.length > 0) console.log(outcome.trace.join('\n'));
  const summary = emptySummary();
  add(summary, outcome);
  console.log(summaryText(summary));
  if (!outcome.failure) return 0;
  console.log(failureText(seed, outcome.failure));
  return 1;
}

async function mutants(): Promise<number> {
  const seeds = Number(values.seeds);
  const verdicts = await judgeAll(seeds, Number(values.jobs), ({ mutant, caught }) => {
    const how = caught ? `seed ${caught.seed}: ${caught.rule}` : `NOT CAUGHT by ${seeds} seeds`;
    console.log(`${mutant.name.padEnd(70)} ${how}`);
  });
  const missed = verdicts.filter(({ caught }) => !caught).length;
  console.log(`${verdicts.length} mutants, ${missed} not caught`);
  return missed > 0 ? 1 : 0;
}

if (values.share) {
  const { from, seeds, first } = values;
  process.send?.(runShare({ from: Number(from), seeds: Number(seeds), steps, first }));
  process.disconnect?.();
} else if (values.seed !== undefined) process.exitCode = one(Number(values.seed));
else process.exitCode = await (values.mutants ? mutants() : many());
