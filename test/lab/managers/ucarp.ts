import { readFileSync, writeFileSync } from 'node:fs';
import type { Balancer } from '../balancer.js';
import type { Lab } from '../lab.js';
import { addressOf, BALANCERS, type BalancerName, VIRTUAL_ADDRESSES } from '../topology.js';
import { type Manager, Processes, script, scriptFor } from './manager.js';

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

  handover(name: BalancerName): string {
    const lines = VIRTUAL_ADDRESSES.map(({ cidr, device }) => `${cidr} dev ${device}\n`);
    writeFileSync(this.#addresses(name), lines.join(''));
    return [script('ucarp-handover.sh'), this.#pidFile(name), this.#addresses(name)].join(' ');
  }

  start(node: Balancer): void {
    const { name } = node;
    const first = VIRTUAL_ADDRESSES[0];
    // Without --neutral: one that begins takes away what a killed one has left.
    const argv = ['ucarp', '--shutdown', '--interface', first.device];
    argv.push('--srcip', addressOf(name, 'clients'), '--vhid', '51', '--pass', 'lab');
    argv.push('--addr', first.address, '--advbase', '1', '--deadratio', '3');
    argv.push('--advskew', name === (this.prefers ?? BALANCERS[0]) ? '0' : '50');
    if (this.prefers !== undefined) argv.push('--preempt');
    argv.push('--upscript', scriptFor(node, 'ucarp-up.sh'));
    argv.push('--downscript', scriptFor(node, 'ucarp-down.sh'));
    argv.push('--xparam', this.#addresses(name));
    // As a service manager would: ucarp itself writes no pid file.
    const noted = ['/bin/sh', '-c', 'echo $$ >"$0"; exec "$@"', this.#pidFile(name)];
    this.#processes.start(name, 'ucarp', [...noted, ...argv]);
  }

  stop({ name }: Balancer): Promise<void> {
    return this.#processes.end(name, 'SIGTERM');
  }

  crash({ name }: Balancer): Promise<void> {
    return this.#processes.end(name, 'SIGKILL');
  }

  async move(from: Balancer): Promise<void> {
    // One that has got the addresses by a handover learns of it three advertisements later.
    await this.lab.until(
      `ucarp on ${from.name} to be master`,
      10,
      () => this.#state(from) === 'MASTER',
    );
    await from.splicectl('handover');
  }

  #state({ name }: Balancer): string | undefined {
    const log = readFileSync(this.lab.path('log', `${name}-ucarp.log`), 'utf8');
    return [...log.matchAll(/Switching to state: (\w+)/g)].pop()?.[1];
  }

  told(): void {}

  #addresses(name: BalancerName): string {
    return this.lab.path(name, 'addresses');
  }

  #pidFile(name: BalancerName): string {
    return this.lab.path(name, 'ucarp.pid');
  }
}
