// SPDX-License-Identifier: MIT
/** One takeover: the active node dies under its load, and later comes back as the backup. */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Probe } from '../../test/load/probe.js';
import { monotonicMs } from '../clock.js';
import { percentile } from '../sync/round.js';
import { BUSY, type Load } from './load.js';
import { VIRTUAL } from './network.js';
import type { Pair } from './pair.js';

/** Between the making of flows and the crash: for what a system does a moment later. */
const SETTLE_MS = 1500;
/** For longer than that nobody waits: what has not come back by then has failed. */
const OUTAGE_MS_MAX = 30_000;
const STALL_MS_MAX = 30_000;
const LOOK_MS = 10;
/** After the outage, so that whoever waits for a timer has had the time that TCP takes to back off. */
const RESUME_MS = 1500;

/** Times in ms. */
export interface Sample {
  /** Flows that lived before and after it, of how many. */
  readonly kept: number;
  readonly of: number;
  /** RST segments that came to clients and servers. */
  readonly resets: number;
  readonly outage: number;
  /** From the address on the new node to the first packet that came through it. */
  readonly takeover: number;
  /** Messages of a live flow in ten seconds. */
  readonly messages: number;
  readonly stallMedian: number;
  readonly stallWorst: number;
  /** By the node that has taken over, of itself. */
  readonly told: string;
}

/** Hears from a node's kernel when the address comes to it, and is never late. */
class Arrival {
  at = Number.NaN;
  readonly #child;

  constructor(pair: Pair) {
    const { lab, network, standby } = pair;
    const argv = ['chrt', '-f', '20', 'ip', '-ts', '-o', 'monitor', 'address'];
    this.#child = lab.spawn(network.node(standby), argv, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child.on('error', () => {});
    if (!this.#child.stdout) return;
    createInterface(this.#child.stdout).on('line', (line) => {
      const came = line.includes(` ${VIRTUAL.clients}/`) && !line.includes('Deleted');
      if (came && Number.isNaN(this.at)) this.at = timeOf(line);
    });
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}

/** What ip has put in front of a line, [YYYY-MM-DDThh:mm:ss.uuuuuu] in local time, as CLOCK_MONOTONIC. */
function timeOf(line: string): number {
  const [, second, micros] = /^\[(\S+)\.(\d{6})\]/.exec(line) ?? [];
  const ago =
    performance.timeOrigin + performance.now() - Date.parse(second) - Number(micros) / 1000;
  return monotonicMs() - ago;
}

/** Waits for an answer by way of the new node. Without one the outage is as long as was waited. */
async function answered(probe: Probe, since: number): Promise<{ outage: number; first: number }> {
  const deadline = monotonicMs() + OUTAGE_MS_MAX;
  for (;;) {
    const { last, gap_ms, to } = await probe.report();
    if (last > since) return { outage: gap_ms, first: to };
    if (monotonicMs() > deadline) return { outage: gap_ms, first: Number.NaN };
    await sleep(LOOK_MS);
  }
}

export async function round(pair: Pair, load: Load, others = 0): Promise<Sample> {
  const { network } = pair;
  await pair.settle();
  const probe = await load.probe();
  const arrival = new Arrival(pair);
  try {
    const busy = await load.busy();
    const live = await load.alive();
    await pair.inSync(live + BUSY + 1 + others);
    await sleep(SETTLE_MS);
    const resets = network.resets();
    const before = await load.sent();
    await load.mark();
    await probe.mark();
    pair.crash();
    const { outage, first } = await answered(probe, monotonicMs());
    await sleep(RESUME_MS + outage);
    const stalls = await busy.settled(STALL_MS_MAX);
    const after = await load.sent();
    const kept = (await load.alive()) + (await busy.end());
    const sample = {
      kept,
      of: live + BUSY,
      resets: network.resets() - resets,
      outage,
      takeover: Math.max(0, first - arrival.at),
      messages: (10_000 * (after.messages - before.messages)) / (after.at - before.at) / live,
      stallMedian: percentile(stalls, 0.5),
      stallWorst: percentile(stalls, 0.99),
    };
    const told = await pair.told(pair.standby);
    await pair.recover();
    return { ...sample, told };
  } finally {
    arrival.stop();
    await probe.stop();
  }
}
