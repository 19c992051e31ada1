/**
 * A machine: a kernel with its table, a socket buffer, one thread that a daemon runs on, and clocks.
 * Whatever the daemon does happens in a turn of that thread; while the thread is frozen, turns wait.
 */
import { nodeId } from '../../../kernel/record/record.js';
import type { FenceOutcome } from '../../../sync/api.js';
import type { Timer } from '../../../sync/ports.js';
import { Daemon, type DaemonSettings } from './daemon.js';
import type { Dice } from './dice.js';
import { Kernel } from './kernel.js';
import type { Network, Parcel, Port } from './network.js';
import type { Said } from './said.js';
import type { Scheduler } from './scheduler.js';

/** A timer fires so much too late at most, on a machine that has nothing better to do. */
const LATENESS_MS = 1;
const SWEEP_MS = 250;
/** Unix time at which every run begins, in microseconds. */
const BEGINNING = 1_800_000_000_000_000;

export interface MachineSettings {
  readonly name: string;
  readonly tableSize: number;
  readonly ring: number;
  /** Datagrams that its socket takes while nobody reads. */
  readonly socket: number;
  /** Of one start of the daemon. */
  readonly daemon: () => DaemonSettings;
}

/** What a run lends to its machines. */
export interface Surroundings {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly dice: Dice;
  readonly watcher: Watcher;
  count(what: string): void;
  trace(line: () => string): void;
  /** Something was thrown. */
  thrown(machine: Machine, error: unknown): void;
}

/** Who is told what happens, to judge it. */
export interface Watcher {
  version(bytes: Uint8Array): void;
  sending(daemon: Daemon, datagram: Uint8Array): Said | undefined;
  /** A datagram leaves under this nonce of this session. */
  sealing(daemon: Daemon, session: string, nonce: number, datagram: Uint8Array): void;
  /** A datagram has got through the seal. */
  unsealed(daemon: Daemon, parcel: Parcel): void;
  started(daemon: Daemon): void;
  /** Around a call that takes a datagram in; `after` when it has been taken in. */
  receiving(daemon: Daemon, parcel: Parcel): (() => void) | undefined;
  /** Around a call that hands over the table, or events: what is not there afterwards has ended. */
  withdrawing(daemon: Daemon): () => void;
  ending(daemon: Daemon, identities: readonly Uint8Array[]): () => void;
  /** Around a whole commit. */
  committing(daemon: Daemon): () => void;
  /** A takeover has come to its end. */
  fenced(daemon: Daemon, outcome: FenceOutcome): void;
  /** An operator has emptied caches. */
  emptied(daemon: Daemon): void;
  touched(daemon: Daemon): void;
}

export class Machine implements Port {
  readonly name: string;
  readonly id: number;
  readonly dice: Dice;
  readonly settings: MachineSettings;
  kernel!: Kernel;
  daemon: Daemon | undefined;
  on = false;
  /** A virtual address is here. */
  hasAddress = false;
  /** When that has changed, or a daemon has been started here. */
  movedAt = 0;
  frozenUntil = 0;
  /** What was done to it last that a node in sync may be excused for. */
  disturbedAt = 0;
  #wallOffset = 0;
  #inbox: Parcel[] = [];
  #reading: Timer | undefined;
  #sweep: Timer | undefined;
  #lastIncarnation = 0n;

  constructor(
    readonly around: Surroundings,
    settings: MachineSettings,
  ) {
    this.name = settings.name;
    this.settings = settings;
    this.id = nodeId(settings.name);
    this.dice = around.dice.fork();
    // no two clocks agree to the microsecond
    this.#wallOffset = this.dice.below(2_000_000);
  }

  /** Microseconds of Unix time as this machine knows it. */
  get wall(): bigint {
    const { scheduler } = this.around;
    let wall = BigInt(BEGINNING + Math.floor(scheduler.now * 1000) + this.#wallOffset);
    // two starts in the same microsecond there are not
    if (wall === this.#lastIncarnation) wall++;
    this.#lastIncarnation = wall;
    return wall;
  }

  setWall(byMs: number): void {
    this.#wallOffset += Math.floor(byMs * 1000);
  }

  /** Packets come: the address is here, and answered for. */
  get reached(): boolean {
    return this.on && this.hasAddress && this.kernel.answers;
  }

  get frozen(): boolean {
    return this.around.scheduler.now < this.frozenUntil;
  }

  /** Power: a new, empty table, and a daemon. */
  boot(): void {
    const { scheduler, watcher, count } = this.around;
    this.on = true;
    this.disturbedAt = scheduler.now;
    const kernel: Kernel = new Kernel({
      node: this.id,
      incarnation: this.wall,
      size: this.settings.tableSize,
      ring: this.settings.ring,
      now: () => scheduler.now,
      readable: () => {
        if (this.kernel === kernel) this.daemon?.readable();
      },
      changed: (bytes) => watcher.version(bytes),
      count,
    });
    this.kernel = kernel;
    this.#sweep?.cancel();
    this.#expire();
    this.startDaemon();
  }

  /** The power fails. */
  crash(): void {
    this.killDaemon();
    this.on = false;
    this.hasAddress = false;
    this.#sweep?.cancel();
  }

  startDaemon(): void {
    if (!this.on || this.daemon) return;
    this.disturbedAt = this.around.scheduler.now;
    this.thaw();
    this.daemon = new Daemon(this, this.settings.daemon(), this.wall);
    this.around.watcher.started(this.daemon);
    this.daemon.start();
  }

  /** Without a word. */
  killDaemon(): void {
    const { daemon } = this;
    this.daemon = undefined;
    daemon?.die();
    this.#inbox = [];
    this.#reading?.cancel();
    this.#reading = undefined;
    this.disturbedAt = this.around.scheduler.now;
  }

  /** Its daemon does nothing for so long; the kernel goes on. */
  freeze(ms: number): void {
    this.frozenUntil = Math.max(this.frozenUntil, this.around.scheduler.now + ms);
    this.disturbedAt = this.frozenUntil;
  }

  /** Whatever waits goes on. */
  thaw(): void {
    this.frozenUntil = Math.min(this.frozenUntil, this.around.scheduler.now);
  }

  /** A turn of the daemon's thread, in so many ms or a little later. */
  turn(ms: number, fn: () => void): Timer {
    const { scheduler } = this.around;
    const { daemon } = this;
    const late = ms > 0 ? this.dice.part() * LATENESS_MS : 0;
    let timer: Timer;
    const run = (): void => {
      if (this.daemon !== daemon) return;
      if (this.frozen) {
        timer = scheduler.at(this.frozenUntil, run);
        return;
      }
      this.guarded(fn);
    };
    timer = scheduler.after(ms + late, run);
    return { cancel: () => timer.cancel() };
  }

  guarded(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.around.thrown(this, error);
    }
  }

  arrive(parcel: Parcel): void {
    if (!this.daemon) return;
    if (this.#inbox.length >= this.settings.socket) {
      this.around.count('socket buffer full');
      return;
    }
    this.#inbox.push(parcel);
    this.#reading ??= this.turn(0, () => {
      this.#reading = undefined;
      this.drain();
    });
  }

  /** Take in what has arrived. */
  drain(): void {
    const { daemon } = this;
    while (this.#inbox.length > 0 && daemon && this.daemon === daemon) {
      daemon.receive(this.#inbox.shift() as Parcel);
    }
  }

  #expire(): void {
    this.#sweep = this.around.scheduler.after(SWEEP_MS, () => {
      this.kernel.sweep();
      this.#expire();
    });
  }
}
