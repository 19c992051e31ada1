// SPDX-License-Identifier: MIT
/** The flows through a pair, and the probe. */

import { type Lab, LabError } from '../../test/lab/lab.js';
import { compileFlows, Flows, type GroupCount, type GroupReport } from '../../test/load/flows.js';
import { compileProbe, Probe } from '../../test/load/probe.js';
import { monotonicMs } from '../clock.js';
import { CLIENTS, PROBE, SERVER_ENDPOINTS } from './network.js';
import type { Pair } from './pair.js';

export const BUSY = 200;
/** Octets a second of each: what the machine bears beside all the rest, in steps of ten milliseconds. */
const PACE = 150_000;
/** Of one live flow, in ms: with all delays still one in ten seconds; and its octets. */
const EVERY = 8_000;
const MESSAGE = 64;
const OPENING = 64;
/** Of one process: who may not raise the limit of open files has twenty thousand. */
const FLOWS_PER_PROCESS = 15_000;
/** So many flows a second are made, and ended, on a machine that does other things too; and some time more. */
const FLOWS_PER_S_MIN = 100;
const MORE_MS = 30_000;

export interface Programs {
  readonly flows: string;
  readonly probe: string;
}

export function compilePrograms(lab: Lab): Programs {
  return { flows: compileFlows(lab.path('flows')), probe: compileProbe(lab.path('probe')) };
}

function patience(flows: number): number {
  return (flows * 1000) / FLOWS_PER_S_MIN + MORE_MS;
}

export class Load {
  #busy = 0;

  /** @param flows as many as it is for, besides the transfers */
  static async open(pair: Pair, programs: Programs, flows: number): Promise<Load> {
    const { lab, network } = pair;
    const spawn = (end: string) => (argv: string[]) =>
      lab.spawn(network.node(end), ['nice', '-n', '-10', ...argv], { stdio: 'pipe' });
    // A server address for each, so that all have the same share.
    const processes = flows > FLOWS_PER_PROCESS ? SERVER_ENDPOINTS.length : 1;
    const servers = await Flows.serve(
      spawn('servers'),
      programs.flows,
      SERVER_ENDPOINTS,
      processes,
    );
    const clients = await Flows.run(spawn('clients'), programs.flows, processes);
    return new Load(pair, programs, clients, servers);
  }

  private constructor(
    readonly pair: Pair,
    readonly programs: Programs,
    readonly clients: Flows,
    readonly servers: Flows,
  ) {}

  async stop(): Promise<void> {
    await Promise.all([this.clients.stop(), this.servers.stop()]);
  }

  #start(name: string, kind: 'ping' | 'download' | 'upload', count: number): Promise<void> {
    const { targets } = this.pair;
    const pace = kind === 'ping' ? { every: EVERY, size: MESSAGE } : { pace: PACE };
    const options = { kind, count, to: targets, from: CLIENTS, opening: OPENING };
    return this.clients.start(name, { ...options, ...pace });
  }

  async #made(name: string, count: number): Promise<void> {
    const group = await this.clients.made(name, patience(count));
    if (group.opened < count) {
      const why = JSON.stringify(group.not_made_by);
      throw new Error(`${this.pair.name}: ${group.opened} of ${count} flows were made: ${why}`);
    }
  }

  /** Flows that each send a message every few seconds, and have an echo of it. */
  async live(count: number): Promise<void> {
    await this.#start('live', 'ping', count);
    await this.#made('live', count);
  }

  /** Ends a group. Flows that do not come to their end in good time are left, and still count as alive. */
  async ended(name: string, count: number): Promise<GroupCount> {
    try {
      return await this.clients.finish(name, patience(count));
    } catch (error) {
      const left = (await this.clients.count()).get(name);
      if (!(error instanceof LabError) || !left) throw error;
      return left;
    }
  }

  /** Transfers that always have something to send, half of them in each direction. */
  async busy(): Promise<Busy> {
    const number = ++this.#busy;
    const names = { down: `down-${number}`, up: `up-${number}` };
    await this.#start(names.down, 'download', BUSY / 2);
    await this.#start(names.up, 'upload', BUSY / 2);
    for (const name of Object.values(names)) await this.#made(name, BUSY / 2);
    return new Busy(this, names);
  }

  probe(): Promise<Probe> {
    const { lab, network, targets } = this.pair;
    const [address, port] = targets[0].split(':');
    const spawn = (argv: string[]) => lab.spawn(network.node('clients'), argv, { stdio: 'pipe' });
    const never_late = ['chrt', '-f', '20'];
    return Probe.open(spawn, [...never_late, this.programs.probe, PROBE, address, port]);
  }

  async mark(): Promise<void> {
    await Promise.all([this.clients.mark(), this.servers.mark()]);
  }

  /** Live flows that are still there. */
  async alive(): Promise<number> {
    return (await this.clients.count()).get('live')?.alive ?? 0;
  }

  /** What all live flows have sent so far. */
  async sent(): Promise<{ at: number; messages: number }> {
    const octets = (await this.clients.count()).get('live')?.bytes_sent ?? 0;
    return { at: monotonicMs(), messages: octets / MESSAGE };
  }
}

/** The transfers of one round. */
export class Busy {
  constructor(
    readonly load: Load,
    readonly names: { readonly down: string; readonly up: string },
  ) {}

  /** Stalls of all of them since the mark, each told by the end that waits; ascending, in ms. */
  async stalls(): Promise<number[]> {
    const [clients, servers] = await Promise.all([
      this.load.clients.report(),
      this.load.servers.report(),
    ]);
    const of = (groups: Map<string, GroupReport>, name: string) => groups.get(name)?.stalls ?? [];
    const all = [...of(clients, this.names.down), ...of(servers, this.names.up)];
    return all.sort((a, b) => a - b);
  }

  /** Resolves with the stalls when the longest grows no longer: nobody waits any more. */
  async settled(ms: number): Promise<number[]> {
    const deadline = monotonicMs() + ms;
    let before = Number.NaN;
    for (;;) {
      const stalls = await this.stalls();
      const longest = stalls.at(-1) ?? 0;
      if (longest === before || monotonicMs() > deadline) return stalls;
      before = longest;
      await new Promise((resolve) => setTimeout(resolve, 400));
    }
  }

  /** @returns how many came to their end as they should, in good time */
  async end(): Promise<number> {
    let ended = 0;
    for (const name of Object.values(this.names)) {
      ended += (await this.load.ended(name, BUSY)).ended;
    }
    return ended;
  }
}
