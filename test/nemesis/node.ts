// SPDX-License-Identifier: MIT
/** One of the two load balancers as something that faults happen to. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Balancer } from '../lab/balancer.js';
import type { Lab } from '../lab/lab.js';
import type { Manager } from '../lab/managers/index.js';
import {
  type BalancerName,
  forgetAddresses,
  plugCables,
  pullCables,
  rebuildNode,
} from '../lab/topology.js';
import { monotonicMs } from '../support/clock.js';
import { PROGRAMS, type Program } from './schedule.js';
import { until } from './until.js';

/** What of a process's command line tells which program it is. */
const MARKS: Record<Program, RegExp> = {
  spliced: /daemon\/main\.js/,
  switchd: /proxy\/main\.js/,
  keepalived: /(^|\/)keepalived\0/,
};
/** Until then it has become the program that it is to be. */
const STARTS_WITHIN_MS = 3000;
/** On a machine with much to do. */
const START_S = 120;
/** The disk of a node, which its log and its track file are on. */
const DISK_BYTES = 16 << 20;
/** Splices: a little more than run as a rule, so that a burst of connections fills the table. */
const TABLE_SIZE = 256;
/** Short ones: what is left of a flow whose ends are gone has to go while the run is watched. */
const TIMEOUTS = 'timewait 2 close 2 finwait 8 lastack 4 synsent 5 synack 5 probe 2';
const MODE = 'PurgeTimeout 5';

export class Node {
  readonly balancer: Balancer;
  readonly disk: string;
  /** Not crashed. */
  alive = true;
  /** Since when a program is to run. */
  readonly #wanted = new Map<Program, number>();

  constructor(
    readonly lab: Lab,
    readonly name: BalancerName,
    readonly manager: Manager,
  ) {
    this.disk = lab.mount('tmpfs', name, `mode=0755,size=${DISK_BYTES}`);
    this.balancer = new Balancer(lab, name, {
      tableSize: TABLE_SIZE,
      logFile: join(this.disk, 'spliced.log'),
      mode: MODE,
      timeouts: TIMEOUTS,
    });
  }

  start(program: Program): void {
    this.#wanted.set(program, monotonicMs());
    if (program === 'spliced') this.balancer.startDaemon();
    else if (program === 'switchd') this.balancer.startProxy();
    else this.manager.start(this.balancer);
  }

  /** In the order in which a machine would, each when the one before has got so far. */
  async startAll(): Promise<void> {
    for (const program of PROGRAMS) {
      await this.ensure(program);
      if (program === 'spliced') await this.answers();
    }
    await this.serves();
  }

  /** Starts the program if this node lives and it does not run. */
  async ensure(program: Program): Promise<void> {
    if (!this.alive || this.runs(program)) return;
    this.start(program);
  }

  /** spliced answers, or the node is gone again; bounded by the lab's own deadline. */
  async answers(): Promise<void> {
    await until(
      `spliced on ${this.name}`,
      START_S,
      async () => !this.alive || (await this.balancer.status()) !== undefined,
    );
  }

  /** switchd listens, or the node is gone again. */
  async serves(): Promise<void> {
    await until(`switchd on ${this.name}`, START_S, () => !this.alive || this.balancer.serves());
  }

  runs(program: Program): boolean {
    return this.pids(program).length > 0;
  }

  pids(program: Program): number[] {
    const all = readFileSync(join(this.lab.group(this.name), 'cgroup.procs'), 'utf8').split('\n');
    return all.filter(Boolean).flatMap((pid) => {
      try {
        return MARKS[program].test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))
          ? Number(pid)
          : [];
      } catch {
        return []; // it has ended meanwhile
      }
    });
  }

  signal(program: Program, signal: NodeJS.Signals): void {
    for (const pid of this.pids(program)) {
      try {
        process.kill(pid, signal);
      } catch {
        // it has ended meanwhile
      }
    }
  }

  kill(program: Program): void {
    this.#wanted.delete(program);
    this.signal(program, 'SIGKILL');
  }

  /** Programs that have ended without being told to; each is named once. */
  ended(): Program[] {
    const now = monotonicMs();
    const missing = [...this.#wanted].filter(
      ([program, since]) => now - since > STARTS_WITHIN_MS && !this.runs(program),
    );
    for (const [program] of missing) this.#wanted.delete(program);
    return missing.map(([program]) => program);
  }

  /** By SIGTERM; resolves when the new one has been started. */
  async restart(program: Program): Promise<void> {
    this.#wanted.delete(program);
    this.signal(program, 'SIGTERM');
    // switchd finishes what it relays first, beside the one that comes after it
    const gone = () => (program === 'switchd' ? !this.balancer.listens() : !this.runs(program));
    await until(`the end of ${program} on ${this.name}`, 30, () => !this.alive || gone());
    if (!this.alive) return;
    if (program === 'switchd') this.start(program);
    else await this.ensure(program);
  }

  freeze(on: boolean): void {
    writeFileSync(join(this.lab.group(this.name), 'cgroup.freeze'), on ? '1' : '0');
  }

  /** Power goes: cables without carrier, and every process killed in one stroke. */
  crash(): void {
    this.alive = false;
    this.#wanted.clear();
    pullCables(this.lab, this.name);
    this.freeze(false); // or nothing of it would die
    this.lab.killNode(this.name);
  }

  /** It boots: with a new kernel, or, which is what a panic of user space comes to, with the old one. */
  async comeBack(forgets: boolean): Promise<void> {
    await until(`the end of ${this.name}`, 10, () => PROGRAMS.every((p) => !this.runs(p)));
    if (forgets) {
      rebuildNode(this.lab, this.name);
      rmSync(this.balancer.pinPath, { recursive: true, force: true });
    } else {
      forgetAddresses(this.lab, this.name);
      plugCables(this.lab, this.name);
    }
    this.alive = true;
    await this.startAll();
  }

  /** Fills the disk to the last byte. Returns how to make room again. */
  fillDisk(): () => void {
    const filler = join(this.disk, 'filler');
    const chunk = Buffer.alloc(64 << 10);
    for (let size = chunk.length; size >= 1; size >>= 1) {
      try {
        for (;;) writeFileSync(filler, chunk.subarray(0, size), { flag: 'a' });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
    return () => rmSync(filler, { force: true });
  }

  /** What is on the disk of the daemon's log, from the beginning. */
  log(): string {
    try {
      return readFileSync(join(this.disk, 'spliced.log'), 'utf8');
    } catch {
      return '';
    }
  }
}
