/** Which machines have the virtual address: one as a rule, at times none, at times two. */
import type { Dice } from './dice.js';
import type { Machine } from './machine.js';
import type { Scheduler } from './scheduler.js';

export class Vrrp {
  /** Addresses that have come or gone so far. */
  moves = 0;
  readonly #machines: readonly Machine[];
  readonly #scheduler: Scheduler;
  readonly #dice: Dice;
  readonly #trace: (line: () => string) => void;

  constructor(
    machines: readonly Machine[],
    scheduler: Scheduler,
    dice: Dice,
    trace: (line: () => string) => void,
  ) {
    this.#machines = machines;
    this.#scheduler = scheduler;
    this.#dice = dice;
    this.#trace = trace;
  }

  get masters(): Machine[] {
    return this.#machines.filter((machine) => machine.on && machine.hasAddress);
  }

  give(machine: Machine): void {
    if (!machine.on || machine.hasAddress) return;
    machine.hasAddress = true;
    machine.movedAt = this.#scheduler.now;
    this.moves++;
    this.#trace(() => `${machine.name} has the address`);
    this.#tell(machine);
  }

  take(machine: Machine): void {
    if (!machine.hasAddress) return;
    machine.hasAddress = false;
    machine.movedAt = this.#scheduler.now;
    this.moves++;
    this.#trace(() => `${machine.name} has the address no more`);
    this.#tell(machine);
  }

  /** As a planned switchover: gone there, and then here. */
  move(to: Machine): void {
    if (!to.on || to.hasAddress) return;
    for (const master of this.masters) this.take(master);
    this.#scheduler.after(this.#dice.between(1, 30), () => this.give(to));
  }

  /** A backup has not heard the master for a while, which goes on; that ends. */
  second(machine: Machine): void {
    this.give(machine);
    this.#scheduler.after(this.#dice.pick([50, 500, 3000]), () => this.settle());
  }

  /** The master is gone: whoever is there takes over when it has missed it. */
  lost(machine: Machine): void {
    machine.hasAddress = false;
    if (this.masters.length > 0) return;
    this.#scheduler.after(this.#dice.between(100, 3000), () => this.elect());
  }

  /** Somebody has it. */
  elect(): void {
    if (this.masters.length > 0) return;
    const there = this.#machines.filter((machine) => machine.on);
    const inSync = there.filter((machine) => machine.daemon?.engine.inSync);
    const candidates = inSync.length > 0 ? inSync : there;
    if (candidates.length > 0) this.give(this.#dice.pick(candidates));
    else this.#scheduler.after(500, () => this.elect());
  }

  /** One has it. */
  settle(): void {
    const masters = this.masters;
    if (masters.length === 0) {
      this.elect();
      return;
    }
    const stays = this.#dice.pick(masters);
    for (const master of masters) if (master !== stays) this.take(master);
  }

  #tell(machine: Machine): void {
    const { hasAddress: here, daemon } = machine;
    if (!daemon) return;
    machine.turn(this.#dice.part() * 5, () => {
      if (machine.hasAddress === here) daemon.addressChanged(here);
    });
  }
}
