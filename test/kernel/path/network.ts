// SPDX-License-Identifier: MIT
/*
 *   client          router           this process            router           server
 *   10.1.1.2 ──── 10.1.1.1                                  10.2.1.1 ──── 10.2.1.2:9000
 *                 10.1.0.1 ──── 10.1.0.100  10.2.0.100 ──── 10.2.0.1
 *           eth0-far       near-cli                 srv-near        far-eth0
 *
 * and the same with fd00:1:1::2 and so on. Each box is a network namespace with a stack of its own, and
 * both ends are sockets of this process, which is the proxy too, in a cgroup of its own. Nothing of
 * it outlives the process but the cgroup, which goes when the process exits.
 */
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Datapath } from '../../../kernel/datapath.js';
import type { Family } from '../../../kernel/endpoint.js';
import type { CounterName } from '../../../kernel/record/layout.js';
import { cgroupRoot } from '../../support/cgroup.js';
import { Namespace } from './namespace.js';

/** Those that the datapath splices. */
export const SERVED: Family[] = [4, 6];
/** The client's side or the server's; leg 0 and leg 1. */
export type Side = 'client' | 'server';
export type Hook = 'input' | 'forward' | 'output';
export const SIDES: Side[] = ['client', 'server'];
export const other = (side: Side): Side => (side === 'client' ? 'server' : 'client');

const PIN_PATH = '/sys/fs/bpf/spliced';
export const ADDRESS = {
  client: { 4: '10.1.1.2', 6: 'fd00:1:1::2' },
  /** Where clients connect to: this process's address on the client's side. */
  virtual: { 4: '10.1.0.100', 6: 'fd00:1::100' },
  /** Where this process connects from, on the server's side. */
  source: { 4: '10.2.0.100', 6: 'fd00:2::100' },
  server: { 4: '10.2.1.2', 6: 'fd00:2:1::2' },
} as const;
const MTU = 1500;
const NUMBER = { client: 1, server: 2 } as const;
/** This process's interface on each side. */
export const DEVICE = { client: 'cli', server: 'srv' } as const;

/** The cgroup whose sockets may be spliced, with this process in it until it exits. */
function joinCgroup(): string {
  const root = cgroupRoot();
  const cgroup = `${root}/spliced-test-${process.pid}`;
  mkdirSync(cgroup);
  writeFileSync(`${cgroup}/cgroup.procs`, `${process.pid}`);
  process.once('exit', () => {
    writeFileSync(`${root}/cgroup.procs`, `${process.pid}`);
    rmdirSync(cgroup);
  });
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(1));
  return cgroup;
}

export class Network {
  readonly balancer = Namespace.current();
  readonly end: Record<Side, Namespace> = { client: Namespace.make(), server: Namespace.make() };
  readonly router: Record<Side, Namespace> = { client: Namespace.make(), server: Namespace.make() };
  datapath!: Datapath;
  #undo: (() => void)[] = [];

  async start(): Promise<void> {
    this.balancer.withoutDad();
    for (const side of SIDES) this.#lay(side);
    await this.#linksUp();
    this.datapath = await Datapath.open({
      pinPath: PIN_PATH,
      cgroup: joinCgroup(),
      interfaces: Object.values(DEVICE),
      node: 1,
      tableSize: 4096,
    });
  }

  /** The kernel takes up to a second to see that a link is there; packets before are lost. */
  async #linksUp(): Promise<void> {
    const up = ([space, device]: [Namespace, string]): boolean =>
      /state UP/.test(space.exec('ip', '-o', 'link', 'show', 'dev', device));
    const links = SIDES.flatMap((side) => this.links(side));
    for (let tries = 0; !links.every(up) && tries < 100; tries++) await sleep(20);
  }

  #lay(side: Side): void {
    const n = NUMBER[side];
    const router = this.router[side];
    const device = DEVICE[side];
    this.balancer.ip(
      `link add ${device} type veth peer name near netns ${router.path}`,
      `address add 10.${n}.0.100/24 dev ${device}`,
      `address add fd00:${n}::100/64 dev ${device} nodad`,
      `link set ${device} up`,
    );
    router.sysctl('ipv4/ip_forward', 1);
    router.sysctl('ipv6/conf/all/forwarding', 1);
    router.ip(
      `link add far type veth peer name eth0 netns ${this.end[side].path}`,
      `address add 10.${n}.0.1/24 dev near`,
      `address add 10.${n}.1.1/24 dev far`,
      `address add fd00:${n}::1/64 dev near nodad`,
      `address add fd00:${n}:1::1/64 dev far nodad`,
      'link set near up',
      'link set far up',
    );
    this.end[side].ip(
      `address add 10.${n}.1.2/24 dev eth0`,
      `address add fd00:${n}:1::2/64 dev eth0 nodad`,
      'link set eth0 up',
      `route add default via 10.${n}.1.1`,
      `route add default via fd00:${n}:1::1`,
    );
    this.balancer.ip(
      `route add 10.${n}.1.0/24 via 10.${n}.0.1`,
      `route add fd00:${n}:1::/64 via fd00:${n}::1`,
    );
  }

  /** Every link on one side, as its namespace and device. */
  links(side: Side): [Namespace, string][] {
    return [
      [this.balancer, DEVICE[side]],
      [this.router[side], 'near'],
      [this.router[side], 'far'],
      [this.end[side], 'eth0'],
    ];
  }

  /** Everything as in the beginning, whatever a test has changed by the calls below. */
  calm(): void {
    for (const undo of this.#undo.reverse()) undo();
    this.#undo = [];
  }

  /** Another value of a setting below /proc/sys/net. */
  sysctl(space: Namespace, name: string, value: number | string): void {
    const before = space.readSysctl(name);
    space.sysctl(name, value);
    this.#undo.push(() => space.sysctl(name, before));
  }

  /** Another MTU for both ends of a link: the one of this process, or the one of the far end. */
  mtu(side: Side, link: 'near' | 'far', mtu: number): void {
    const devices = this.links(side);
    const both = link === 'near' ? devices.slice(0, 2) : devices.slice(2);
    const set = (to: number): void => {
      for (const [space, device] of both) space.ip(`link set ${device} mtu ${to}`);
    };
    set(mtu);
    this.#undo.push(() => {
      set(MTU);
      this.forgetMtu();
    });
  }

  /** Nobody knows any more what routers have told. */
  forgetMtu(): void {
    for (const space of [this.balancer, ...Object.values(this.end)]) {
      for (const family of ['-4', '-6']) space.exec('ip', family, 'route', 'flush', 'cache');
    }
  }

  /** Whether segments travel in bundles (TSO, GSO) over all links, or one by one. */
  bundles(on: boolean): void {
    const to = on ? 'on' : 'off';
    if (!on) this.#undo.push(() => this.bundles(true));
    for (const side of SIDES) {
      for (const [space, device] of this.links(side)) {
        space.exec('ethtool', '-K', device, 'tso', to, 'gso', to, 'gro', to);
      }
    }
  }

  /** Lose so many of 100 packets that come to an end. */
  lose(side: Side, percent: number): void {
    const rule = percent < 100 ? `numgen random mod 100 < ${percent} drop` : 'drop';
    this.filter(side, percent ? rule : '');
  }

  /** A rule of nft(8) for packets that come to an end; none when it is empty. */
  filter(side: Side, rule: string): void {
    this.rule(this.end[side], 'input', rule);
  }

  /** The one rule of nft(8) at a hook of a namespace. */
  rule(space: Namespace, hook: Hook, rule: string): void {
    this.rules(space, hook, rule ? [rule] : []);
  }

  /** The rules of nft(8) at a hook of a namespace, in place of all that are there. */
  rules(space: Namespace, hook: Hook, rules: string[]): void {
    const chain = `table inet t { chain c { type filter hook ${hook} priority 0; ${rules.join('; ')}; }; }`;
    space.filter(rules.length > 0 ? chain : '');
    if (rules.length > 0) this.#undo.push(() => space.filter(''));
  }

  /** By how much each counter rises while something is done; only those that do. */
  async counted<T>(work: () => Promise<T> | T): Promise<Partial<Record<CounterName, number>>> {
    const before = this.datapath.counters();
    await work();
    const after = this.datapath.counters();
    const rises = (Object.keys(after) as CounterName[]).map((name) => [
      name,
      after[name] - before[name],
    ]);
    return Object.fromEntries(rises.filter(([, rise]) => rise !== 0));
  }
}
