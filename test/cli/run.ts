// Runs the built splicectl as a user would.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { within } from '../support/within.js';

const MAIN = fileURLToPath(new URL('../../dist/bin/splicectl.js', import.meta.url));

export interface Outcome {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

export function start(argv: readonly string[]): ChildProcess {
  return spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
}

export async function splicectl(...argv: string[]): Promise<Outcome> {
  const child = start(argv);
  const text = { out: '', err: '' };
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text.out += part;
  });
  child.stderr?.setEncoding('utf8').on('data', (part: string) => {
    text.err += part;
  });
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  try {
    const status = await within(10_000, `splicectl ${argv.join(' ')}`, closed);
    return { status, ...text };
  } finally {
    child.kill('SIGKILL');
  }
}

/** Peak of resident memory so far, in bytes. */
export function peakMemory(pid: number): number {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1]) * 1024;
}
