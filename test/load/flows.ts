// SPDX-License-Identifier: MIT
/** Drives the load program of many long-lived flows: what it does, and what it says, stands in flows.c. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { command, LabError } from '../lab/lab.js';
import { PATIENCE } from '../support/patience.js';
import { within } from '../support/within.js';

const SOURCES = ['flows.c', 'flow.c', 'client.c', 'server.c', 'report.c'];
/** Of 100,000 flows a report is ready in a tenth of a second; the machine may be busy. */
const ANSWER_MS = 20_000;
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
  key: string;
  made: boolean;
  address: string;
  port: number;
  sent: number;
  received: number;
  at: number;
}

interface Answer<G> {
  at: number;
  mark: number;
  groups: G[];
}

/** Compiles the program. @param output the file to make */
export function compileFlows(output: string): string {
  const sources = SOURCES.map((name) => fileURLToPath(new URL(name, import.meta.url)));
  command('clang', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', output, ...sources]);
  return output;
}

/** All flows that were broken after they had been made. */
export function broken(group: GroupCount): number {
  return Object.values(group.broken_by).reduce((sum, n) => sum + n, 0);
}

/** One process of the load program, server or client. */
export class Flows {
  /** The first thousand. */
  readonly losses: Loss[] = [];
  /** Called for each of them. */
  onLoss: ((loss: Loss) => void) | undefined;
  readonly #waiting: { resolve(answer: unknown): void; reject(error: Error): void }[] = [];
  readonly #ready: Promise<unknown>;
  #said = '';

  /** @param spawn starts it with standard input, output and error as pipes, wherever that may be */
  static serve(
    spawn: (argv: string[]) => ChildProcess,
    program: string,
    endpoints: readonly string[],
  ): Promise<Flows> {
    return Flows.#begin(spawn([program, 'serve', ...endpoints]));
  }

  static run(spawn: (argv: string[]) => ChildProcess, program: string): Promise<Flows> {
    return Flows.#begin(spawn([program, 'run']));
  }

  static async #begin(child: ChildProcess): Promise<Flows> {
    const flows = new Flows(child);
    await within(ANSWER_MS, 'the load program', flows.#ready);
    return flows;
  }

  private constructor(readonly child: ChildProcess) {
    this.#ready = this.#answer();
    child.stdin?.on('error', () => {}); // 'exit' tells
    child.on('error', (error) => this.#fail(error.message));
    child.on('close', (status) => this.#fail(`ended with status ${status}: ${this.#said.trim()}`));
    child.stderr?.on('data', (piece) => {
      this.#said += piece;
    });
    if (child.stdout) createInterface(child.stdout).on('line', (line) => this.#take(line));
  }

  #answer(): Promise<unknown> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #fail(why: string): void {
    for (const { reject } of this.#waiting.splice(0)) {
      reject(new LabError('ENDED_EARLY', `the load program: ${why}`));
    }
  }

  #take(line: string): void {
    const said = JSON.parse(line);
    if ('lost' in said) {
      this.losses.push(said);
      this.onLoss?.(said);
      return;
    }
    this.#waiting.shift()?.resolve(said);
  }

  async #ask<T>(line: string): Promise<T> {
    const { exitCode, signalCode } = this.child;
    if (exitCode !== null || signalCode !== null) {
      throw new LabError('ENDED_EARLY', `the load program has ended: ${this.#said.trim()}`);
    }
    const answered = this.#answer();
    this.child.stdin?.write(`${line}\n`);
    return (await within(ANSWER_MS, `the load program's answer to '${line}'`, answered)) as T;
  }

  /** Begins to open flows; does not wait for them. */
  async start(name: string, options: FlowOptions): Promise<void> {
    const words = Object.entries(options).flatMap(([key, value]) =>
      value === undefined ? [] : [`${key}=${Array.isArray(value) ? value.join(',') : value}`],
    );
    await this.#ask(`start ${name} ${words.join(' ')}`);
  }

  /** Begins to end the flows of a group. */
  async end(name: string): Promise<void> {
    await this.#ask(`end ${name}`);
  }

  /** Stalls are counted anew. @returns from when on, in ms of CLOCK_MONOTONIC */
  async mark(): Promise<number> {
    return (await this.#ask<{ marked: number }>('mark')).marked;
  }

  async count(): Promise<Map<string, GroupCount>> {
    return byName(await this.#ask<Answer<GroupCount>>('count'));
  }

  async report(): Promise<Map<string, GroupReport>> {
    return byName(await this.#ask<Answer<GroupReport>>('report'));
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
  async stop(): Promise<void> {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.stdin?.end('stop\n');
    try {
      await within(ANSWER_MS, 'the end of the load program', ended);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }
}

function byName<G extends GroupCount>({ groups }: Answer<G>): Map<string, G> {
  return new Map(groups.map((group) => [group.name, group]));
}
