import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findCgroupRoot } from '../support/cgroup.js';
import { PATIENCE } from '../support/patience.js';
import { within } from '../support/within.js';

/** Let a signal end the process by process.exit(), which removes its lab; else it would be left standing. */
export function exitOnSignals(): void {
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.on(signal, () => process.exit(128 + number));
  }
}

export class LabError extends Error {
  constructor(
    readonly code: 'MISSING' | 'COMMAND' | 'NOT_READY' | 'ENDED_EARLY' | 'USAGE',
    message: string,
  ) {
    super(message);
    this.name = 'LabError';
  }
}

const PREFIX = 'spliced-lab-';

function sleepSync(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Runs to completion; a failure carries what the program said. */
export function command(program: string, args: string[], input?: string): string {
  try {
    return execFileSync(program, args, {
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: 20_000 * PATIENCE,
      input: input ?? '',
    });
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim() || (error as Error).message;
    throw new LabError('COMMAND', `${program} ${args.join(' ')}: ${said}`);
  }
}

function attempt(action: () => void): void {
  try {
    action();
  } catch {
    // Taking down goes on: what is already gone needs no removal.
  }
}

export interface Started {
  readonly name: string;
  readonly child: ChildProcess;
  readonly log: string;
}

/**
 * Everything that one run makes on this machine lives under one name: a directory, network
 * namespaces, mounts inside the directory, and a cgroup that holds every process. That makes the
 * end simple whatever happened before it: kill the cgroup, delete what carries the name.
 */
export class Lab {
  readonly id: string;
  readonly dir: string;
  readonly cgroup: string;
  kept = false;
  #mounts: string[] = [];
  #started: Started[] = [];
  #gone = false;
  readonly #onExit = () => this.remove();

  constructor() {
    const root = findCgroupRoot();
    if (!root) throw new LabError('MISSING', 'no cgroup2 is mounted: mount -t cgroup2 none /mnt');
    // The pid is unique among running labs, and tells a later run whether the owner is alive.
    this.id = process.pid.toString(36);
    this.dir = join(tmpdir(), `${PREFIX}${this.id}`);
    this.cgroup = join(root, `${PREFIX}${this.id}`);
    fs.mkdirSync(this.dir, { mode: 0o755 });
    fs.writeFileSync(join(this.dir, 'owner'), `${process.pid}\n`);
    fs.mkdirSync(this.cgroup);
    process.on('exit', this.#onExit);
  }

  /** Path of a file of this lab. */
  path(...parts: string[]): string {
    const path = join(this.dir, ...parts);
    fs.mkdirSync(join(path, '..'), { recursive: true });
    return path;
  }

  write(name: string, text: string): string {
    const path = this.path(name);
    fs.writeFileSync(path, text);
    return path;
  }

  namespace(name: string): string {
    return `sp-${this.id}-${name}`;
  }

  mount(type: string, name: string, options?: string): string {
    const path = this.path(name);
    fs.mkdirSync(path, { recursive: true });
    command('mount', ['-t', type, ...(options ? ['-o', options] : []), `lab-${this.id}`, path]);
    this.#mounts.push(path);
    return path;
  }

  /** A cgroup of its own for the processes of one node, so that they can all die at once. */
  group(name: string): string {
    const path = join(this.cgroup, name);
    fs.mkdirSync(path, { recursive: true });
    return path;
  }

  /** `ip -batch` in one namespace: one process for many lines. */
  ip(node: string, lines: string[]): void {
    command('ip', ['-n', this.namespace(node), '-batch', '-'], `${lines.join('\n')}\n`);
  }

  /** Runs a command inside a namespace and waits for it. */
  exec(node: string, program: string, ...args: string[]): string {
    return command('nsenter', [`--net=/run/netns/${this.namespace(node)}`, program, ...args]);
  }

  /**
   * Starts a program inside a namespace and the node's cgroup. Not `ip netns exec`: that remounts
   * /sys, which hides bpffs and cgroup2.
   */
  spawn(node: string, argv: string[], options: SpawnOptions = {}): ChildProcess {
    const enter = 'echo $$ > "$1/cgroup.procs" && shift && exec nsenter "$@"';
    const net = `--net=/run/netns/${this.namespace(node)}`;
    return spawn('/bin/sh', ['-c', enter, 'sh', this.group(node), net, ...argv], options);
  }

  /** Starts a program that stays, with its output in a log file of its own. */
  start(node: string, name: string, argv: string[], env: Record<string, string> = {}): Started {
    const log = this.path('log', `${node}-${name}.log`);
    const fd = fs.openSync(log, 'a');
    const child = this.spawn(node, argv, {
      stdio: ['ignore', fd, fd],
      env: { ...process.env, ...env },
    });
    fs.closeSync(fd);
    child.on('error', () => {});
    const started = { name: `${name} on ${node}`, child, log };
    this.#started.push(started);
    return started;
  }

  /** Tells one program to go, or makes it; resolves at its end, which is no surprise to `until`. */
  async end(started: Started, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#started = this.#started.filter((s) => s !== started);
    const { child, name } = started;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await within(15_000, `the end of ${name}`, ended);
  }

  /** Power failure: every process of the node gets SIGKILL from the kernel, in one stroke. */
  killNode(node: string): void {
    fs.writeFileSync(join(this.group(node), 'cgroup.kill'), '1');
  }

  /** Waits for a condition, and says what the programs logged when it does not come. */
  async until(what: string, seconds: number, holds: () => boolean | Promise<boolean>) {
    const deadline = performance.now() + seconds * 1000 * PATIENCE;
    for (;;) {
      if (await holds()) return;
      const dead = this.#started.find((s) => s.child.exitCode !== null);
      if (dead)
        throw new LabError('ENDED_EARLY', `${dead.name} ended by itself:\n${tail(dead.log)}`);
      if (performance.now() > deadline) {
        const running = this.#started.filter((s) => s.child.signalCode === null);
        const logs = running.map((s) => `--- ${s.name}\n${tail(s.log, 5)}`);
        throw new LabError(
          'NOT_READY',
          `${what}: not within ${seconds} s. The last that was logged:\n${logs.join('\n')}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Leaves everything standing when this process ends. */
  keep(): void {
    this.kept = true;
    fs.writeFileSync(join(this.dir, 'kept'), '');
    for (const { child } of this.#started) child.unref();
  }

  /** Synchronous, so that it also runs on exit; what is gone already is passed over. */
  remove(): void {
    if (this.#gone || this.kept) return;
    this.#gone = true;
    process.off('exit', this.#onExit);
    removeLab(this.dir, this.cgroup, this.id, this.#mounts);
  }
}

export function tail(log: string, lines = 15): string {
  return fs.readFileSync(log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
}

function removeLab(dir: string, cgroup: string, id: string, mounts: string[]): void {
  attempt(() => fs.writeFileSync(join(cgroup, 'cgroup.kill'), '1'));
  for (let i = 0; i < 200; i++) {
    let populated = false;
    attempt(() => {
      populated = fs.readFileSync(join(cgroup, 'cgroup.events'), 'utf8').includes('populated 1');
    });
    if (!populated) break;
    sleepSync(10);
  }
  for (const name of fs.existsSync('/run/netns') ? fs.readdirSync('/run/netns') : []) {
    if (name.startsWith(`sp-${id}-`)) attempt(() => command('ip', ['netns', 'del', name]));
  }
  // the last one first: one may stand in another
  for (const path of [...mounts].reverse()) attempt(() => command('umount', [path]));
  removeCgroup(cgroup);
  attempt(() => fs.rmSync(dir, { recursive: true, force: true }));
}

/** Again and again: a program that was being started when the end came enters it a moment later. */
function removeCgroup(cgroup: string): void {
  for (let i = 0; i < 200 && fs.existsSync(cgroup); i++) {
    if (i > 0) sleepSync(10);
    attempt(() => fs.writeFileSync(join(cgroup, 'cgroup.kill'), '1'));
    attempt(() => {
      for (const entry of fs.readdirSync(cgroup, { withFileTypes: true })) {
        if (entry.isDirectory()) attempt(() => fs.rmdirSync(join(cgroup, entry.name)));
      }
      fs.rmdirSync(cgroup);
    });
  }
}

function mountsBelow(dir: string): string[] {
  return fs
    .readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${dir}/`));
}

/** Labs on this machine: with their directory, and whether they are in use, kept or abandoned. */
export function findLabs(): { id: string; dir: string; state: 'running' | 'kept' | 'abandoned' }[] {
  return fs
    .readdirSync(tmpdir())
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => {
      const dir = join(tmpdir(), name);
      let owner = '';
      attempt(() => {
        owner = fs.readFileSync(join(dir, 'owner'), 'utf8').trim();
      });
      const kept = fs.existsSync(join(dir, 'kept'));
      const running = owner !== '' && fs.existsSync(`/proc/${owner}`);
      const state = kept ? 'kept' : running ? 'running' : 'abandoned';
      return { id: name.slice(PREFIX.length), dir, state };
    });
}

/** Removes the labs of runs that were killed before they could clean up, and kept ones if asked. */
export function removeLeftovers(alsoKept: boolean): number {
  const root = findCgroupRoot() ?? '';
  let removed = 0;
  for (const { id, dir, state } of findLabs()) {
    if (state === 'running' || (state === 'kept' && !alsoKept)) continue;
    removeLab(dir, join(root, `${PREFIX}${id}`), id, mountsBelow(dir));
    removed++;
  }
  return removed;
}
