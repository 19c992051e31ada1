// SPDX-License-Identifier: MIT
/** conntrackd as its users run it; its kernel table is filled over netlink by conntrack-load.c. */
import type { ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { command, type Lab, LabError, type Started } from '../../test/lab/lab.js';
import { Network, SIDES, type Side, syncOf } from './network.js';
import { alike, type Format, pidOf, type System } from './system.js';

/** What its command line sends over the control socket, as a number of the machine's byte order. */
export const Request = { STATS: 21, REQUEST: 23, FLUSH_EXTERNAL: 34, COMMIT: 46 } as const;
const NETLINK_BUFFER = 134_217_728;
const HASH_SIZE = 262_144;
export const HASH_LIMIT = 1_048_576;

/** @param path of a file of this side's: log, lock, ctl */
export function conntrackdConfig(side: Side, path: (name: string) => string): string {
  return `${syncOf(side, { multicast: 'Checksum on' })}
General {
  HashSize ${HASH_SIZE}
  HashLimit ${HASH_LIMIT}
  LogFile ${path('log')}
  LockFile ${path('lock')}
  UNIX { Path ${path('ctl')} }
  NetlinkBufferSize ${NETLINK_BUFFER}
  NetlinkBufferSizeMaxGrowth ${NETLINK_BUFFER}
  Filter From Userspace { Protocol Accept { TCP } }
}
`;
}

/** conntrack-load in one namespace. */
class Loader {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  constructor(lab: Lab, node: string, program: string) {
    this.#child = lab.spawn(node, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
  }

  /** The times with which it answers. */
  async run(...words: (string | number)[]): Promise<number[]> {
    const times: number[] = [];
    const done = new Promise<void>((resolve, reject) => {
      const ended = () => reject(new LabError('ENDED_EARLY', 'conntrack-load has ended'));
      this.#child.once('exit', ended);
      const take = (line: string) => {
        if (line !== 'done') {
          times.push(Number(line) / 1e6);
          return;
        }
        this.#lines.off('line', take);
        this.#child.off('exit', ended);
        resolve();
      };
      this.#lines.on('line', take);
    });
    this.#child.stdin?.write(`${words.join(' ')}\n`);
    await done;
    return times;
  }
}

export class Conntrackd implements System {
  readonly name = 'conntrackd';
  readonly network: Network;
  readonly datagramMin = 60;
  readonly #loaders: Record<Side, Loader>;
  readonly #daemons: Partial<Record<Side, Started>> = {};

  constructor(readonly lab: Lab) {
    this.network = new Network(lab, 'ct');
    const source = fileURLToPath(new URL('./conntrack-load.c', import.meta.url));
    const program = lab.path('conntrack-load');
    command('clang', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, source]);
    const loader = (side: Side) => new Loader(lab, this.network.node(side), program);
    this.#loaders = { a: loader('a'), b: loader('b') };
    for (const side of SIDES)
      lab.write(this.#file(side, 'conf'), conntrackdConfig(side, this.#path(side)));
  }

  #file(side: Side, name: string): string {
    return `${this.network.node(side)}/${name}`;
  }

  #path(side: Side): (name: string) => string {
    return (name) => this.lab.path(this.#file(side, name));
  }

  async start(): Promise<void> {
    for (const side of SIDES) {
      const path = this.#path(side);
      for (const name of ['lock', 'ctl']) rmSync(path(name), { force: true });
      const argv = ['conntrackd', '-C', path('conf')];
      this.#daemons[side] = this.lab.start(this.network.node(side), 'conntrackd', argv);
    }
    for (const side of SIDES) {
      await this.lab.until(`conntrackd on ${side}`, 10, () => this.#answers(side));
      alike(this.lab, this.network.node(side), this.pid(side));
    }
  }

  async stop(): Promise<void> {
    for (const side of SIDES) {
      const daemon = this.#daemons[side];
      if (daemon) await this.lab.end(daemon, 'SIGKILL');
      delete this.#daemons[side];
      await this.#loaders[side].run('flush');
    }
  }

  pid(side: Side): number {
    return pidOf(this.#daemons[side]);
  }

  async octets(): Promise<number> {
    return this.network.traffic(this.pid('a')).octets;
  }

  async insert(first: number, count: number): Promise<number> {
    const [began] = await this.#loaders.a.run('insert', first, count);
    return began;
  }

  update(first: number, count: number, pauseMs: number): Promise<number[]> {
    return this.#loaders.a.run('update', first, count, Math.round(pauseMs * 1000));
  }

  async held(): Promise<number> {
    const said = await this.#ask('b', Request.STATS);
    const [, count] = /cache external:\s*current active connections:\s*(\d+)/.exec(said) ?? [];
    return Number(count);
  }

  async forget(): Promise<void> {
    await this.#ask('b', Request.FLUSH_EXTERNAL);
  }

  async request(): Promise<void> {
    await this.#ask('b', Request.REQUEST);
  }

  async die(): Promise<void> {
    const daemon = this.#daemons.a;
    if (daemon) await this.lab.end(daemon, 'SIGKILL');
    delete this.#daemons.a;
  }

  async commit(): Promise<void> {
    await this.#ask('b', Request.COMMIT);
  }

  async committed(): Promise<number> {
    const file = '/proc/sys/net/netfilter/nf_conntrack_count';
    return Number(this.lab.exec(this.network.node('b'), 'cat', file));
  }

  dump(format: Format): string[] {
    const words = format === 'xml' ? ['-e', '-x'] : ['-e'];
    return ['conntrackd', '-C', this.#path('b')('conf'), ...words];
  }

  async #answers(side: Side): Promise<boolean> {
    try {
      return (await this.#ask(side, Request.STATS)) !== '';
    } catch {
      return false;
    }
  }

  #ask(side: Side, request: number): Promise<string> {
    return askConntrackd(this.#path(side)('ctl'), request);
  }
}

/** Its control socket: a number, and then the answer until it closes. */
export function askConntrackd(path: string, request: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    const socket = connect(path);
    const number = Buffer.alloc(4);
    number.writeUInt32LE(request); // of the machine: all that this is built for are little-endian
    socket.on('error', reject);
    socket.on('data', (piece) => {
      said += piece;
    });
    socket.on('close', () => resolve(said));
    socket.write(number);
  });
}
