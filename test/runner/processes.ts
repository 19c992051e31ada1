// SPDX-License-Identifier: MIT
/**
 * Finds what a test file started, wherever it went. A daemon leaves its process group and its parent,
 * but it keeps its environment, and in that stands the mark of the run.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Name of the environment variable that marks the processes of one test file. */
export const RUN_MARK = 'SPLICED_TEST_RUN';

export interface Process {
  pid: number;
  name: string;
}

const POLL_MS = 50;

/**
 * Processes whose environment carries `mark`, or a mark that continues it: that of a runner which the
 * marked process has started. Zombies are none.
 */
export function processesMarked(mark: string): Process[] {
  const wanted = `${RUN_MARK}=${mark}`;
  const found: Process[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      if (!environment.some((variable) => variable.startsWith(wanted))) continue;
      found.push({ pid, name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() });
    } catch {
      // It has ended meanwhile, or it is a kernel thread.
    }
  }
  return found;
}

/**
 * Ends the processes that `list` finds: waits `patienceMs` for them to end by themselves, then SIGTERM,
 * then after `graceMs` SIGKILL. Returns those that were alive when patience ended.
 */
export async function killAll(
  list: () => Process[],
  graceMs: number,
  patienceMs = 0,
): Promise<Process[]> {
  await goneWithin(list, patienceMs);
  const survivors = list();
  for (const { pid } of survivors) signal(pid, 'SIGTERM');
  if (survivors.length > 0 && !(await goneWithin(list, graceMs))) {
    for (const { pid } of list()) signal(pid, 'SIGKILL');
    await goneWithin(list, graceMs);
  }
  return survivors;
}

async function goneWithin(list: () => Process[], limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (list().length > 0) {
    if (performance.now() >= end) return false;
    await sleep(POLL_MS);
  }
  return true;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // Gone already.
  }
}
