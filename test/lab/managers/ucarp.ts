import { join } from 'node:path';
import type { Balancer } from '../balancer.js';
import type { Lab } from '../lab.js';
import { addressOf, BALANCERS, type BalancerName, VIRTUAL_ADDRESSES } from '../topology.js';
import { type Manager, Processes, scriptFor } from './manager.js';

/**
 * CARP between the nodes on the clients' net. Its advertisements name one IPv4 address; all of them
 * are set and taken away by the up and down scripts. Below one second between advertisements it
 * flaps, so a death is noticed after three.
 */
export class Ucarp implements Manager {
  readonly name = 'ucarp';
  readonly watches = ['clients'] as const;
  readonly hears = ['clients'] as const;
  readonly #processes: Processes;

  constructor(
    private readonly lab: Lab,
    readonly prefers: BalancerName | undefined,
  ) {
    this.#processes = new Processes(lab);
  }

  start(node: Balancer): void {
    const { name } = node;
    const lines = VIRTUAL_ADDRESSES.map(({ cidr, device }) => `${cidr} dev ${device}\n`);
    const addresses = this.lab.write(join(name, 'addresses'), lines.join(''));
    const first = VIRTUAL_ADDRESSES[0];
    // Without --neutral: one that begins takes away what a killed one has left.
    const argv = ['ucarp', '--shutdown', '--interface', first.device];
    argv.push('--srcip', addressOf(name, 'clients'), '--vhid', '51', '--pass', 'lab');
    argv.push('--addr', first.address, '--advbase', '1', '--deadratio', '3');
    argv.push('--advskew', name === (this.prefers ?? BALANCERS[0]) ? '0' : '50');
    if (this.prefers !== undefined) argv.push('--preempt');
    argv.push('--upscript', scriptFor(node, 'ucarp-up.sh'));
    argv.push('--downscript', scriptFor(node, 'ucarp-down.sh'));
    argv.push('--xparam', addresses);
    this.#processes.start(name, 'ucarp', argv);
  }

  stop({ name }: Balancer): Promise<void> {
    return this.#processes.end(name, 'SIGTERM');
  }

  crash({ name }: Balancer): Promise<void> {
    return this.#processes.end(name, 'SIGKILL');
  }

  async move(from: Balancer): Promise<void> {
    this.#processes.signal(from.name, 'SIGUSR2');
  }

  told(): void {}
}
