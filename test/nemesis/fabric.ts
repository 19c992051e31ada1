// SPDX-License-Identifier: MIT
/** The network between the boxes gets worse: by rules of nftables at the fabric's end of a cable. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Lab } from '../lab/lab.js';
import { BALANCERS, type BalancerName, FABRIC, type Net, setCables } from '../lab/topology.js';
import type { Way } from './schedule.js';

const RELAY = fileURLToPath(new URL('relay.ts', import.meta.url));

/** The pair of devices by which the relay gets what a node says. */
function hold(node: BalancerName): [string, string] {
  return [`${node}.hold`, `${node}.held`];
}

export class Fabric {
  #tables = 0;

  constructor(readonly lab: Lab) {}

  /** Starts the relay that keeps datagrams of the sync link back. It has nothing to do until delay(). */
  startRelay(): ChildProcess {
    const pairs = BALANCERS.map(hold);
    this.lab.ip(
      FABRIC,
      pairs.flatMap(([into, outOf]) => [
        `link add ${into} type veth peer name ${outOf}`,
        `link set ${into} up`,
        `link set ${outOf} up`,
      ]),
    );
    const [a, b] = BALANCERS;
    const routes = [`${hold(a)[1]}=${b}.sync`, `${hold(b)[1]}=${a}.sync`];
    const argv = [process.execPath, '--import', 'tsx', RELAY, ...routes];
    return this.lab.start(FABRIC, 'relay', argv).child;
  }

  /** The cable is pulled: both its ends lose their carrier. Returns how to plug it in. */
  cut(node: string, net: Net): () => void {
    setCables(this.lab, node, 'down', net);
    return () => setCables(this.lab, node, 'up', net);
  }

  /** Nothing passes any more, and nobody is told. Ways as the node sees them. */
  block(node: string, net: Net, way: Way): () => void {
    return this.#rules(`${node}.${net}`, {
      [way === 'in' ? 'in' : 'out']: 'drop',
      ...(way === 'both' && { in: 'drop' }),
    });
  }

  /** A share of what the node says and hears is lost. */
  lose(node: string, net: Net, percent: number): () => void {
    const rule = `${chance(percent)} drop`;
    return this.#rules(`${node}.${net}`, { in: rule, out: rule });
  }

  /** A share of the datagrams that the node says on the sync link comes twice. */
  double(node: BalancerName, percent: number): () => void {
    return this.#rules(`${node}.sync`, {
      out: `ip protocol udp ${chance(percent)} dup to "${other(node)}.sync"`,
    });
  }

  /** A share of them comes late, behind others that were said after it. */
  delay(node: BalancerName, percent: number): () => void {
    return this.#rules(`${node}.sync`, {
      out: `ip protocol udp ${chance(percent)} fwd to "${hold(node)[0]}"`,
    });
  }

  /** What comes from the node enters the fabric's end of its cable; what goes to it leaves there. */
  #rules(device: string, rules: { in?: string; out?: string }): () => void {
    const table = `nemesis-${++this.#tables}`;
    const chains = Object.entries(rules).map(
      ([way, rule]) =>
        `chain ${way} { type filter hook ${way === 'in' ? 'egress' : 'ingress'} device "${device}" priority 0; ${rule}; }`,
    );
    this.#nft(`table netdev ${table} {\n${chains.join('\n')}\n}`);
    return () => this.#nft(`delete table netdev ${table}`);
  }

  #nft(text: string): void {
    this.lab.exec(FABRIC, 'nft', text);
  }
}

export function other(node: BalancerName): BalancerName {
  return node === BALANCERS[0] ? BALANCERS[1] : BALANCERS[0];
}

function chance(percent: number): string {
  return `numgen random mod 100 < ${percent}`;
}
