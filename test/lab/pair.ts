import type { Balancer } from './balancer.js';
import type { Lab } from './lab.js';
import type { Manager } from './managers/index.js';
import { Nodes, type NodesOptions } from './nodes.js';
import type { BalancerName } from './topology.js';
import { Traffic, type TrafficOptions } from './traffic.js';
import type { Failure } from './transfer.js';
import { Content, startWebServers, webServersReady } from './web.js';

export interface PairOptions extends TrafficOptions, NodesOptions {
  bytes: number;
}

/** A pair of load balancers in their network, with transfers that are ready to begin. */
export class Pair {
  readonly traffic: Traffic;
  readonly #nodes: Nodes;
  readonly #content: Content;

  constructor(
    readonly lab: Lab,
    readonly options: PairOptions,
  ) {
    this.#nodes = new Nodes(lab, options);
    this.#content = new Content(lab, options.bytes);
    this.traffic = new Traffic(lab, this.#content, options);
  }

  get a(): Balancer {
    return this.#nodes.a;
  }

  get b(): Balancer {
    return this.#nodes.b;
  }

  get manager(): Manager {
    return this.#nodes.manager;
  }

  /** Starts everything, and resolves when lb-a is the active one, lb-b stands by and all listen. */
  async start(): Promise<void> {
    startWebServers(this.lab, this.#content, this.options.bytesPerSecond);
    await this.#nodes.start(() => this.traffic.prepare());
    await webServersReady(this.lab);
  }

  /** Waits until the node has all of the virtual addresses. */
  movedTo(node: BalancerName): Promise<void> {
    return this.#nodes.movedTo(node);
  }

  /** What of the transfers did not come through, for a test to compare with nothing. */
  broken(): { port: number; service: string; outcome: Failure }[] {
    return this.traffic.transfers.flatMap(({ port, service, outcome }) =>
      outcome && !outcome.ok ? [{ port, service: service.name, outcome }] : [],
    );
  }
}
