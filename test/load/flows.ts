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
  /** Of several processes: the largest of each. */
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

/**
 * The load program, server or client: one process, or several that share the work, where one may not have
 * as many open files as there are flows. Taken together they are asked, and answer, like one.
 */
export class Flows {
  /** The first ten thousand of each process. */
  readonly losses: Loss[] = [];
  /** Called for each of them. */
  onLoss: ((loss: Loss) => void) | undefined;
  readonly #programs: readonly Program[];
  /** By the name of a group: the processes that have a part in it. */
  readonly #members = new Map<string, readonly Program[]>();

  /** @param processes each listens on its share of the endpoints; there must be one for each */
  static serve(
    spawn: Spawn,
    program: string,
    endpoints: readonly string[],
    processes = 1,
  ): Promise<Flows> {
    const argv = (i: number) => [program, 'serve', ...share(endpoints, i, processes)];
    return Flows.#begin(processes, (i) => spawn(argv(i)));
  }

  static run(spawn: Spawn, program: string, processes = 1): Promise<Flows> {
    return Flows.#begin(processes, () => spawn([program, 'run']));
  }

  static async #begin(processes: number, start: (i: number) => ChildProcess): Promise<Flows> {
    const programs = Array.from(
      { length: processes },
      (_, i) => new Program('the load program', start(i), 'lost'),
    );
    const flows = new Flows(programs);
    await Promise.all(programs.map((program) => program.ready()));
    return flows;
  }

  private constructor(programs: readonly Program[]) {
    this.#programs = programs;
    for (const program of programs) {
      program.onUnasked = (said) => {
        this.losses.push(said as Loss);
        this.onLoss?.(said as Loss);
      };
    }
  }

  /** The first process: for one that is alone. */
  get child(): ChildProcess {
    return this.#programs[0].child;
  }

  /** Begins to open flows; does not wait for them. Each process has its share of them, and of `from`. */
  async start(name: string, options: FlowOptions): Promise<void> {
    const { length } = this.#programs;
    const counts = this.#programs.map((_, i) => Math.floor((options.count + i) / length));
    const members = this.#programs.filter((_, i) => counts[i] > 0);
    this.#members.set(name, members);
    await Promise.all(
      this.#programs.map((program, i) => {
        if (counts[i] === 0) return undefined;
        const mine = { ...options, count: counts[i], seed: (options.seed ?? 0) + i };
        if (options.from) mine.from = share(options.from, i, length);
        if (options.rate) mine.rate = Math.ceil(options.rate / length);
        if (options.opening) mine.opening = Math.ceil(options.opening / length);
        return program.ask(`start ${name} ${words(mine)}`);
      }),
    );
  }

  /** Begins to end the flows of a group. */
  async end(name: string): Promise<void> {
    const members = this.#members.get(name) ?? [];
    await Promise.all(members.map((program) => program.ask(`end ${name}`)));
  }

  /** Stalls are counted anew. @returns from when on, in ms of CLOCK_MONOTONIC */
  async mark(): Promise<number> {
    const answers = await this.#ask<{ marked: number }>('mark');
    return Math.max(...answers.map(({ marked }) => marked));
  }

  async count(): Promise<Map<string, GroupCount>> {
    return byName(await this.#ask<Answer<GroupCount>>('count'), addCounts);
  }

  async report(): Promise<Map<string, GroupReport>> {
    return byName(await this.#ask<Answer<GroupReport>>('report'), addReports);
  }

  #ask<T>(line: string): Promise<T[]> {
    return Promise.all(this.#programs.map((program) => program.ask<T>(line)));
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

  /** Ends the processes, and all flows with them. */
  async stop(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.stop()));
  }
}

/** Every so many-th of a list; of one that is too short for all, one. */
function share<T>(list: readonly T[], index: number, of: number): T[] {
  const mine = list.filter((_, i) => i % of === index);
  return mine.length > 0 ? mine : [list[index % list.length]];
}

function words(options: FlowOptions): string {
  return Object.entries(options)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${Array.isArray(value) ? value.join(',') : value}`)
    .join(' ');
}

function byName<G extends GroupCount>(
  answers: readonly Answer<G>[],
  add: (a: G, b: G) => G,
): Map<string, G> {
  const groups = new Map<string, G>();
  for (const group of answers.flatMap((answer) => answer.groups)) {
    const known = groups.get(group.name);
    groups.set(group.name, known ? add(known, group) : group);
  }
  return groups;
}

function addCounts<G extends GroupCount>(a: G, b: G): G {
  const sum = { ...a } as unknown as Record<string, unknown>;
  for (const [key, value] of Object.entries(b)) {
    if (typeof value === 'number') sum[key] = (sum[key] as number) + value;
  }
  for (const key of ['not_made_by', 'broken_by'] as const) {
    const causes = { ...a[key] };
    for (const [cause, n] of Object.entries(b[key])) causes[cause] = (causes[cause] ?? 0) + n;
    sum[key] = causes;
  }
  return sum as unknown as G;
}

/** Percentiles of both are at most the larger of the two's. */
function addReports(a: GroupReport, b: GroupReport): GroupReport {
  const [x, y] = [a.stall_ms, b.stall_ms];
  return {
    ...addCounts(a, b),
    stall_ms: {
      flows: x.flows + y.flows,
      p50: Math.max(x.p50, y.p50),
      p99: Math.max(x.p99, y.p99),
      max: Math.max(x.max, y.max),
    },
    stalls: [...a.stalls, ...b.stalls].sort((one, two) => one - two),
  };
}
