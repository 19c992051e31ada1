// SPDX-License-Identifier: MIT
// deadline: 60
/**
 * What the neighbours of a node notice that has yielded its virtual addresses: the real kernels' ARP and
 * neighbour discovery; see network.ts. The routers are the neighbours.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import * as assert from 'uvu/assert';
import { type Family, socketAddress } from '../../../kernel/endpoint.js';
import { errnoName } from '../../../kernel/error.js';
import { errno, libc } from '../../../kernel/native.js';
import { boundSocket, Errno, pendingError } from '../../../kernel/socket.js';
import { isolateOrSkip } from '../../support/isolate.js';
import { ADDRESS, DEVICE, SERVED } from './network.js';
import { stage, until } from './stage.js';
import { transfer, WAYS } from './transfer.js';

await isolateOrSkip(import.meta.url);

const { network, spliced, test: onStage, run } = stage('a node that has yielded its addresses');
const MS = 2000;
/** Nobody listens here. */
const PORT = 9;
const NEIGHBOUR = { 4: '10.1.0.1', 6: 'fd00:1::1' } as const;

function test(title: string, body: () => Promise<void>): void {
  onStage(title, async () => {
    try {
      await body();
    } finally {
      network.datapath.answer('always');
      network.datapath.setGuard([]);
    }
  });
}

/** The neighbour connects. Returns the socket, and the errno if it has one already, or 0. */
function dial(family: Family, port: number): { fd: number; error: number } {
  return network.router.client.run(() => {
    const fd = boundSocket({ address: NEIGHBOUR[family], port: 0 });
    if (fd === undefined) throw new Error('no socket');
    const to = socketAddress({ address: ADDRESS.virtual[family], port });
    const error = libc.connect(fd, to, to.length) ? errno() : 0;
    return { fd, error: error === Errno.EINPROGRESS ? 0 : error };
  });
}

/** What a neighbour gets that knows nothing yet: `ECONNREFUSED` is an answer, `EHOSTUNREACH` none. */
async function connecting(family: Family): Promise<string> {
  network.router.client.exec('ip', 'neighbour', 'flush', 'dev', 'near');
  let { fd, error } = dial(family, PORT);
  try {
    await until(
      () => {
        error ||= pendingError(fd);
        return error !== 0;
      },
      'connecting ends',
      MS,
    );
    return errnoName(error);
  } finally {
    libc.close(fd);
  }
}

/** Of this node's interface on the side of the clients. */
function mac(): string {
  const shown = network.balancer.exec('ip', '-o', 'link', 'show', 'dev', DEVICE.client);
  return /link\/ether (\S+)/.exec(shown)?.[1] ?? '';
}

function neighbour(address: string): string {
  return network.router.client.exec('ip', 'neighbour', 'show', 'to', address, 'dev', 'near');
}

/** Three questions within 150 ms, and the neighbour is given up. */
function askQuickly(): void {
  for (const family of SERVED) {
    const settings = `ipv${family}/neigh/near`;
    network.sysctl(network.router.client, `${settings}/retrans_time_ms`, 50);
  }
}

for (const family of SERVED) {
  const virtual = ADDRESS.virtual[family];

  test(`over IPv${family} nobody resolves a fenced address, and all do when it answers again`, async () => {
    askQuickly();
    network.datapath.setGuard([virtual]);
    assert.is(await connecting(family), 'ECONNREFUSED');
    network.datapath.answer('never');
    const counts = await network.counted(async () => {
      assert.is(await connecting(family), 'EHOSTUNREACH');
    });
    assert.match(neighbour(virtual), /FAILED/);
    assert.ok((counts.fenced_resolution ?? 0) >= 3, JSON.stringify(counts));
    network.datapath.answer('always');
    assert.is(await connecting(family), 'ECONNREFUSED');
    assert.match(neighbour(virtual), /REACHABLE|DELAY|STALE/);
  });

  test(`over IPv${family} a fenced address is silent for those who know where it was`, async () => {
    const server = createServer().listen(0, virtual);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    network.datapath.setGuard([virtual]);
    const before = network.datapath.counter('fenced_unspliced');
    const counts = await network.counted(async () => {
      network.datapath.answer('never');
      network.router.client.ip(`neighbour replace ${virtual} lladdr ${mac()} dev near`);
      const connected = once(server, 'connection');
      const { fd } = dial(family, port);
      await until(
        () => network.datapath.counter('fenced_unspliced') > before,
        'the SYN is here',
        MS,
      );
      network.datapath.answer('always');
      const [socket] = await connected; // the SYN has come again
      libc.close(fd);
      socket.destroy();
    });
    server.close();
    assert.is(counts.fenced_sent, undefined, 'nothing was there to be said');
  });

  test(`over IPv${family} a splice goes on, and finds its neighbours without naming the address`, async () => {
    const flow = await spliced({ families: [family, family] });
    network.datapath.setGuard([virtual, ADDRESS.source[family]]);
    network.datapath.answer('never');
    for (const way of WAYS) await transfer(flow, way, 100_000, { ms: MS });
    for (const device of ['cli', 'srv']) {
      network.balancer.exec('ip', 'neighbour', 'flush', 'dev', device);
    }
    const counts = await network.counted(async () => {
      for (const way of WAYS) await transfer(flow, way, 100_000, { ms: 2 * MS });
    });
    assert.ok((counts.fenced_probe ?? 0) >= 1, JSON.stringify(counts));
    assert.is(counts.fenced_sent, undefined, JSON.stringify(counts));
  });

  test(`over IPv${family} all that is not a virtual address answers as ever`, async () => {
    askQuickly();
    network.datapath.setGuard([NEIGHBOUR[family]]); // some other one
    network.datapath.answer('never');
    const counts = await network.counted(async () => {
      assert.is(await connecting(family), 'ECONNREFUSED');
    });
    const fenced = Object.keys(counts).filter((name) => name.startsWith('fenced'));
    assert.equal(fenced, []);
  });
}

run();
