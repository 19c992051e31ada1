// SPDX-License-Identifier: MIT
/** What is measured of one pair of daemons, from its start to its end. */
import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { command, type Lab, LabError } from '../../test/lab/lab.js';
import { monotonicMs } from '../clock.js';
import { cpuSeconds } from '../machine.js';
import type { Arrivals } from './arrivals.js';
import { cpuMicroseconds, type Format, residentBytes, type System } from './system.js';

/** A daemon that has just started is let alone until it has come to rest. */
const SETTLE_MS = 1200;
/** Between two looks at what the peer holds. It is not what decides: see Arrivals. */
const LOOK_MS = 50;
const LIMIT_MS = 60_000;
/** Changes that stand for single ones do not come in a rhythm with anything. */
const PAUSE_MS = 2.3;
const LAST_LAG_MS = 50;

export async function begin(system: System): Promise<void> {
  await system.start();
  await sleep(SETTLE_MS);
}

/** Waits until b holds so many entries. @returns when that was seen, in ms of CLOCK_MONOTONIC */
export async function untilHeld(system: System, count: number, lookMs: number): Promise<number> {
  const deadline = monotonicMs() + LIMIT_MS;
  for (;;) {
    const held = await system.held();
    const now = monotonicMs();
    if (held === count) return now;
    if (now > deadline) {
      throw new LabError('NOT_READY', `${system.name}: ${held} of ${count} entries have arrived`);
    }
    await sleep(lookMs);
  }
}

/** What was used between two looks. */
function usage(system: System) {
  const [a, b] = [system.pid('a'), system.pid('b')];
  const look = () => ({
    sender: cpuMicroseconds(a),
    receiver: cpuMicroseconds(b),
    machine: cpuSeconds() * 1e6,
    senderMemory: residentBytes(a),
    receiverMemory: residentBytes(b),
  });
  const before = look();
  return (): ReturnType<typeof look> => {
    const after = look();
    for (const key of Object.keys(after) as (keyof typeof after)[]) after[key] -= before[key];
    return after;
  };
}

/** Time from `began` until b has taken in the last of what makes it hold `count` entries, in seconds. */
async function taken(
  system: System,
  arrivals: Arrivals,
  count: number,
  start: () => Promise<number>,
): Promise<number> {
  arrivals.start(system.pid('b'), system.datagramMin);
  const began = await start();
  await untilHeld(system, count, LOOK_MS);
  const last = arrivals.stop().taken.at(-1) ?? Number.NaN;
  return (last - began) / 1000;
}

/** Entries into a's kernel table, until all are in b's external cache. */
export async function replicate(system: System, arrivals: Arrivals, count: number) {
  const sent = await system.octets();
  const used = usage(system);
  const seconds = await taken(system, arrivals, count, () => system.insert(0, count));
  const each = used();
  for (const key of Object.keys(each) as (keyof typeof each)[]) each[key] /= count;
  const octets = ((await system.octets()) - sent) / count;
  return { perSecond: count / seconds, octets, ...each };
}

/** One change at a time: from just before it is made until b has taken it in, in microseconds. */
export async function lags(system: System, arrivals: Arrivals, count: number): Promise<number[]> {
  arrivals.start(system.pid('b'), system.datagramMin);
  const began = await system.update(0, count, PAUSE_MS);
  await sleep(LAST_LAG_MS);
  const { taken } = arrivals.stop();
  let next = 0;
  return began.flatMap((at) => {
    while (taken[next] < at) next++;
    return next < taken.length ? [(taken[next] - at) * 1000] : [];
  });
}

export function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((x, y) => x - y);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** Everything again on request, into an external cache that has been emptied; in seconds. */
export async function resync(system: System, arrivals: Arrivals, count: number): Promise<number> {
  const deadline = monotonicMs() + LIMIT_MS;
  for (;;) {
    await system.forget();
    if ((await system.held()) === 0) break;
    // something was still on its way
    if (monotonicMs() > deadline) throw new LabError('COMMAND', `${system.name}: not emptied`);
    await sleep(LOOK_MS);
  }
  return taken(system, arrivals, count, async () => {
    const began = monotonicMs();
    await system.request();
    return began;
  });
}

/** The command that dumps b's external cache, as a user runs it, in seconds. */
export async function dump(
  lab: Lab,
  system: System,
  format: Format,
  count: number,
): Promise<number> {
  const file = lab.path(`dump-${system.name}`);
  const fd = openSync(file, 'w');
  const began = monotonicMs();
  const child = lab.spawn(system.network.node('b'), system.dump(format), {
    stdio: ['ignore', fd, 'inherit'],
  });
  await new Promise((resolve) => child.once('exit', resolve));
  const seconds = (monotonicMs() - began) / 1000;
  closeSync(fd);
  const lines = Number(command('grep', ['-c', format === 'xml' ? '</flow>' : '', file]));
  if (lines < count) throw new LabError('COMMAND', `${system.name}: a dump of ${lines} entries`);
  return seconds;
}

/** The same when the owner is dead, as it is as a rule: nobody contests it, nor needs a processor. */
export async function takeOver(system: System, count: number): Promise<number> {
  await system.die();
  await sleep(SETTLE_MS);
  return commit(system, count);
}

/** From the request until it is done and every entry stands in b's kernel table, in seconds. */
export async function commit(system: System, count: number): Promise<number> {
  const began = monotonicMs();
  await system.commit();
  const seconds = (monotonicMs() - began) / 1000;
  const there = await system.committed();
  if (there < count) throw new LabError('COMMAND', `${system.name}: only ${there} are committed`);
  return seconds;
}
