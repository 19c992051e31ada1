// SPDX-License-Identifier: MIT
// deadline: 60
/**
 * Splices that open, close and break in many ways at once, with losses: three client processes in two
 * namespaces, both families, every byte compared. `SECONDS=600 SEED=7 npm test -- kernel/soak` goes on
 * for longer than the few seconds of a test run; the file's deadline holds for npm test only:
 * `SECONDS=600 node --import tsx test/kernel/soak.test.ts`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connect } from '../../kernel/connect.js';
import { listen } from '../../kernel/listen.js';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import { RecordView, stateName } from '../../kernel/record/record.js';
import { splice } from '../../kernel/splice.js';
import { relay } from '../../proxy/relay.js';
import { isolateOrSkip } from '../support/isolate.js';
import { within } from '../support/within.js';
import { Namespace } from './path/namespace.js';
import { ADDRESS, Network, SIDES } from './path/network.js';
import { readRequest } from './path/soak-protocol.js';

await isolateOrSkip(import.meta.url);

const SECONDS = Number(process.env.SECONDS ?? 4);
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const CLIENTS = 3;
const ROWS = 6;
/** For what was begun when the clients were told to stop. */
const DRAIN_MS = 25_000;

const test = suite(`soak, seed ${SEED}`);
const network = new Network();
const children: ChildProcess[] = [];
const bad: string[] = [];
const done: Record<string, number> = {};
const outcomes: Record<string, number> = {};
const count = (into: Record<string, number>, name: string, by = 1): void => {
  into[name] = (into[name] ?? 0) + by;
};

/** Another client's namespace behind the client's router. */
function secondClient(): Namespace {
  const space = Namespace.make();
  network.router.client.ip(
    `link add far2 type veth peer name eth0 netns ${space.path}`,
    'address add 10.1.2.1/24 dev far2',
    'address add fd00:1:2::1/64 dev far2 nodad',
    'link set far2 up',
  );
  space.ip(
    'address add 10.1.2.2/24 dev eth0',
    'address add fd00:1:2::2/64 dev eth0 nodad',
    'link set eth0 up',
    'route add default via 10.1.2.1',
    'route add default via fd00:1:2::1',
  );
  network.balancer.ip(
    'route add 10.1.2.0/24 via 10.1.0.1',
    'route add fd00:1:2::/64 via fd00:1::1',
  );
  return space;
}

async function start(space: Namespace, name: string, ...args: number[]): Promise<ChildProcess> {
  const program = fileURLToPath(new URL(`./path/${name}.ts`, import.meta.url));
  const child = space.run(() =>
    spawn(process.execPath, ['--import', 'tsx', program, ...args.map(String)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    }),
  );
  children.push(child);
  child.on('message', (message: { bad?: string; done?: Record<string, number> }) => {
    if (message.bad) bad.push(message.bad);
    for (const [kind, n] of Object.entries(message.done ?? {})) count(done, kind, n);
  });
  await once(child, 'message');
  return child;
}

async function serve(client: Socket): Promise<void> {
  client.on('error', () => client.destroy());
  const [head] = (await once(client, 'data')) as [Buffer];
  client.pause();
  const { family } = readRequest(head).request;
  const server = await connect({
    address: ADDRESS.server[family],
    port: 9000,
    source: ADDRESS.source[family],
    client,
    timeoutMs: 10_000,
  });
  server.on('error', () => server.destroy());
  const result = await splice(client, server, { toServer: head });
  if (result.spliced) {
    count(outcomes, await result.committed);
    return;
  }
  count(outcomes, result.reason);
  await relay(client, server, result);
}

test.before(async () => {
  await network.start();
  network.datapath.setTimeouts({ timewait: 2, close: 2, lastack: 5, finwait: 5 });
  for (const family of [4, 6] as const) {
    const proxy = createServer({ allowHalfOpen: true }, (client) => {
      serve(client).catch(() => client.resetAndDestroy());
    });
    await listen(proxy, { address: ADDRESS.virtual[family], port: 80, backlog: 1024 });
    proxy.unref();
  }
});

test.after(() => {
  for (const child of children) child.kill('SIGKILL');
});

test('every byte arrives, every break is told, and nothing is left', async () => {
  const spaces = [network.end.client, secondClient()];
  network.bundles(false);
  for (const space of [...spaces, network.end.server]) {
    network.rule(space, 'input', 'numgen random mod 100 < 1 drop');
  }
  await start(network.end.server, 'soak-server');
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, (_, i) =>
      start(spaces[i % spaces.length], 'soak-client', SEED + i, ROWS),
    ),
  );
  await sleep(SECONDS * 1000);
  const finished = clients.map((client) => once(client, 'message'));
  for (const client of clients) client.send('stop');
  await within(DRAIN_MS, 'the last transfers', Promise.all(finished));
  assert.equal(bad, []);
  console.log(
    JSON.stringify({ seed: SEED, done, outcomes, counters: network.datapath.counters() }),
  );
  assert.ok((outcomes.committed ?? 0) > 10 * SECONDS, JSON.stringify(outcomes));

  const sockets = (): string =>
    [network.balancer, network.end.server, ...spaces]
      .map((space) => space.exec('ss', '-tnH', 'state', 'connected', 'exclude', 'time-wait'))
      .join('');
  const entries = (): RecordView[] =>
    [...network.datapath.table.dump()].flatMap((chunk) =>
      Array.from(
        { length: chunk.length / RECORD_SIZE },
        (_, i) => new RecordView(chunk, i * RECORD_SIZE),
      ),
    );
  // of a flow whose reset was not believed, since its receiver would not either, the entry waits for its timeout
  const excused = (): number => network.datapath.counters().rst_refused;
  const left = (): string =>
    sockets() +
    (entries().length <= excused()
      ? ''
      : entries()
          .map((record) => `${stateName(record.state(0))}/${stateName(record.state(1))} `)
          .join(''));
  for (const deadline = performance.now() + 15_000; left() !== ''; await sleep(100)) {
    assert.ok(performance.now() < deadline, `left: ${left()}`);
  }
  for (const side of SIDES) network.lose(side, 0);
});

test.run();
