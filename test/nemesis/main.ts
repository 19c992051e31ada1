// SPDX-License-Identifier: MIT
/** npm run nemesis -- [--seed N] [--minutes M] [--faults LIST] [--flows N] [--rate N] [--list] */
import { parseArgs } from 'node:util';
import { exitOnSignals, Lab, LabError, removeLeftovers } from '../lab/lab.js';
import { whatIsMissing } from '../lab/preflight.js';
import { runProgram } from '../lab/program.js';
import { accountText } from './account.js';
import { run } from './run.js';
import { ALL_KINDS, kindsNamed, schedule, stepText } from './schedule.js';
import { twoKernels } from './two-kernels.js';

const MACHINE_FLOWS = 12;

const USAGE = `usage: npm run nemesis -- [options]
  --seed N       repeats the schedule of that number (default: a new one)
  --minutes M    how long faults happen (default 2)
  --faults LIST  only kinds that have one of these words in their name, separated by commas
  --pace P       below 1: shorter faults, closer to each other (default 1)
  --flows N      long-lived flows (default 60)
  --rate N       short requests a second, of each of two kinds (default 4)
  --machines     instead of all that: two kernels in emulated machines, and flows that go over and back
  --list         show the schedule, and do nothing
  --keep         leave the lab standing`;

function number(name: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= least) return value;
  throw new LabError('USAGE', `--${name} ${text}: expected a number, ${least} at least`);
}

function options() {
  const string = (fallback?: string) => ({ type: 'string', default: fallback }) as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    options: {
      seed: string(String(Math.floor(Math.random() * 2 ** 31))),
      minutes: string('2'),
      faults: string(''),
      pace: string('1'),
      flows: string('60'),
      rate: string('4'),
      list: flag,
      machines: flag,
      keep: flag,
    },
  });
  const words = (values.faults ?? '').split(',').filter(Boolean);
  const kinds = words.length > 0 ? kindsNamed(words) : ALL_KINDS;
  if (!kinds) {
    throw new LabError('USAGE', `--faults ${values.faults}: the kinds are ${ALL_KINDS.join(', ')}`);
  }
  const number_ = (name: 'seed' | 'minutes' | 'pace' | 'flows' | 'rate', least: number) =>
    number(name, values[name] ?? '', least);
  return {
    seed: number_('seed', 0),
    ms: number_('minutes', 0) * 60_000,
    pace: number_('pace', 0.05),
    flows: number_('flows', 1),
    rate: number_('rate', 1),
    kinds,
    list: values.list,
    machines: values.machines,
    keep: values.keep,
  };
}

async function main(): Promise<number> {
  const o = options();
  const steps = schedule(o);
  if (o.list) {
    for (const step of steps)
      console.log(`${(step.at / 1000).toFixed(1).padStart(6)} s  ${stepText(step)}`);
    return 0;
  }
  const missing = whatIsMissing();
  if (missing) throw new LabError('MISSING', missing);
  removeLeftovers(false);
  exitOnSignals();
  const lab = new Lab();
  try {
    if (o.machines) {
      await twoKernels(lab, { flows: MACHINE_FLOWS, say: (text) => console.log(text) });
      return 0;
    }
    console.log(`seed ${o.seed}: ${steps.length} faults in ${o.ms / 60_000} minutes; ${lab.dir}`);
    const verdict = await run(lab, { ...o, steps, say: (text) => console.log(text) });
    console.log(accountText(verdict));
    const failed = verdict.unexplained.length + verdict.rest.wrong.length;
    if (failed > 0)
      console.log(
        `\nto repeat: npm run nemesis -- ${process.argv
          .slice(2)
          .filter((a, i, all) => a !== '--seed' && all[i - 1] !== '--seed')
          .join(' ')} --seed ${o.seed}`,
      );
    return failed > 0 ? 1 : 0;
  } finally {
    if (o.keep) lab.keep();
    lab.remove();
  }
}

runProgram('nemesis', USAGE, main);
