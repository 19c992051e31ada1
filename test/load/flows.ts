// SPDX-License-Identifier: MIT
/** Drives the load program of many long-lived flows: what it does, and what it says, stands in flows.c. */
import type { ChildProcess } from 'node:child_process';
import { LabError } from '../lab/lab.js';
import { PATIENCE } from '../support/patience.js';
import { compile, Program, type Spawn } from './program.js';

const SOURCES = ['flows.c', 'flow.c', 'client.c', 'server.c', 'report.c'];
const LOOK_MS = 50;

export type FlowKind = 'download' | 'upload' | 'both' | 'ping' | 'idle';

/** Names and defaults are those of the command `start`. */
export interface FlowOptions {
  kind: FlowKind;
  count: number;
  /** ADDRESS:PORT, or [ADDRESS]:PORT. */
  to: readonly string[];
  from?: readonly string[];
  bytes?: number;
  /** Octets a second. */
  pace?: number;
  /** Milliseconds. */
  every?: number;
  size?: number;
  opening?: number;
  rate?: number;
  seed?: number;
}

export interface GroupCount {
  name: string;
  kind: FlowKind;
  wanted: number;
  begun: number;
  setting_up: number;
  opened: number;
  alive: number;
  ended: number;
  not_made: number;
  resets: number;
  wrong: number;
  bytes_sent: number;
  bytes_received: number;
  not_made_by: Record<string, number>;
  broken_by: Record<string, number>;
}

export interface GroupReport extends GroupCount {
  waiting: number;
  stall_ms: { flows: number; p50: number; p99: number; max: number };
  /** Every one, in ascending order; none when they are more than 4096. */
  stalls: number[];
}

/** A flow that did not come to its end, as one of its ends saw it. */
export interface Loss {
  lost: string;
  group: string;
  kind: FlowKind;
  /** The same at both ends. */
  key: string;
  /** After the answer. */
  made: boolean;
  sent: number;
  received: number;
  /** Milliseconds of CLOCK_MONOTONIC. */
  begun: number;
  at: number;
  here?: Endpoint;
  /** At a client. */
  to?: Endpoint;
}

interface Endpoint {
  address: string;
  port: number;
}

interface Answer<G> {
  at: number;
  mark: number;
  groups: G[];
}

/** Compiles the program. @param output the file to make */
export function compileFlows(output: string): string {
  return compile(SOURCES, output);
}

/** All flows that were broken after they had been made. */
export function broken(group: GroupCount): number {
  return Object.values(group.broken_by).reduce((sum, n) => sum + n, 0);
}

/** One process of the load program, server or client. */
export class Flows {
  /** The first ten thousand. */
  readonly losses: Loss[] = [];
  /** Called for each of them. */
  onLoss: ((loss: Loss) => void) | undefined;
  readonly #program: Program;

  static serve(spawn: Spawn, program: string, endpoints: readonly string[]): Promise<Flows> {
    return Flows.#begin(spawn([program, 'serve', ...endpoints]));
  }

  static run(spawn: Spawn, program: string): Promise<Flows> {
    return Flows.#begin(spawn([program, 'run']));
  }

  static async #begin(child: ChildProcess): Promise<Flows> {
    const flows = new Flows(new Program('the load program', child, 'lost'));
    await flows.#program.ready();
    return flows;
  }

  private constructor(program: Program) {
    this.#program = program;
    program.onUnasked = (said) => {
      this.losses.push(said as Loss);
      this.onLoss?.(said as Loss);
    };
  }

  get child(): ChildProcess {
    return this.#program.child;
  }

  /** Begins to open flows; does not wait for them. */
  async start(name: string, options: FlowOptions): Promise<void> {
    const words = Object.entries(options).flatMap(([key, value]) =>
      value === undefined ? [] : [`${key}=${Array.isArray(value) ? value.join(',') : value}`],
    );
    await this.#program.ask(`start ${name} ${words.join(' ')}`);
  }

  /** Begins to end the flows of a group. */
  async end(name: string): Promise<void> {
    await this.#program.ask(`end ${name}`);
  }

  /** Stalls are counted anew. @returns from when on, in ms of CLOCK_MONOTONIC */
  async mark(): Promise<number> {
    return (await this.#program.ask<{ marked: number }>('mark')).marked;
  }

  async count(): Promise<Map<string, GroupCount>> {
    return byName(await this.#program.ask<Answer<GroupCount>>('count'));
  }

  async report(): Promise<Map<string, GroupReport>> {
    return byName(await this.#program.ask<Answer<GroupReport>>('report'));
  }

  /** Looks at one group until `holds`. @throws LabError with the last look when that does not come. */
  async until(
    what: string,
    name: string,
    ms: number,
    holds: (group: GroupCount) => boolean,
  ): Promise<GroupCount> {
    const deadline = performance.now() + ms * PATIENCE;
    for (;;) {
      const last = (await this.count()).get(name);
      if (last && holds(last)) return last;
      if (performance.now() > deadline) {
        throw new LabError('NOT_READY', `${what}: not within ${ms} ms: ${JSON.stringify(last)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** Waits until every flow of a group has been answered, or was lost before. */
  made(name: string, ms: number): Promise<GroupCount> {
    const settled = (g: GroupCount) => g.opened + g.not_made === g.wanted;
    return this.until(`all flows of '${name}' to be made`, name, ms, settled);
  }

  /** Ends a group, and waits until nothing of it is left. */
  async finish(name: string, ms: number): Promise<GroupCount> {
    await this.end(name);
    const gone = (g: GroupCount) => g.alive === 0 && g.setting_up === 0;
    return this.until(`all flows of '${name}' to end`, name, ms, gone);
  }

  /** Ends the process, and all flows with it. */
  stop(): Promise<void> {
    return this.#program.stop();
  }
}

function byName<G extends GroupCount>({ groups }: Answer<G>): Map<string, G> {
  return new Map(groups.map((group) => [group.name, group]));
}
