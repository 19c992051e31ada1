// SPDX-License-Identifier: MIT
// deadline: 90
/**
 * Connections that splice() does not take: it says why, and every byte arrives by the relay. See the
 * drawing in two-legs.ts.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listen } from '../../kernel/listen.js';
import { type RefusalReason, splice } from '../../kernel/splice.js';
import { isolateOrSkip, run } from '../support/isolate.js';
import { within } from '../support/within.js';
import { type Peculiarity, peculiarListen } from './ends/peculiar.js';
import { clientLeg } from './ends/plan.js';
import { loseNone, loseSegment, segmentsLost } from './lose.js';
import { TwoLegs } from './two-legs.js';

await isolateOrSkip(import.meta.url);

const CLIENT = clientLeg[4];
const test = suite('splice() refuses');
const legs = new TwoLegs();
const proxies: Server[] = [];
const refusals: (RefusalReason | 'spliced')[] = [];
/** What the proxy waits for before it splices, and what happens once that is refused. */
let before: () => Promise<unknown>;
let refused: () => void;

async function serve(client: Socket, server: Socket, head: Buffer): Promise<void> {
  await before();
  const result = await splice(client, server, { toServer: head, settleTimeoutMs: 50 });
  refusals.push(result.spliced ? 'spliced' : result.reason);
  if (result.spliced) return;
  refused();
  server.write(result.toServer);
  client.write(result.toClient);
  client.pipe(server).on('error', () => client.destroy());
  server.pipe(client).on('error', () => server.destroy());
}

const begin = (client: Socket, server: Socket, head: Buffer): void => {
  serve(client, server, head).catch((error) => console.error(error));
};

test.before(async () => {
  await legs.start();
  proxies.push(await legs.proxy(begin));
  // cookies of Fast Open are for networks that spoof; without them the first SYN may carry data
  writeFileSync('/proc/sys/net/ipv4/tcp_fastopen', '515'); // 0x203
  legs.in('client', 'sh', '-c', 'echo 5 >/proc/sys/net/ipv4/tcp_fastopen');
});

test.after(async () => {
  for (const proxy of proxies) proxy.close();
  await legs.stop();
});

test.before.each(() => {
  before = async () => {};
  refused = () => {};
  refusals.length = 0;
});

const real = (name: string, body: () => Promise<void>): void =>
  test(name, () => within(20_000, name, body()));

/** A client of that kind, and one in the common way at the same listening socket. */
async function peculiar(kind: Peculiarity, port: number): Promise<void> {
  const open = (server: Server) =>
    peculiarListen(kind, server, { address: CLIENT.here, port }, CLIENT.there);
  proxies.push(await legs.proxy(begin, { open }));
  for (const verb of ['PUT', 'GET'] as const) {
    const result = await legs.transfer({ verb, length: 300_000, port, peculiar: kind });
    assert.ok(result.ok, result.answer);
  }
  assert.equal(refusals, [kind, kind]);
}

real('connections that are signed (TCP-MD5)', () => peculiar('signed', 81));

if (existsSync('/proc/sys/net/mptcp/enabled')) {
  real('connections of Multipath TCP; a common client of the same socket is spliced', async () => {
    await peculiar('mptcp', 82);
    const result = await legs.transfer({ verb: 'PUT', length: 300_000, port: 82 });
    assert.ok(result.ok, result.answer);
    assert.is(refusals.at(-1), 'spliced');
  });
} else {
  test.skip('connections of Multipath TCP (this kernel has none)');
}

real('connections that began with data in the SYN (Fast Open)', async () => {
  await peculiar('syn_data', 83);
  const [names, values] = readFileSync('/proc/net/netstat', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('TcpExt:'))
    .map((line) => line.split(' '));
  assert.is(values[names.indexOf('TCPFastOpenPassive')], '2');
});

real('clients at a link-local address, which nothing is reserved for', async () => {
  const port = 87;
  const open = (server: Server) => listen(server, { address: '::', port, backlog: 4 });
  proxies.push(await legs.proxy(begin, { open }));
  // not the kernel's own, which may still be looking for duplicates
  run('ip', 'address', 'add', 'fe80::1/64', 'dev', 'cli', 'nodad');
  legs.in('client', 'ip', 'address', 'add', 'fe80::2/64', 'dev', 'eth0', 'nodad');
  const host = 'fe80::1%eth0';
  const result = await legs.transfer({ verb: 'PUT', length: 300_000, host, port });
  assert.ok(result.ok, result.answer);
  assert.equal(refusals, ['link_local']);
});

real('connections that miss a segment at the moment of splicing', async () => {
  const lost = 777;
  loseSegment(lost);
  before = async () => {
    while (segmentsLost() < 2) await sleep(5); // what comes behind it has arrived by then
  };
  refused = loseNone;
  const pieces = { length: lost + 400, piece: lost, paceMs: 5 };
  const result = await legs.transfer({ verb: 'PUT', ...pieces });
  assert.ok(result.ok, result.answer);
  assert.equal(refusals, ['out_of_order']);
});

test.run();
