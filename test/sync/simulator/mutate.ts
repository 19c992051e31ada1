/** Runs seeds over a copy of the sources in which one thing has been broken. */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MUTANTS, type Mutant } from './mutants.js';

export interface Verdict {
  readonly mutant: Mutant;
  /** The seed that has caught it, and by which rule; undefined: none has. */
  readonly caught: { readonly seed: number; readonly rule: string } | undefined;
}

const ROOT = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
const COPIED = ['package.json', 'sync', 'kernel/record', 'test/support', 'test/sync/simulator'];
/** One that is not caught in this time counts as not caught. */
const MUTANT_MS = 300_000;

/** How often the text that a mutant replaces is there: once, if all is well. */
export function occurrences({ file, text }: Mutant): number {
  return readFileSync(join(ROOT, file), 'utf8').split(text).length - 1;
}

/** Until one of the seeds 1 to `seeds` fails. */
export async function judge(mutant: Mutant, seeds: number): Promise<Verdict> {
  const copy = mkdtempSync(join(tmpdir(), 'spliced-mutant-'));
  try {
    for (const path of COPIED) cpSync(join(ROOT, path), join(copy, path), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
    const source = readFileSync(join(copy, mutant.file), 'utf8');
    writeFileSync(
      join(copy, mutant.file),
      source.replace(mutant.text, () => mutant.becomes),
    );
    return { mutant, caught: await firstFailure(copy, seeds) };
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** All of them, `jobs` at a time; each is told as soon as it is known. */
export async function judgeAll(
  seeds: number,
  jobs: number,
  told: (verdict: Verdict) => void,
): Promise<Verdict[]> {
  const waiting = [...MUTANTS];
  const verdicts: Verdict[] = [];
  const work = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) {
      const verdict = await judge(mutant, seeds);
      verdicts.push(verdict);
      told(verdict);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return verdicts;
}

function firstFailure(copy: string, seeds: number): Promise<Verdict['caught']> {
  const main = join(copy, 'test/sync/simulator/main.ts');
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', main, '--first', '--seeds', String(seeds)],
    { cwd: copy, stdio: ['ignore', 'pipe', 'ignore'], timeout: MUTANT_MS },
  );
  let said = '';
  child.stdout.on('data', (data) => {
    said += data;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => {
      const found = /^seed (\d+): (.+?) \(after/m.exec(said);
      resolve(found ? { seed: Number(found[1]), rule: found[2] } : undefined);
    });
  });
}
