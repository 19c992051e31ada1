// SPDX-License-Identifier: MIT
/** Runs in the balancer's namespace: the splice datapath, and a proxy that splices without looking. */
import { createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { connect } from '../../kernel/connect.js';
import { Datapath } from '../../kernel/datapath.js';
import type { Endpoint } from '../../kernel/endpoint.js';
import { detachInterface } from '../../kernel/interfaces.js';
import { listen } from '../../kernel/listen.js';
import { bpf, libc } from '../../kernel/native.js';
import { splice } from '../../kernel/splice.js';
import { offer } from '../helper.js';
import { nanosecondsPerPacket } from './packet-run.js';

const INTERFACES = ['cli', 'srv'];
const TABLE_SIZE = 131_072;

const BPF_STATS_RUN_TIME = 0;

let datapath: Datapath;
let statistics = -1;
let pins: string;
/** Connections that could not be spliced: a bench that relays them would measure something else. */
let refused = '';

async function join(client: Socket, head: Buffer, to: Endpoint, source: string): Promise<void> {
  client.pause();
  const server = await connect({ ...to, source, client, timeoutMs: 3000 });
  const result = await splice(client, server, { toServer: head });
  if (result.spliced) return;
  refused = result.reason;
  for (const socket of [client, server]) socket.resetAndDestroy();
}

const functions = {
  async open(pinPath: string, cgroup: string) {
    pins = pinPath;
    const options = { pinPath, cgroup, interfaces: [], node: 1, tableSize: TABLE_SIZE };
    datapath = await Datapath.open(options);
  },
  /** The interfaces have their carrier; before that there is no route. */
  up() {
    return INTERFACES.every((name) => networkInterfaces()[name]);
  },
  /** Put the programs on the interfaces. */
  serve() {
    datapath.serve(INTERFACES);
  },
  /** Take them off: the peers meet no trace of them. */
  unserve() {
    for (const name of INTERFACES) detachInterface(name);
  },
  /** Splice what comes for an address and port to another one, at its first octets. */
  async proxy(here: Endpoint, to: Endpoint, source: string) {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      client.on('error', () => client.destroy());
      client.once('data', (head) => {
        join(client, head as Buffer, to, source).catch((error: Error) => {
          refused = error.message;
          client.destroy();
        });
      });
    });
    await listen(server, { ...here, backlog: 1024 });
  },
  /** Why the last one could not be spliced, since the last time this was asked; or ''. */
  refused() {
    const reason = refused;
    refused = '';
    return reason;
  },
  /** Requests that nginx has served, by its status page. */
  async requests(url: string) {
    const status = await (await fetch(url)).text();
    return Number(status.split('\n')[2].trim().split(' ')[2]);
  },
  /** Let the kernel time all BPF programs of the machine (bpf(2), BPF_ENABLE_STATS), or no more. */
  stats(on: boolean) {
    if (statistics >= 0) libc.close(statistics); // they last as long as the descriptor
    statistics = on ? bpf().enableStats(BPF_STATS_RUN_TIME) : -1;
    if (on && statistics < 0) throw new Error('the kernel does not time its BPF programs');
  },
  packet: (repeats: number) => nanosecondsPerPacket(datapath, pins, repeats),
};

export type BalancerFunctions = typeof functions;
offer(functions);
