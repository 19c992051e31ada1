import { Balancer } from './balancer.js';
import type { Lab } from './lab.js';
import { type Manager, type ManagerName, managerFor } from './managers/index.js';
import { BALANCERS, type BalancerName, build, hasAddress, VIRTUAL_ADDRESSES } from './topology.js';
import { Traffic, type TrafficOptions } from './traffic.js';
import type { Failure } from './transfer.js';
import { Content, startWebServers, webServersReady } from './web.js';

export interface PairOptions extends TrafficOptions {
  bytes: number;
  /** keepalived with its notify scripts, if nothing else is said. */
  manager?: ManagerName;
  prefers?: BalancerName;
}

/** A pair of load balancers in their network, with transfers that are ready to begin. */
export class Pair {
  readonly a: Balancer;
  readonly b: Balancer;
  readonly manager: Manager;
  readonly traffic: Traffic;
  readonly #content: Content;

  constructor(
    readonly lab: Lab,
    readonly options: PairOptions,
  ) {
    build(lab);
    const [a, b] = BALANCERS.map((name) => new Balancer(lab, name));
    this.a = a;
    this.b = b;
    this.manager = managerFor(lab, options.manager ?? 'keepalived', options.prefers);
    this.#content = new Content(lab, options.bytes);
    this.traffic = new Traffic(lab, this.#content, options);
  }

  /** Starts everything, and resolves when lb-a is the active one, lb-b stands by and all listen. */
  async start(): Promise<void> {
    const { lab, a, b } = this;
    startWebServers(lab, this.#content, this.options.bytesPerSecond);
    for (const balancer of [a, b]) balancer.startDaemon();
    await this.traffic.prepare();
    for (const balancer of [a, b]) await balancer.ready();
    for (const balancer of [a, b]) balancer.startProxy();
    // lb-a first: with equal rights, the one that is there first is the active one.
    this.manager.start(a);
    await this.movedTo('lb-a');
    this.manager.start(b);
    for (const balancer of [a, b]) {
      await lab.until(`switchd on ${balancer.name}`, 10, () => balancer.serves());
    }
    await webServersReady(lab);
  }

  /** Waits until the node has all of the virtual addresses. */
  async movedTo(node: BalancerName): Promise<void> {
    await this.lab.until(`the addresses on ${node}`, 10, () =>
      VIRTUAL_ADDRESSES.every(({ address }) => hasAddress(this.lab, node, address)),
    );
  }

  /** What of the transfers did not come through, for a test to compare with nothing. */
  broken(): { port: number; service: string; outcome: Failure }[] {
    return this.traffic.transfers.flatMap(({ port, service, outcome }) =>
      outcome && !outcome.ok ? [{ port, service: service.name, outcome }] : [],
    );
  }
}
