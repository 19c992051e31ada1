// SPDX-License-Identifier: MIT
/** The machine as a whole: what it is, and what its processors have done. */
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Machine {
  cpus: number;
  model: string;
  kernel: string;
  memory_gb: number;
  node: string;
  /** Share of all processors that others were using before the bench began. */
  busy: number;
}

const BUSY_LOOK_MS = 300;

/** Looks at the machine for a moment in which the bench must not have begun. */
export async function describeMachine(): Promise<Machine> {
  const [before, at] = [cpuSeconds(), performance.now()];
  await sleep(BUSY_LOOK_MS);
  const busy = ((cpuSeconds() - before) * 1000) / (performance.now() - at) / cpus().length;
  return {
    cpus: cpus().length,
    model: cpus()[0]?.model.trim() ?? 'unknown processor',
    kernel: release(),
    memory_gb: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    busy: Math.round(busy * 100) / 100,
  };
}

/** USER_HZ, which /proc counts in; 100 on every architecture that this is built for. */
const TICKS_PER_SECOND = 100;

/**
 * Seconds that all processors together have worked since the boot (proc_stat(5)): programs, kernel and
 * interrupts. What a hypervisor took away (steal) was nobody's work here.
 */
export function cpuSeconds(): number {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'latin1')
    .split('\n', 1)[0]
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}
