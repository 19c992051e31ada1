import { rmSync } from 'node:fs';
import { Balancer } from './balancer.js';
import type { Lab } from './lab.js';
import { type Manager, type ManagerName, managerFor } from './managers/index.js';
import {
  BALANCERS,
  type BalancerName,
  build,
  forgetAddresses,
  hasAddress,
  plugCables,
  pullCables,
  VIRTUAL_ADDRESSES,
} from './topology.js';

export interface NodesOptions {
  /** keepalived with its notify scripts, if nothing else is said. */
  manager?: ManagerName;
  prefers?: BalancerName | undefined;
}

/** A pair of load balancers in their network, and what moves the addresses between them. */
export class Nodes {
  readonly a: Balancer;
  readonly b: Balancer;
  readonly manager: Manager;

  constructor(
    readonly lab: Lab,
    { manager = 'keepalived', prefers }: NodesOptions,
  ) {
    build(lab);
    this.manager = managerFor(lab, manager, prefers);
    const [a, b] = BALANCERS.map((name) => {
      return new Balancer(lab, name, { handover: this.manager.handover(name) });
    });
    this.a = a;
    this.b = b;
  }

  /**
   * Starts them, and resolves when lb-a is the active one, lb-b stands by and all listen.
   * @param meanwhile what is done while the daemons come up
   */
  async start(meanwhile: () => Promise<void>): Promise<void> {
    const { lab, a, b, manager } = this;
    for (const balancer of [a, b]) balancer.startDaemon();
    await meanwhile();
    for (const balancer of [a, b]) await balancer.ready();
    for (const balancer of [a, b]) balancer.startProxy();
    // lb-a first: with equal rights, the one that is there first is the active one.
    manager.start(a);
    await this.movedTo('lb-a');
    manager.start(b);
    for (const balancer of [a, b]) {
      await lab.until(`switchd on ${balancer.name}`, 10, () => balancer.serves());
    }
  }

  /** Waits until the node has all of the virtual addresses. */
  async movedTo(node: BalancerName): Promise<void> {
    await this.lab.until(`the addresses on ${node}`, 10, () => this.holds(node));
  }

  /** Whether the node has all of the virtual addresses. */
  holds(node: BalancerName): boolean {
    return VIRTUAL_ADDRESSES.every(({ address }) => hasAddress(this.lab, node, address));
  }

  /** Power failure: the cables go, and every process of the node gets SIGKILL in one stroke. */
  crash(node: BalancerName): void {
    pullCables(this.lab, node);
    this.lab.killNode(node);
  }

  /** As after a power failure and a boot: nothing runs there yet, and /run is empty. */
  boot({ name, trackFile }: Balancer): void {
    forgetAddresses(this.lab, name);
    rmSync(trackFile, { force: true });
    plugCables(this.lab, name);
  }
}
