/** One run: a seed, some mishaps, whole links again, and the verdict. */
import { nodeId } from '../../../kernel/record/record.js';
import { Dice } from './dice.js';
import { Judge } from './judge.js';
import { Machine } from './machine.js';
import { mishap, type Scene } from './mishaps.js';
import { Network } from './network.js';
import { type Profile, profileOf } from './profile.js';
import { atRest } from './rest.js';
import { Scheduler } from './scheduler.js';
import { Traffic } from './traffic.js';
import { Vrrp } from './vrrp.js';

export interface RunOptions {
  readonly seed: number;
  /** Mishaps; fewer of them are the beginning of the same run. */
  readonly steps?: number;
  readonly trace?: boolean;
}

export interface Failure {
  readonly rule: string;
  readonly what: string;
  /** Milliseconds since the run began. */
  readonly at: number;
  /** Mishaps until then. */
  readonly step: number;
}

export interface Outcome {
  readonly seed: number;
  readonly failure: Failure | undefined;
  /** Faults that were injected and states that were reached, by name. */
  readonly counts: Readonly<Record<string, number>>;
  /** From whole links to rest, ms. */
  readonly settledMs: number;
  readonly trace: readonly string[];
}

export const STEPS = 40;
const NAMES = ['lb-a', 'lb-b', 'lb-c', 'lb-d'];
const BOOT_MS = 3000;
const LOOK_MS = 40;
/** From whole links to rest, at most. NOTRACK may wait for half a minute before it asks again. */
const SETTLE_MS = 20_000;
const NOTRACK_SETTLE_MS = 35_000;
/** To know who is alive, and to say who stands. */
const ONE_ANSWERS_MS = 6000;

export function run(options: RunOptions): Outcome {
  return new Run(options).play();
}

class Run {
  readonly #seed: number;
  readonly #steps: number;
  readonly #tracing: boolean;
  readonly #dice: Dice;
  readonly #profile: Profile;
  readonly #scheduler = new Scheduler();
  readonly #network: Network;
  readonly #machines: Machine[];
  readonly #vrrp: Vrrp;
  readonly #traffic: Traffic;
  readonly #judge: Judge;
  readonly #checks: Dice;
  readonly #counts: Record<string, number> = {};
  readonly #trace: string[] = [];
  #failure: Failure | undefined;
  #step = 0;
  #looks = 0;
  #busy = true;

  constructor({ seed, steps = STEPS, trace = false }: RunOptions) {
    this.#seed = seed;
    this.#steps = steps;
    this.#tracing = trace;
    this.#dice = new Dice(seed);
    this.#profile = profileOf(this.#dice.fork());
    this.#checks = this.#dice.fork();
    const count = (what: string): void => this.#count(what);
    const say = (line: () => string): void => this.#say(line);
    const scheduler = this.#scheduler;
    const { ports, nodes, checked, versionMax } = this.#profile;
    const dice = this.#dice;
    this.#network = new Network({ scheduler, dice: dice.fork(), checked, count });
    this.#traffic = new Traffic(scheduler, dice.fork(), ports, count);
    this.#machines = [];
    this.#judge = new Judge({
      machines: this.#machines,
      flows: () => this.#traffic.flows,
      versionMax,
      now: () => scheduler.now,
      fail: (rule, what) => this.#fail(rule, what),
      count,
    });
    const around = {
      scheduler,
      network: this.#network,
      dice: dice.fork(),
      watcher: this.#judge,
      count,
      trace: say,
      thrown: (machine: Machine, error: unknown) =>
        this.#fail('nothing throws', `${machine.name}: ${(error as Error).stack}`),
    };
    for (const name of NAMES.slice(0, nodes)) {
      const { tableSize, ring, socket } = this.#profile;
      const daemon = this.#profile.starts();
      this.#machines.push(new Machine(around, { name, tableSize, ring, socket, daemon }));
    }
    this.#network.ports.push(...this.#machines);
    this.#vrrp = new Vrrp(this.#machines, scheduler, dice.fork(), say);
  }

  play(): Outcome {
    const { faults, nodes, mode, sealed, paths, tight } = this.#profile;
    const kind = [`${nodes} nodes`, mode, sealed ? 'sealed' : 'not sealed', `${paths} paths`];
    if (this.#profile.hot) kind.push('hot standby');
    for (const one of kind) this.#count(`runs: ${one}`);
    if (tight) this.#count('runs: small HashLimit');
    this.#say(() => `seed ${this.#seed}: ${kind.join(', ')}; ${[...faults].join(', ')}`);
    this.#begin();
    for (; this.#step < this.#steps && !this.#failure; this.#step++) {
      mishap(this.#scene());
      const wait = this.#dice.part();
      this.#pass(wait < 0.8 ? wait * 200 : wait * 2500);
    }
    const settledMs = this.#failure ? 0 : this.#settle();
    return {
      seed: this.#seed,
      failure: this.#failure,
      counts: this.#counts,
      settledMs,
      trace: this.#trace,
    };
  }

  #begin(): void {
    for (const machine of this.#machines) {
      this.#scheduler.after(this.#dice.chance(0.5) ? 0 : this.#dice.part() * BOOT_MS, () =>
        machine.boot(),
      );
    }
    this.#scheduler.after(this.#dice.part() * BOOT_MS, () => this.#vrrp.elect());
    this.#beat();
    this.#look();
    this.#pass(BOOT_MS);
  }

  /** Things go on: for so long, or until something is wrong. */
  #pass(ms: number): void {
    this.#scheduler.run(this.#scheduler.now + ms, () => this.#failure === undefined);
  }

  #beat(): void {
    if (!this.#busy) return;
    for (const machine of this.#machines) if (machine.reached) this.#traffic.beat(machine);
    this.#scheduler.after(this.#dice.part() * 2 * this.#profile.beatMs, () => this.#beat());
  }

  /** The judge looks around, every now and then closely. */
  #look(): void {
    const looks = this.#looks++;
    this.#judge.lookAround();
    const daemons = this.#machines.flatMap(({ daemon }) => daemon ?? []);
    for (const machine of this.#machines) if (machine.on) this.#judge.epochs(machine);
    for (const daemon of daemons) this.#judge.silent(daemon);
    if (looks % 3 === 0 && daemons.length > 0) {
      const daemon = this.#checks.pick(daemons);
      this.#judge.acknowledgements(daemon);
      const entries = [...daemon.machine.kernel.entries.values()];
      for (let i = 0; i < 3 && entries.length > 0; i++) {
        this.#judge.acknowledged(daemon, this.#checks.pick(entries).record.bytes);
      }
    }
    if (looks % 12 === 0) {
      for (const daemon of daemons) {
        this.#judge.inSync(daemon, (a, b, ms) => this.#undisturbed(a, b, ms));
        this.#judge.bounds(daemon);
      }
    }
    this.#scheduler.after(LOOK_MS, () => this.#look());
  }

  /** Has nothing been in the way between the two for so long? */
  #undisturbed(a: Machine, b: Machine, ms: number): boolean {
    const { now } = this.#scheduler;
    // ALARM promises no more than to be a round behind
    const again = this.#profile.mode !== 'ALARM';
    for (const machine of [a, b]) if (now - machine.disturbedAt < ms) return false;
    for (let path = 0; path < this.#profile.paths; path++) {
      for (const [from, to] of [
        [a, b],
        [b, a],
      ]) {
        if (!this.#network.carries(from, to, path)) return false;
        const { loss, corruption, truncation, jitterMs } = this.#network.conditions(from, to, path);
        if (loss + corruption + truncation > (again ? 0.35 : 0)) return false;
        // what is later than 20 ms is as good as lost
        if (!again && jitterMs > 10) return false;
      }
    }
    return !this.#network.narrowed;
  }

  #settle(): number {
    this.#say(() => '-- the links are whole again');
    this.#busy = false;
    this.#network.heal();
    for (const machine of this.#machines) {
      machine.disturbedAt = Math.max(machine.disturbedAt, this.#scheduler.now);
      if (!machine.on) machine.boot();
      else if (!machine.daemon) machine.startDaemon();
    }
    // who is frozen still has to wake up
    this.#pass(
      Math.max(0, ...this.#machines.map((machine) => machine.frozenUntil - this.#scheduler.now)),
    );
    this.#oneAnswers();
    this.#vrrp.settle();
    // a move may be under way
    this.#scheduler.after(50, () => this.#vrrp.settle());
    const began = this.#scheduler.now;
    this.#rest('after the links were whole again');
    const settledMs = this.#scheduler.now - began;
    if (this.#profile.tight) this.#makeRoom();
    const [master] = this.#vrrp.masters;
    this.#say(() => '-- the master takes all');
    master?.daemon?.commit();
    this.#rest('after a commit');
    return settledMs;
  }

  /**
   * VRRP has not settled yet, and may have given the address to several: of those that hear each other
   * one answers, and it stays that one.
   */
  #oneAnswers(): void {
    const { faults, tight } = this.#profile;
    // a full cache comes first: see #makeRoom
    if (tight) return;
    if (faults.has('two masters')) {
      for (const machine of this.#machines) this.#vrrp.give(machine);
    }
    // who is of the first version cannot be asked
    if (this.#machines.some(({ daemon }) => !daemon?.speaks)) return;
    const wrong = (): boolean => {
      const holders = this.#vrrp.masters.length;
      const answering = this.#machines.filter((machine) => machine.reached).length;
      return (
        answering !== Math.min(1, holders) || this.#machines.some(({ daemon }) => daemon?.busy)
      );
    };
    const end = this.#scheduler.now + ONE_ANSWERS_MS;
    while (wrong() && !this.#failure && this.#scheduler.now < end) this.#pass(50);
    if (this.#failure) return;
    const who = this.#machines.filter((machine) => machine.reached).map(({ name }) => name);
    const holders = this.#vrrp.masters.length;
    if (wrong()) {
      const what = `${ONE_ANSWERS_MS / 1000} s after the links were whole again`;
      this.#fail(
        'one answers',
        `${what}, of ${holders} with the address: ${who.join(', ') || 'none'}`,
      );
      return;
    }
    if (holders > 1) this.#count('one of several answered');
    const { moves } = this.#vrrp;
    this.#pass(ONE_ANSWERS_MS);
    const still = this.#machines.filter((machine) => machine.reached).map(({ name }) => name);
    if (moves !== this.#vrrp.moves || still.join() === who.join()) return;
    this.#fail(
      'one answers',
      `first ${who.join()}, then ${still.join()}, and nothing had happened`,
    );
  }

  /** Caches that were full have room again. */
  #makeRoom(): void {
    for (const machine of this.#machines) this.#traffic.end(machine, 3);
    this.#pass(1000);
    // twice: while the first reads, ends may still be in the ring
    for (let i = 0; i < 2; i++) {
      for (const { daemon } of this.#machines) daemon?.resync('room again');
      this.#pass(500);
    }
    this.#rest('after there was room again');
  }

  #rest(when: string): void {
    const ms = this.#profile.mode === 'NOTRACK' ? NOTRACK_SETTLE_MS : SETTLE_MS;
    const end = this.#scheduler.now + ms;
    let wrong: string[] = [];
    while (!this.#failure && this.#scheduler.now < end) {
      this.#pass(50);
      wrong = atRest(this.#machines, this.#judge, this.#vrrp, this.#profile);
      if (wrong.length === 0) return;
    }
    if (!this.#failure) {
      this.#fail('all comes to rest', `${ms / 1000} s ${when}: ${wrong.slice(0, 6).join('; ')}`);
    }
  }

  #scene(): Scene {
    return {
      dice: this.#dice,
      profile: this.#profile,
      machines: this.#machines,
      network: this.#network,
      scheduler: this.#scheduler,
      vrrp: this.#vrrp,
      burst: (machine) => {
        if (!machine.reached) return;
        this.#traffic.burst(machine);
      },
      emptied: ({ daemon }) => daemon && this.#judge.emptied(daemon),
      count: (what) => this.#count(what),
      trace: (line) => this.#say(line),
    };
  }

  #count(what: string): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1;
  }

  #say(line: () => string): void {
    if (!this.#tracing) return;
    this.#trace.push(`${(this.#scheduler.now / 1000).toFixed(4).padStart(9)} ${line()}`);
  }

  #fail(rule: string, what: string): void {
    if (this.#failure) return;
    const names = NAMES.map((name) => [nodeId(name).toString(16), name]);
    let readable = what;
    for (const [id, name] of names) readable = readable.replaceAll(id, name);
    this.#failure = { rule, what: readable, at: this.#scheduler.now, step: this.#step };
    this.#say(() => `!! ${rule}: ${readable}`);
  }
}
