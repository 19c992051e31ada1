// SPDX-License-Identifier: MIT
/** spliced as its users run it; its kernel table is filled by splice-load.ts. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { call } from '../../daemon/control/index.js';
import type { Result, StatsName, Verb, Verbs } from '../../daemon/control/protocol.js';
import type { Lab, Started } from '../../test/lab/lab.js';
import { Helper } from '../helper.js';
import { HASH_LIMIT } from './conntrackd.js';
import { Network, SIDES, type Side, syncOf } from './network.js';
import type { LoadFunctions } from './splice-load.js';
import { alike, type Format, NICE, pidOf, type System } from './system.js';

const DAEMON = fileURLToPath(new URL('../../dist/daemon/main.js', import.meta.url));
const SPLICECTL = fileURLToPath(new URL('../../dist/bin/splicectl.js', import.meta.url));
const KEY = '5a'.repeat(32);
/** Ethernet, IPv4 and UDP. */
const HEADERS = 14 + 20 + 8;

interface Options {
  /** Splices that fit into each kernel. */
  readonly tableSize: number;
  /** With a key for the link. */
  readonly sealed: boolean;
}

export class Spliced implements System {
  readonly network: Network;
  readonly datagramMin = 150;
  readonly #pins: Record<Side, string>;
  readonly #loaders: Record<Side, Helper<LoadFunctions>>;
  readonly #daemons: Partial<Record<Side, Started>> = {};
  #opened = false;
  #generation = 1;

  constructor(
    readonly lab: Lab,
    readonly name: string,
    readonly options: Options,
  ) {
    this.network = new Network(lab, name);
    const pins = (side: Side) => join(lab.mount('bpf', this.#file(side, 'bpf')), 'spliced');
    this.#pins = { a: pins('a'), b: pins('b') };
    const loader = (side: Side) =>
      new Helper<LoadFunctions>(lab, this.network.node(side), './sync/splice-load.ts');
    this.#loaders = { a: loader('a'), b: loader('b') };
    for (const side of SIDES) lab.write(this.#file(side, 'conf'), this.#config(side));
  }

  #file(side: Side, name: string): string {
    return `${this.network.node(side)}/${name}`;
  }

  #socket(side: Side): string {
    return this.lab.path(this.#file(side, 'ctl'));
  }

  #config(side: Side): string {
    return `${syncOf(side, { sync: this.#authentication() })}
Kernel {
  Interface eth0
  TableSize ${this.options.tableSize}
  Timeouts { probe 1h }
  PinPath ${this.#pins[side]}
  Cgroup ${this.lab.group(this.network.node(side))}
}
General {
  NodeName ${side}
  HashLimit ${HASH_LIMIT}
  Nice ${NICE}
  UNIX { Path ${this.#socket(side)} }
}
`;
  }

  /** Both have the same key. */
  #authentication(): string {
    if (!this.options.sealed) return '';
    const file = this.lab.write(`${this.name}.key`, `1 ${KEY}\n`);
    chmodSync(file, 0o600);
    return `Authentication { KeyFile ${file} }`;
  }

  async start(): Promise<void> {
    for (const side of SIDES) {
      const argv = [process.execPath, DAEMON, '-C', this.lab.path(this.#file(side, 'conf'))];
      this.#daemons[side] = this.lab.start(this.network.node(side), 'spliced', argv);
    }
    for (const side of SIDES) {
      await this.lab.until(`spliced on ${side}`, 20, () => this.#inSync(side));
      alike(this.lab, this.network.node(side), this.pid(side));
    }
    if (this.#opened) return;
    this.#opened = true;
    await Promise.all(
      SIDES.map((side) =>
        this.#loaders[side].call(
          'open',
          this.#pins[side],
          this.lab.group(this.network.node(side)),
          side,
          this.options.tableSize,
        ),
      ),
    );
  }

  async stop(): Promise<void> {
    for (const side of SIDES) {
      const daemon = this.#daemons[side];
      if (daemon) await this.lab.end(daemon, 'SIGTERM');
      delete this.#daemons[side];
      if (this.#opened) await this.#loaders[side].call('flush');
    }
  }

  pid(side: Side): number {
    return pidOf(this.#daemons[side]);
  }

  /** Datagrams that leave in one piece (UDP_SEGMENT) are one packet to a veth, but not to a cable. */
  async octets(): Promise<number> {
    const { octets, packets } = this.network.traffic(this.pid('a'));
    let datagrams = 0;
    for (const side of SIDES) datagrams += await this.#counter(side, 'link', /datagrams_sent$/);
    return octets + HEADERS * Math.max(0, datagrams - packets);
  }

  /** Bulks that b has received whole. */
  bulks(): Promise<number> {
    return this.#counter('b', 'network', /^bulks_received$/);
  }

  async #counter(side: Side, what: StatsName, name: RegExp): Promise<number> {
    const { sections } = await this.call(side, 'stats', { what });
    const found = Object.entries(sections[0].values).filter(([key]) => name.test(key));
    return found.reduce((sum, [, value]) => sum + Number(value), 0);
  }

  insert(first: number, count: number): Promise<number> {
    return this.#loaders.a.call('insert', first, count);
  }

  update(first: number, count: number, pauseMs: number): Promise<number[]> {
    return this.#loaders.a.call('update', first, count, ++this.#generation, pauseMs);
  }

  async held(): Promise<number> {
    return (await this.cached()).external;
  }

  /** Entries in b's caches. Not by `status`, which counts the kernel's table each time. */
  async cached(): Promise<{ internal: number; external: number }> {
    const { sections } = await this.call('b', 'stats', { what: 'cache' });
    const found = { internal: 0, external: 0 };
    for (const [name, value] of Object.entries(sections[0].values)) {
      if (name === 'internal records') found.internal = Number(value);
      else if (/^external .* records$/.test(name)) found.external += Number(value);
    }
    return found;
  }

  async forget(): Promise<void> {
    await this.call('b', 'flush', { cache: 'external' });
  }

  async request(): Promise<void> {
    await this.call('b', 'request', {});
  }

  async die(): Promise<void> {
    const daemon = this.#daemons.a;
    if (daemon) await this.lab.end(daemon, 'SIGKILL');
    delete this.#daemons.a;
  }

  async commit(): Promise<void> {
    await this.call('b', 'commit', {});
  }

  committed(): Promise<number> {
    return this.#loaders.b.call('live');
  }

  dump(format: Format): string[] {
    const words = ['dump', 'external', ...(format === 'xml' ? ['--xml'] : [])];
    return [process.execPath, SPLICECTL, '-S', this.#socket('b'), ...words];
  }

  call<V extends Verb>(side: Side, verb: V, args: Verbs[V]['args']): Promise<Result<V>> {
    return call(this.#socket(side), verb, args);
  }

  async #inSync(side: Side): Promise<boolean> {
    try {
      const { in_sync, peers } = await this.call(side, 'status', {});
      return in_sync && peers.some((peer) => peer.in_sync);
    } catch {
      return false;
    }
  }
}
