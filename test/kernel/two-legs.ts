// SPDX-License-Identifier: MIT
/*
 *   client                       this process                      server
 *   10.1.0.2  ──── veth ──── 10.1.0.100    10.2.0.100  ──── veth ──── 10.2.0.2:9000
 *   fd00:1::2                fd00:1::100   fd00:2::100                fd00:2::2:9000
 *
 * Each leg has both families, and a transfer chooses for each. Client and server are processes in network namespaces of their own, with real stacks; the proxy
 * is the test's process itself, inside a cgroup of its own. All of it ends with the process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { connect } from '../../kernel/connect.js';
import { Datapath } from '../../kernel/datapath.js';
import { listen } from '../../kernel/listen.js';
import { cgroupRoot } from '../support/cgroup.js';
import { run } from '../support/isolate.js';
import type { Transfer } from './ends/client.js';
import { clientLeg, type Family, type Path, serverLeg } from './ends/plan.js';

export type End = 'client' | 'server';
/** Of each leg; a leg that is not named is IPv4. */
export interface Families {
  client?: Family;
  server?: Family;
}
/** Makes a server listen. */
export type Open = (server: Server) => Promise<unknown>;
export const PIN_PATH = '/sys/fs/bpf/spliced';

export class TwoLegs {
  datapath!: Datapath;
  readonly #root = cgroupRoot();
  /** Whose sockets may be spliced: this process is in it. */
  readonly cgroup = `${this.#root}/spliced-test-${process.pid}`;
  readonly #ends = new Map<End, ChildProcess>();
  readonly #waiting = new Map<number, (result: { ok: boolean; answer: string }) => void>();
  #sent = 0;

  async start(): Promise<void> {
    mkdirSync(this.cgroup);
    writeFileSync(`${this.cgroup}/cgroup.procs`, `${process.pid}`);
    await this.#end('client', 'cli', clientLeg);
    await this.#end('server', 'srv', serverLeg);
    this.datapath = await Datapath.open({
      pinPath: PIN_PATH,
      cgroup: this.cgroup,
      interfaces: ['cli', 'srv'],
      node: 1,
      tableSize: 4096,
    });
    this.#ends.get('client')?.on('message', (message) => {
      const { id, ...result } = message as { id: number; ok: boolean; answer: string };
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
  }

  async #end(end: End, device: string, leg: Record<Family, Path>): Promise<void> {
    const program = fileURLToPath(new URL(`./ends/${end}.ts`, import.meta.url));
    const wait =
      'while ! ip -4 address show dev eth0 2>/dev/null | grep -q inet; do sleep 0.02; done';
    const child = spawn(
      'unshare',
      ['--net', 'sh', '-c', `${wait}; exec "$0" --import tsx "$1"`, process.execPath, program],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    );
    this.#ends.set(end, child);
    writeFileSync(`${this.#root}/cgroup.procs`, `${child.pid}`);
    while (run('readlink', `/proc/${child.pid}/ns/net`) === run('readlink', '/proc/self/ns/net'));
    const peer = ['netns', `${child.pid}`];
    run('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', ...peer);
    run('ip', 'address', 'add', `${leg[4].here}/24`, 'dev', device);
    run('ip', 'address', 'add', `${leg[6].here}/64`, 'dev', device, 'nodad');
    run('ip', 'link', 'set', device, 'up');
    this.in(end, 'ip', 'link', 'set', 'eth0', 'up');
    this.in(end, 'ip', 'address', 'add', `${leg[6].there}/64`, 'dev', 'eth0', 'nodad');
    // the last: the end waits for it
    this.in(end, 'ip', 'address', 'add', `${leg[4].there}/24`, 'dev', 'eth0');
    await once(child, 'message');
  }

  /** Path of an end's network namespace. */
  namespace(end: End): string {
    return `/proc/${this.#ends.get(end)?.pid}/ns/net`;
  }

  /** Run a program in an end's namespace. */
  in(end: End, program: string, ...args: string[]): string {
    return run('nsenter', `--net=${this.namespace(end)}`, program, ...args);
  }

  /** Lose so many of 100 TCP packets that an end receives. */
  lose(end: End, percent: number): void {
    this.in(end, 'nft', 'flush', 'ruleset');
    if (percent === 0) return;
    const some = percent < 100 ? `numgen random mod 100 < ${percent}` : '';
    const chain = `type filter hook input priority 0; meta l4proto tcp ${some} drop;`;
    this.in(end, 'nft', `table inet t { chain i { ${chain} }; }`);
  }

  option(end: End, name: string, on: boolean): void {
    this.in(end, 'sh', '-c', `echo ${on ? 1 : 0} >/proc/sys/net/ipv4/${name}`);
  }

  /** Let the client make a transfer. */
  transfer(t: Transfer): Promise<{ ok: boolean; answer: string }> {
    const id = ++this.#sent;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#ends.get('client')?.send({ id, ...t });
    });
  }

  /**
   * Accept the clients of these families, connect each to the server, and hand both over. One call
   * serves one pair of families.
   * @param open listens, on the address that the transfers go to unless they name a port
   */
  async proxy(
    serve: (client: Socket, server: Socket, head: Buffer) => void,
    { client: from = 4, server: to = 4, open }: Families & { open?: Open } = {},
  ): Promise<Server> {
    const { here: source, there: address } = serverLeg[to];
    const proxy = createServer({ allowHalfOpen: true }, (client) => {
      client.on('error', () => client.destroy());
      client.once('data', async (head) => {
        client.pause();
        const port = serverLeg.port;
        const server = await connect({ address, port, source, client, timeoutMs: 3000 });
        serve(client, server, head as Buffer);
      });
    });
    const virtual = { address: clientLeg[from].here, port: clientLeg.portTowards[to] };
    if (open) await open(proxy);
    else await listen(proxy, { ...virtual, backlog: 1024 });
    return proxy;
  }

  async stop(): Promise<void> {
    for (const child of this.#ends.values()) {
      if (child.exitCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    this.datapath?.close();
    await Datapath.unload(PIN_PATH, ['cli', 'srv']);
    writeFileSync(`${this.#root}/cgroup.procs`, `${process.pid}`);
    rmdirSync(this.cgroup);
  }
}
