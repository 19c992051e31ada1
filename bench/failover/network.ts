// SPDX-License-Identifier: MIT
/** The network of one pair: clients, servers, two nodes, and the cables that can be pulled. */
import { command, type Lab } from '../../test/lab/lab.js';
import { ADDRESS, LINK, SIDES, type Side } from '../sync/network.js';

/*
 *   clients eth0 ─┬─ eth0 a eth1 ─┬─ eth0 servers      10.1.0.0/16 left, 10.2.0.0/16 right
 *                 └─ eth0 b eth1 ─┘                    a: .0.2, b: .0.3, virtual: .0.100
 *                      a eth2 ─── eth2 b               10.9.0.0/24
 *
 * A line is a bridge in the namespace "fabric". Clients and servers have several addresses each, so
 * that there are ports for 100,000 connections.
 */
export const CLIENTS = addresses('10.1.1', 8);
const SERVERS = addresses('10.2.1', 8);
export const SERVER_ENDPOINTS = SERVERS.map((address) => `${address}:80`);
/** Nothing but the probe sends from it. */
export const PROBE = '10.1.1.100';
export const VIRTUAL = { clients: '10.1.0.100', servers: '10.2.0.100' } as const;
/** As managers set them. */
export const VIRTUAL_ADDRESSES = [
  { address: VIRTUAL.clients, device: 'eth0' },
  { address: VIRTUAL.servers, device: 'eth1' },
];
const ENDS = ['clients', 'servers'] as const;
const BRIDGES = ['clients', 'servers', 'sync'] as const;
const HOST: Record<Side, number> = { a: 2, b: 3 };

function addresses(net: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${net}.${i + 1}`);
}

export function other(side: Side): Side {
  return side === 'a' ? 'b' : 'a';
}

export class Network {
  constructor(
    readonly lab: Lab,
    readonly name: string,
  ) {
    const names = [...ENDS, 'fabric'].map((node) => `netns add ${this.#namespace(node)}`);
    command('ip', ['-batch', '-'], `${names.join('\n')}\n`);
    lab.ip(
      this.node('fabric'),
      BRIDGES.flatMap((bridge) => [
        `link add ${bridge} type bridge mcast_snooping 0 forward_delay 0`,
        `link set ${bridge} up`,
      ]),
    );
    this.#host('clients', [...CLIENTS, PROBE]);
    this.#host('servers', SERVERS);
    for (const side of SIDES) this.#plugIn(side);
    for (const end of ENDS) this.#countResets(end);
  }

  /** The lab's name of a namespace. */
  node(name: string): string {
    return `${this.name}-${name}`;
  }

  #namespace(name: string): string {
    return this.lab.namespace(this.node(name));
  }

  #cable(node: string, device: string, bridge: string, mac: string): void {
    const far = `${node}.${bridge}`;
    const fabric = this.#namespace('fabric');
    const near = `name ${device} address ${mac} netns ${this.#namespace(node)}`;
    const line = `link add ${near} type veth peer name ${far} netns ${fabric}\n`;
    command('ip', ['-batch', '-'], line);
    this.lab.ip(this.node('fabric'), [`link set ${far} master ${bridge}`, `link set ${far} up`]);
  }

  #host(end: (typeof ENDS)[number], mine: readonly string[]): void {
    const number = ENDS.indexOf(end);
    this.#cable(end, 'eth0', end, `02:00:00:00:0${number}:01`);
    this.lab.ip(this.node(end), [
      'link set lo up',
      ...mine.map((address) => `address add ${address}/16 dev eth0`),
      'link set eth0 up',
      // For a pair that routes; one that stands for the servers itself has no use for it.
      `route add 10.${2 - number}.0.0/16 via ${VIRTUAL[end]}`,
    ]);
    this.sysctl(this.node(end), {
      'net.ipv4.ip_local_port_range': '1024 65535',
      'net.core.somaxconn': '65535',
      'net.ipv4.tcp_max_syn_backlog': '65535',
    });
  }

  sysctl(node: string, values: Record<string, string>): void {
    const words = Object.entries(values).map(([name, value]) => `${name}=${value}`);
    this.lab.exec(node, 'sysctl', '-qw', ...words);
  }

  #plugIn(side: Side): void {
    command('ip', ['netns', 'add', this.#namespace(side)]);
    for (const [i, bridge] of BRIDGES.entries()) {
      this.#cable(side, `eth${i}`, bridge, `02:00:00:00:1${i}:0${HOST[side]}`);
    }
    this.lab.ip(this.node(side), [
      'link set lo up',
      `address add 10.1.0.${HOST[side]}/16 dev eth0`,
      `address add 10.2.0.${HOST[side]}/16 dev eth1`,
      `address add ${ADDRESS[side]}/24 dev ${LINK}`,
      ...BRIDGES.map((_, i) => `link set eth${i} up`),
    ]);
    this.sysctl(this.node(side), {
      'net.ipv4.ip_forward': '1',
      'net.ipv4.conf.all.send_redirects': '0',
      'net.ipv4.conf.eth0.send_redirects': '0',
      'net.ipv4.conf.eth1.send_redirects': '0',
      'net.core.somaxconn': '65535',
      'net.ipv4.tcp_max_syn_backlog': '65535',
    });
  }

  /** All cables of a node go within a millisecond or so. */
  pullCables(side: Side): void {
    this.lab.ip(
      this.node('fabric'),
      BRIDGES.map((bridge) => `link set ${side}.${bridge} down`),
    );
  }

  /** The machine is as after a boot: what its kernel held is gone. Its processes are dead already. */
  reboot(side: Side): void {
    this.lab.ip(
      this.node('fabric'),
      BRIDGES.map((bridge) => `link delete ${side}.${bridge}`),
    );
    command('ip', ['netns', 'delete', this.#namespace(side)]);
    this.#plugIn(side);
  }

  hasAddresses(side: Side): boolean {
    const shown = this.lab.exec(this.node(side), 'ip', '-o', 'address', 'show');
    return VIRTUAL_ADDRESSES.every(({ address }) => shown.includes(` ${address}/`));
  }

  #countResets(end: string): void {
    const rules = `table ip resets {
  counter seen { }
  chain in { type filter hook input priority 0; tcp flags & rst == rst counter name seen; }
}
`;
    const file = this.lab.write(`${this.node(end)}/resets.nft`, rules);
    this.lab.exec(this.node(end), 'nft', '-f', file);
  }

  /** RST segments that clients and servers have received so far. */
  resets(): number {
    return ENDS.reduce((sum, end) => {
      const said = this.lab.exec(this.node(end), 'nft', 'list', 'counter', 'ip', 'resets', 'seen');
      return sum + Number(/packets (\d+)/.exec(said)?.[1]);
    }, 0);
  }
}
