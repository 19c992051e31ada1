import { percentiles } from './account.js';
import { Faults } from './faults.js';
import type { Lab } from './lab.js';
import { Load, type LoadOptions } from './load.js';
import { EVENTS, type Event, type EventName } from './managers/events.js';
import { Nodes, type NodesOptions } from './nodes.js';
import { BALANCERS, type BalancerName, VIRTUAL_ADDRESSES } from './topology.js';
import { Witness } from './witness.js';

export interface Stalls {
  p50: number;
  max: number;
}

/** One event, from lb-a in service to lb-a in service. */
export interface Passage {
  event: EventName;
  /** From the event to the addresses on lb-b; undefined: they did not move. */
  outage_ms: number | undefined;
  stall_ms: Stalls;
  /** Nodes that answered for the addresses when things had settled, before it was healed. */
  answering: BalancerName[];
  back_stall_ms: Stalls;
  /** Virtual addresses of which lb-b was not sure, by duplicate address detection, when it had got them. */
  tentative: string[];
  /** Flows that live after it, and that there were. */
  alive: number;
  flows: number;
  lost: Record<string, number>;
  /** RSTs that any end has sent or got, so far. */
  resets: Record<string, number>;
}

const LOOK_MS = 250;
/** How long what nobody notices goes on before it is healed. */
const UNNOTICED_MS = 1000;

/** The same flows through one event after the other, with one manager. */
export class Journey {
  readonly nodes: Nodes;
  readonly faults: Faults;
  readonly load: Load;
  flows = 0;
  readonly #witness: Witness;

  constructor(
    readonly lab: Lab,
    options: NodesOptions & LoadOptions,
  ) {
    this.nodes = new Nodes(lab, options);
    this.faults = new Faults(lab);
    this.load = new Load(lab, options);
    this.#witness = new Witness(lab);
  }

  /** Starts everything, opens the flows; lb-a is in service, and lb-b has copies of all. */
  async start(): Promise<void> {
    await this.nodes.start(() => this.load.prepare());
    this.flows = await this.load.open();
    await this.settled('lb-a');
  }

  async pass(event: EventName): Promise<Passage> {
    const what: Event = EVENTS[event];
    const { nodes, load } = this;
    await load.mark();
    const began = performance.now();
    await what.strike(this);
    const moves = what.moves(nodes.manager);
    if (moves) await nodes.movedTo('lb-b');
    const tentative = moves ? this.#tentative() : [];
    const outage_ms = moves ? Math.round(performance.now() - began) : undefined;
    if (moves || !what.cuts) await this.#moving();
    else await pause(UNNOTICED_MS);
    const answering = await this.#answering();
    const stall_ms = await this.#stalls();
    // The proxy of lb-b has been listening all the time. Of two nodes that both answer and do not know of
    // each other, the wrong one may get a packet of a flow that only the other one has.
    if (moves && !what.apart) this.flows += await load.more(event);

    await load.mark();
    await what.heal(this);
    await this.#comeBack(what.splits?.(nodes.manager) ?? false);
    await this.settled('lb-a');
    await this.#moving();
    const back_stall_ms = await this.#stalls();
    const { alive, lost } = await load.report();
    const resets = this.#witness.resets();
    const { flows } = this;
    return {
      event,
      outage_ms,
      stall_ms,
      answering,
      tentative,
      back_stall_ms,
      alive,
      flows,
      lost,
      resets,
    };
  }

  /** The addresses back to lb-a: by itself where the manager prefers it, else by plan. */
  async #comeBack(split: boolean): Promise<void> {
    const { nodes } = this;
    if (split) await this.#one();
    if (!nodes.holds('lb-b')) return;
    await this.lab.until('lb-a to be in sync', 20, async () => {
      return (await nodes.a.status())?.in_sync === true;
    });
    if (nodes.manager.prefers === undefined) await nodes.manager.move(nodes.b);
    await nodes.movedTo('lb-a');
  }

  /** One node has the addresses, where both had. */
  async #one(): Promise<void> {
    const { nodes } = this;
    await this.lab.until('one node with the addresses', 20, () => {
      return nodes.holds('lb-a') !== nodes.holds('lb-b');
    });
  }

  /** The node is in service, and the other one stands by with copies of all. */
  async settled(owner: BalancerName): Promise<void> {
    const { nodes, lab } = this;
    const [active, other] = owner === 'lb-a' ? [nodes.a, nodes.b] : [nodes.b, nodes.a];
    await lab.until(`${owner} in service and ${other.name} in sync`, 30, async () => {
      const [mine, its] = [await active.status(), await other.status()];
      return (
        mine?.role === 'primary' &&
        its?.role === 'backup' &&
        its.in_sync &&
        mine.internal.entries === its.external.entries &&
        mine.internal.entries >= (await this.load.report()).alive
      );
    });
  }

  /** No flow stands still any more: while one does, its stall grows as the clock goes. */
  async #moving(): Promise<void> {
    let before = 0;
    let at = Number.NEGATIVE_INFINITY;
    await this.lab.until('all flows to go on', 30, async () => {
      if (performance.now() - at < LOOK_MS) return false;
      const now = (await this.load.report()).stalls.reduce((sum, ms) => sum + ms, 0);
      const still = now - before < LOOK_MS / 2;
      [before, at] = [now, performance.now()];
      return still;
    });
  }

  #tentative(): string[] {
    const shown = this.lab.exec('lb-b', 'ip', '-6', '-o', 'address', 'show', 'tentative');
    return VIRTUAL_ADDRESSES.map(({ cidr }) => cidr).filter((cidr) => shown.includes(` ${cidr} `));
  }

  async #stalls(): Promise<Stalls> {
    const { p50, max } = percentiles((await this.load.report()).stalls);
    return { p50, max };
  }

  /** Lets the ends ask who has the addresses, and says who answered. */
  async #answering(): Promise<BalancerName[]> {
    this.#witness.claims();
    this.#witness.forgetNeighbours();
    await pause(LOOK_MS);
    const claims = this.#witness.claims();
    return BALANCERS.filter((node) => claims[node] > 0);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
