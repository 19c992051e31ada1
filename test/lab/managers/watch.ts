import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import type { Balancer } from '../balancer.js';
import type { Lab } from '../lab.js';
import {
  type BalancerName,
  hasAddress,
  VIRTUAL_ADDRESSES,
  type VirtualAddress,
} from '../topology.js';
import type { Manager, NodeState } from './manager.js';

/**
 * No manager at all: the test moves the addresses by plain `ip address`, as some orchestrator would,
 * and no script runs. What the daemon knows, it has from rtnetlink.
 */
export class Watch implements Manager {
  readonly name = 'watch';
  readonly watches = ['clients', 'servers'] as const; // by being told
  readonly hears = [];
  readonly #nodes = new Map<BalancerName, Balancer>();

  constructor(
    private readonly lab: Lab,
    readonly prefers: BalancerName | undefined,
  ) {}

  handover(name: BalancerName): string {
    const lines = (of: (address: VirtualAddress) => string) =>
      VIRTUAL_ADDRESSES.map((address) => `ip ${of(address)}`).join('\n');
    const file = this.lab.write(
      join(name, 'move.sh'),
      `#!/bin/sh\nif [ "$1" = give ]; then\n${lines(removal)}\nelse\n${lines(addition)}\nfi\n`,
    );
    chmodSync(file, 0o755);
    return file;
  }

  start(node: Balancer): void {
    this.#nodes.set(node.name, node);
    const other = this.#other(node);
    if (other !== undefined && this.#has(other)) {
      if (this.prefers !== node.name) return;
      this.#take(other);
    }
    this.#give(node);
  }

  async stop(node: Balancer): Promise<void> {
    this.#nodes.delete(node.name);
    this.#moveFrom(node);
  }

  async crash(): Promise<void> {}

  async move(from: Balancer): Promise<void> {
    await from.splicectl('handover');
  }

  told(node: Balancer, state: NodeState): void {
    const other = this.#other(node);
    if (state === 'dead') {
      this.#nodes.delete(node.name);
      if (other) this.#give(other); // what stands on the dead one stays there
    } else if (state === 'cut') this.#moveFrom(node);
    else if (other !== undefined && this.prefers === node.name) this.#moveFrom(other);
  }

  #moveFrom(from: Balancer): void {
    const to = this.#other(from);
    if (!this.#has(from)) return;
    this.#take(from);
    if (to) this.#give(to);
  }

  #other(node: Balancer): Balancer | undefined {
    return [...this.#nodes.values()].find((other) => other !== node);
  }

  #has(node: Balancer): boolean {
    return hasAddress(this.lab, node.name, VIRTUAL_ADDRESSES[0].address);
  }

  #take({ name }: Balancer): void {
    this.lab.ip(name, VIRTUAL_ADDRESSES.map(removal));
  }

  #give({ name }: Balancer): void {
    this.lab.ip(name, VIRTUAL_ADDRESSES.map(addition));
  }
}

/** As deprecated, so that nothing chooses it as a source by itself; and at once, without a second of asking. */
function addition({ cidr, device, family }: VirtualAddress): string {
  return `address replace ${cidr} dev ${device}${family === '6' ? ' nodad preferred_lft 0' : ''}`;
}

function removal({ cidr, device }: VirtualAddress): string {
  return `address del ${cidr} dev ${device}`;
}
