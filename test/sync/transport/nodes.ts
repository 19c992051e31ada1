// Nodes of the replication in network namespaces of their own, on two switches in the test's.
//
//   node a            node b            node c
//   eth0  eth1        eth0  eth1        eth0  eth1      10.9.0.1, 10.9.1.1; fd00:9:0::1, fd00:9:1::1; b: .2, c: .3
//    │     │           │     │           │     │
//   a0    a1          b0    b1          c0    c1        in the test's namespace
//    └─────┼── sw0 ────┴─────┼───────────┘     │
//          └── sw1 ──────────┴─────────────────┘
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import type { LinkSettings } from '../../../sync/transport/settings.js';
import { run } from '../../support/isolate.js';
import { PATIENCE } from '../../support/patience.js';
import { within } from '../../support/within.js';
import type { Answer, Command } from './remote.js';

const REMOTE = fileURLToPath(new URL('remote.ts', import.meta.url));
const NAMES = ['a', 'b', 'c'] as const;
export type Name = (typeof NAMES)[number];
export type Network = 0 | 1;
type Family = 4 | 6;

export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export const addressOf = (name: Name, network: Network, family: Family): string => {
  const host = NAMES.indexOf(name) + 1;
  return family === 4 ? `10.9.${network}.${host}` : `fd00:9:${network}::${host}`;
};

/** The link of one kind that a node has on a network, to all others. */
export function linkOf(
  kind: LinkSettings['kind'],
  family: Family,
  name: Name,
  network: Network = 0,
): LinkSettings {
  const common = {
    preferred: false,
    family,
    port: 3780,
    interface: `eth${network}`,
    sendBuffer: undefined,
    receiveBuffer: undefined,
  };
  if (kind === 'multicast') {
    const group = family === 4 ? '225.0.0.50' : 'ff02::3780';
    return { kind, ...common, group, local: undefined };
  }
  const peers = NAMES.filter((other) => other !== name);
  const local = addressOf(name, network, family);
  return { kind, ...common, local, peers: peers.map((p) => addressOf(p, network, family)) };
}

export class RemoteNode {
  readonly #child: ChildProcess;
  readonly #reader: Interface;
  readonly #lines: AsyncIterator<string>;

  constructor(readonly name: Name) {
    const argv = ['--net', process.execPath, ...process.execArgv, REMOTE];
    this.#child = spawn('unshare', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#reader = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /** It is there, and is put on the networks. */
  async connect(): Promise<void> {
    await this.#hear();
    this.ip('link', 'set', 'lo', 'up');
    for (const network of [0, 1] as const) this.plug(network);
  }

  /** A new interface where there is none, as a driver that is loaded again makes it. */
  plug(network: Network): void {
    const { name } = this;
    const [here, there] = [`${name}${network}`, `eth${network}`];
    const pid = String(this.#child.pid);
    run('ip', 'link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', pid);
    run('ip', 'link', 'set', here, 'master', `sw${network}`, 'up');
    this.ip('address', 'add', `${addressOf(name, network, 4)}/24`, 'dev', there);
    this.ip('address', 'add', `${addressOf(name, network, 6)}/64`, 'dev', there, 'nodad');
    this.ip('link', 'set', there, 'up');
  }

  ip(...args: string[]): void {
    run('nsenter', '-t', String(this.#child.pid), '-n', 'ip', ...args);
  }

  async tell(...command: Command): Promise<Answer> {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    return this.#hear();
  }

  /** Like a power failure. */
  kill(): void {
    this.#reader.close();
    this.#child.kill('SIGKILL');
  }

  async #hear(): Promise<Answer> {
    const next = await within(5000, `an answer of ${this.name}`, this.#lines.next());
    return JSON.parse(next.value);
  }
}

/** Neither switch looks into multicast: it is flooded, as by a switch without a querier. */
export function layNetworks(): void {
  for (const network of [0, 1]) {
    const name = `sw${network}`;
    run('ip', 'link', 'add', name, 'type', 'bridge', 'mcast_snooping', '0');
    run('ip', 'link', 'set', name, 'up');
  }
}

/** Waits until each holds exactly what the others own, and all of it has been acknowledged. */
export async function equal(nodes: readonly RemoteNode[], ms: number): Promise<Answer[]> {
  const end = performance.now() + ms * PATIENCE;
  for (;;) {
    let answers = await askAll(nodes, false);
    if (holdAll(nodes, answers, 'records')) {
      answers = await askAll(nodes, true);
      if (holdAll(nodes, answers, 'digest')) return answers;
    }
    if (performance.now() > end) assert.unreachable(JSON.stringify(answers, undefined, 1));
    await pause(10);
  }
}

async function askAll(nodes: readonly RemoteNode[], digests: boolean): Promise<Answer[]> {
  return Promise.all(nodes.map((node) => node.tell('ask', digests)));
}

function holdAll(
  nodes: readonly RemoteNode[],
  answers: readonly Answer[],
  what: 'records' | 'digest',
): boolean {
  return answers.every(({ holds, unacknowledged }, at) => {
    const others = nodes.map(({ name }, index) => ({ name, owns: answers[index].owns }));
    others.splice(at, 1);
    return (
      unacknowledged === 0 && others.every(({ name, owns }) => holds[name]?.[what] === owns[what])
    );
  });
}
