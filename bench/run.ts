// SPDX-License-Identifier: MIT
/** `npm run bench -- NAME`: comparisons with other systems, side by side. See docs/bench.md. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { KernelError } from '../kernel/error.js';
import { exitOnSignals, Lab, LabError, removeLeftovers } from '../test/lab/lab.js';
import type { Bench, Part, Row } from './bench.js';
import { BENCHES } from './benches.js';
import { describeMachine } from './machine.js';
import { json, type Report, table } from './report.js';

const USAGE = `usage: npm run bench -- NAME [options]
  --json       one JSON object on standard output, and nothing else
  --quick      fewer and shorter runs: an answer within 50 s
  --only LIST  only these parts of the bench, with commas between them
Without NAME, the list of benches.`;

/** Share of the processors above which what others do is worth a warning. */
const BUSY_MAX = 0.05;

class UsageError extends Error {}

interface Options {
  bench: Bench | undefined;
  parts: [string, Part][];
  json: boolean;
  quick: boolean;
  named: boolean;
}

function options(args: string[]): Options {
  const flag = { type: 'boolean', default: false } as const;
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: flag, quick: flag, only: { type: 'string' } },
  });
  const { json, quick, only } = values;
  if (positionals.length > 1) throw new UsageError('one bench at a time');
  const bench = BENCHES.find(({ name }) => name === positionals[0]);
  if (positionals.length > 0 && !bench) {
    throw new UsageError(`there is no bench '${positionals[0]}'; without a name comes the list`);
  }
  const all = bench?.parts ?? {};
  const wanted = only?.split(',') ?? Object.keys(all);
  const unknown = wanted.find((name) => !(name in all));
  if (unknown !== undefined) {
    throw new UsageError(`--only ${unknown}: expected some of ${Object.keys(all).join(', ')}`);
  }
  return {
    bench,
    parts: wanted.map((name) => [name, all[name]]),
    json,
    quick,
    named: only !== undefined,
  };
}

/** Installs the peers. What it says goes to standard error; it has told why when it fails. */
function install(parts: [string, Part][]): boolean {
  const needs = [...new Set(parts.flatMap(([, part]) => part.needs))];
  if (needs.length === 0) return true;
  const script = fileURLToPath(new URL('../setup/install.sh', import.meta.url));
  return spawnSync('bash', [script, ...needs], { stdio: ['ignore', 2, 2] }).status === 0;
}

async function measure({ parts, quick, named }: Options): Promise<Row[]> {
  const lab = new Lab();
  try {
    const rows: Row[] = [];
    for (const [name, part] of parts) {
      const tell = (text: string) => console.error(`bench: ${name}: ${text}`);
      rows.push(...(await part.run({ lab, quick, named, tell })));
    }
    return rows;
  } finally {
    lab.remove();
  }
}

async function main(): Promise<number> {
  const chosen = options(process.argv.slice(2));
  if (!chosen.bench) {
    for (const { name, about } of BENCHES) console.log(`${name}  ${about}`);
    return 0;
  }
  if (!install(chosen.parts)) return 2;
  removeLeftovers(false);
  exitOnSignals();
  const at = new Date().toISOString();
  const machine = await describeMachine();
  if (machine.busy > BUSY_MAX) {
    const percent = Math.round(machine.busy * 100);
    console.error(
      `bench: something else keeps the processors busy (${percent} %): CPU is overstated`,
    );
  }
  const report: Report = { bench: chosen.bench.name, rows: await measure(chosen), machine, at };
  console.log(chosen.json ? json(report) : table(report));
  return 0;
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    const code = (error as { code?: string }).code ?? '';
    const usage = error instanceof UsageError || code.startsWith('ERR_PARSE_ARGS');
    const said = error instanceof LabError || error instanceof KernelError;
    if (usage || said) console.error(`bench: ${(error as Error).message}`);
    else console.error(error);
    if (usage) console.error(USAGE);
    process.exit(usage || code === 'MISSING' ? 2 : 1);
  },
);
