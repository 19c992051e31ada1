/** What the flows' ends do: their packets reach whichever machines have the address. */
import type { Dice } from './dice.js';
import { Flows } from './flows.js';
import { type Entry, finished, unfinished } from './kernel.js';
import type { Machine } from './machine.js';
import type { Scheduler } from './scheduler.js';

/** So long user space holds a connection until it is spliced, at most. */
const OPEN_MS = 40;
/** From an end to the other, and back. */
const ROUND_MS = 15;
const BURST = 200;

export class Traffic {
  readonly flows: Flows;
  readonly #scheduler: Scheduler;
  readonly #dice: Dice;
  readonly #count: (what: string) => void;

  constructor(scheduler: Scheduler, dice: Dice, ports: number, count: (what: string) => void) {
    this.#scheduler = scheduler;
    this.#dice = dice;
    this.#count = count;
    this.flows = new Flows(dice, ports, () => scheduler.now, count);
  }

  /** Something happens on a machine that has the address. */
  beat(machine: Machine): void {
    const dice = this.#dice;
    const crowded = this.flows.living > this.flows.range / 2;
    const kind = dice.part();
    if (kind < (crowded ? 0.2 : 0.5)) this.open(machine);
    else if (kind < 0.75) this.#passing(machine);
    else if (kind < 0.97) this.#ending(machine);
    else this.#abandon();
    this.#keepAlive(machine);
  }

  open(machine: Machine): void {
    const entry = this.flows.open(machine.kernel);
    if (!entry) return;
    this.#count('splices born');
    const { kernel } = machine;
    this.#scheduler.after(this.#dice.part() * OPEN_MS, () => {
      if (machine.on && machine.kernel === kernel && kernel.entries.get(entry.key) === entry) {
        kernel.spliced(entry);
      }
    });
  }

  /** All flows end, as far as anybody is there to see it. */
  end(machine: Machine, keep: number): void {
    for (const entry of [...machine.kernel.entries.values()]) {
      if (machine.kernel.entries.size <= keep) return;
      this.flows.over(entry.key);
      if (unfinished(entry)) machine.kernel.spliced(entry);
      entry.proven = true;
      machine.kernel.remove(entry, true);
    }
  }

  /** A packet of a flow that goes on: perhaps a FIN. */
  #passing(machine: Machine): void {
    const entry = this.#entry(machine);
    if (!entry) return;
    const step = (): void => {
      machine.kernel.closing(entry);
      if (finished(entry)) this.flows.over(entry.key);
    };
    step();
    // as a rule the other FIN, and what acknowledges it, follow at once
    if (finished(entry) || this.#dice.chance(0.5)) return;
    const { kernel } = machine;
    for (let i = 0; i < 2; i++) {
      this.#scheduler.after(this.#dice.part() * ROUND_MS, () => {
        if (machine.on && machine.kernel === kernel && kernel.entries.get(entry.key) === entry)
          step();
      });
    }
  }

  /** Many short connections in a moment: they are over before the moment is. */
  burst(machine: Machine): void {
    for (let i = 0; i < BURST; i++) {
      const entry = this.flows.open(machine.kernel);
      if (!entry) continue;
      this.#count('splices born');
      machine.kernel.spliced(entry);
      if (this.#dice.chance(0.1)) continue;
      this.flows.over(entry.key);
      machine.kernel.remove(entry, true);
      this.flows.release(entry.key);
    }
  }

  #ending(machine: Machine): void {
    const entry = this.#entry(machine);
    if (!entry || unfinished(entry)) return;
    this.flows.over(entry.key);
    entry.proven = true;
    if (this.#dice.chance(0.5)) machine.kernel.reset(entry);
    else machine.kernel.remove(entry, true);
  }

  /** A client goes without a word. */
  #abandon(): void {
    const flow = this.flows.any();
    if (flow) this.flows.over(flow.key);
  }

  #entry(machine: Machine): Entry | undefined {
    const flow = this.flows.any();
    return flow && machine.kernel.entries.get(flow.key);
  }

  /** Packets come of those that live. */
  #keepAlive(machine: Machine): void {
    for (let i = 0; i < 4; i++) {
      const entry = this.#entry(machine);
      if (!entry) continue;
      entry.lastSeen = this.#scheduler.now;
      entry.proven = true;
    }
  }
}
