// SPDX-License-Identifier: MIT
/** A load that runs, looked at from outside for a while; and what to make of several looks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuSeconds } from './machine.js';

/** Something that is being done again and again until it is stopped. */
export interface Load {
  /** How much has been done so far: octets, or requests. */
  done(): number | Promise<number>;
  stop(): Promise<void>;
}

/** What happened during one look. */
export interface Look {
  perSecond: number;
  /** CPU-seconds of the whole machine for each unit done. */
  cpuEach: number;
}

export interface Duration {
  warmupMs: number;
  windowMs: number;
}

/** Starts a load, lets it warm up, looks at it for a window, and stops it. */
export async function look(start: () => Promise<Load>, duration: Duration): Promise<Look> {
  const load = await start();
  try {
    await sleep(duration.warmupMs);
    const before = { done: await load.done(), at: performance.now(), cpu: cpuSeconds() };
    await sleep(duration.windowMs);
    const cpu = cpuSeconds() - before.cpu;
    const seconds = (performance.now() - before.at) / 1000;
    const done = (await load.done()) - before.done;
    return { perSecond: done / seconds, cpuEach: cpu / done };
  } finally {
    await load.stop();
  }
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
