/**
 * The connections as their ends know them: clients and servers, who send to whatever machine has the
 * address, and who use an address pair again when its last connection is over for them.
 */
import type { Dice } from './dice.js';
import { type Entry, finished, type Kernel, unfinished } from './kernel.js';

export interface Flow {
  readonly key: number;
  readonly client: number;
  readonly port: number;
  /** Counts up: the later flow of an address pair is the one that its packets belong to. */
  readonly born: number;
  readonly bornAt: number;
  /** When it was over. */
  overAt: number;
  alive: boolean;
}

const FIRST_PORT = 1024;
/** No end uses an address pair again sooner: TIME_WAIT, which is longer outside of a simulation. */
const WAIT_MS = 500;

export class Flows {
  readonly byKey = new Map<number, Flow>();
  readonly #dice: Dice;
  readonly #now: () => number;
  readonly #count: (what: string) => void;
  /** The latest flow of each client port, and of each port towards the server. */
  readonly #clients = new Map<number, Flow>();
  readonly #ports = new Map<number, Flow>();
  readonly #range: number;
  #births = 0;
  living = 0;

  /** @param range ports on either side: few of them are used again soon */
  constructor(dice: Dice, range: number, now: () => number, count: (what: string) => void) {
    this.#now = now;
    this.#dice = dice;
    this.#range = range;
    this.#count = count;
  }

  get range(): number {
    return this.#range;
  }

  /** A connection is made through this machine. Undefined: no free port, or the table is full. */
  open(kernel: Kernel): Entry | undefined {
    const now = this.#now();
    const client = this.#free(this.#clients);
    const port = this.#free(this.#ports);
    if (client === undefined || port === undefined) return undefined;
    // what the machine still has on these addresses is asked, and torn down by the ends' resets
    for (const tuple of [client, 0x10000 + port]) {
      const old = kernel.holder(tuple);
      if (!old) continue;
      if (unfinished(old)) return undefined;
      if (!finished(old)) this.#count('address pair still in the table');
      kernel.reset(old);
    }
    if (this.#clients.has(client)) this.#count('address pair used again');
    const entry = kernel.open(client, port);
    if (!entry) return undefined;
    const flow: Flow = {
      key: entry.key,
      client,
      port,
      born: ++this.#births,
      bornAt: now,
      overAt: 0,
      alive: true,
    };
    this.byKey.set(flow.key, flow);
    this.#clients.set(client, flow);
    this.#ports.set(port, flow);
    this.living++;
    return entry;
  }

  /** Its ends are done with it, or have lost patience. */
  over(key: number): void {
    const flow = this.byKey.get(key);
    if (!flow?.alive) return;
    flow.alive = false;
    flow.overAt = this.#now();
    this.living--;
  }

  /** Its addresses are free at once: a burst has more connections than there are ports. */
  release(key: number): void {
    const flow = this.byKey.get(key);
    if (flow) flow.overAt = Number.NEGATIVE_INFINITY;
  }

  /** Some flow that is alive. */
  any(): Flow | undefined {
    for (let tries = 0; tries < 8; tries++) {
      const flow = this.#clients.get(FIRST_PORT + this.#dice.below(this.#range));
      if (flow?.alive) return flow;
    }
    return undefined;
  }

  #free(latest: Map<number, Flow>): number | undefined {
    for (let tries = 0; tries < 8; tries++) {
      const port = FIRST_PORT + this.#dice.below(this.#range);
      const last = latest.get(port);
      if (!last || (!last.alive && this.#now() - last.overAt > WAIT_MS)) return port;
    }
    return undefined;
  }
}
