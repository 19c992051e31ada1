// SPDX-License-Identifier: MIT
/** The pair in its network, with traffic, that all of it happens to. */
import type { Lab } from '../lab/lab.js';
import { managerFor } from '../lab/managers/index.js';
import { BALANCERS, type BalancerName, build } from '../lab/topology.js';
import { monotonicMs } from '../support/clock.js';
import { Fabric, other } from './fabric.js';
import type { Moment, Trouble } from './judge.js';
import { Node } from './node.js';
import { Traffic } from './traffic.js';
import { until } from './until.js';
import { Watch } from './watch.js';

/** Both nodes say that all is well, within this. */
const SETTLED_S = 40;

export class Bed {
  readonly nodes: Readonly<Record<BalancerName, Node>>;
  readonly traffic: Traffic;
  readonly fabric: Fabric;
  readonly watch: Watch;
  readonly moments: Moment[] = [];
  readonly troubles: Trouble[] = [];
  /** Programs that have ended by themselves. */
  readonly ended: string[] = [];

  constructor(
    readonly lab: Lab,
    readonly say: (text: string) => void,
  ) {
    build(lab);
    const manager = managerFor(lab, 'keepalived', undefined);
    this.nodes = { 'lb-a': new Node(lab, 'lb-a', manager), 'lb-b': new Node(lab, 'lb-b', manager) };
    this.traffic = new Traffic(lab);
    this.fabric = new Fabric(lab);
    this.watch = new Watch(this.nodes, {
      moved: (node, here) => this.#moved(node, here),
      ended: (what) => {
        this.ended.push(what);
        this.say(`${what} HAS ENDED BY ITSELF`);
      },
    });
  }

  get all(): Node[] {
    return BALANCERS.map((name) => this.nodes[name]);
  }

  async start(): Promise<void> {
    this.fabric.startRelay();
    await this.traffic.start();
    await Promise.all(this.all.map((node) => node.startAll()));
    await this.settled('the pair');
    this.watch.start();
  }

  /** One node has the addresses and serves, the other one stands by, and each has what the other owns. */
  async settled(what: string): Promise<void> {
    await until(`${what} to come to rest`, SETTLED_S, async () => {
      const all = await Promise.all(this.all.map(({ balancer }) => balancer.status()));
      const roles = all.map((status) => status?.role);
      return (
        roles.includes('primary') &&
        roles.includes('backup') &&
        all.every((status) => status?.in_sync) &&
        this.all.every(({ balancer }) => balancer.serves())
      );
    });
  }

  /** A reason for which records may be late begins; it ends when what is returned is called. */
  trouble(what: string): () => void {
    const trouble: Trouble = { what, from: monotonicMs(), until: Number.POSITIVE_INFINITY };
    this.troubles.push(trouble);
    return () => {
      trouble.until = monotonicMs();
    };
  }

  /** Flows of one node are the other one's business from now on; or of both, for a while. */
  #moved(name: BalancerName, here: boolean): void {
    const at = monotonicMs();
    const node = here ? other(name) : name;
    this.moments.push({ kind: 'addresses moved', node, from: at, until: at });
    this.say(`${name} ${here ? 'has' : 'no longer has'} the addresses`);
    if (this.#both) this.#both.until = at;
    this.#both = undefined;
    if (this.watch.holders.length < 2) return;
    this.#both = { kind: 'addresses on both', from: at, until: Number.POSITIVE_INFINITY };
    this.moments.push(this.#both);
  }

  #both: Moment | undefined;
}
