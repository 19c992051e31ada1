// SPDX-License-Identifier: MIT
// deadline: 120
/**
 * The proxy is killed (SIGKILL) while a splice is in the making: what can go on goes on, what cannot is
 * told to both ends, and nothing is left that the next proxy would stumble over. See two-legs.ts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Flag, RECORD_SIZE, State } from '../../kernel/record/layout.js';
import { RecordView } from '../../kernel/record/record.js';
import { isolateOrSkip } from '../support/isolate.js';
import { within } from '../support/within.js';
import { loseNone, loseSegment, segmentsLost } from './lose.js';
import { TwoLegs } from './two-legs.js';

await isolateOrSkip(import.meta.url);

/** Of all transfers: the next proxy meets the very addresses that the killed one had. */
const FROM = 40_000;
const OPEN = Flag.OPEN0 | Flag.OPEN1;
const test = suite('a proxy that is killed');
const legs = new TwoLegs();
let proxy: ChildProcess | undefined;
/** The next one, to be there by the time that it is needed. */
let spare = spawnProxy();
/** What the proxy has said, and nobody has looked at yet. */
let said: string[] = [];

function spawnProxy(): ChildProcess {
  const program = fileURLToPath(new URL('./ends/proxy.ts', import.meta.url));
  return spawn(process.execPath, ['--import', 'tsx', program], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

async function start(): Promise<void> {
  proxy = spare;
  spare = spawnProxy();
  said = [];
  proxy.on('message', (message) => said.push(message as string));
  proxy.send('listen');
  await says('ready');
}

async function says(expected: string): Promise<void> {
  await until(() => said.length > 0);
  assert.is(said.shift(), expected);
}

async function kill(child = proxy): Promise<void> {
  if (!child || child.signalCode) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

const entries = (): RecordView[] =>
  [...legs.datapath.table.dump()].flatMap((chunk) =>
    Array.from(
      { length: chunk.length / RECORD_SIZE },
      (_, i) => new RecordView(chunk, i * RECORD_SIZE),
    ),
  );

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}

/** A new proxy, and the same client from the same port. The proxy stays for the next test. */
async function nextProxyServes(): Promise<void> {
  await start();
  for (;;) {
    const transfer = legs.transfer({ verb: 'PUT', length: 50_000, from: FROM });
    let answer = '';
    transfer.then((result) => {
      answer = result.answer;
    });
    await until(() => answer !== '' || said.length > 0);
    if (answer.includes('EADDR')) continue; // its last connection is not quite closed yet
    await says('connected');
    proxy?.send('splice');
    await says('spliced');
    assert.ok((await transfer).ok, answer);
    return;
  }
}

test.before(async () => {
  await legs.start();
  writeFileSync(`${legs.cgroup}/cgroup.procs`, `${spare.pid}`);
});
test.before.each(async () => {
  if (!proxy || proxy.signalCode) await start(); // else the last test has left one
});
test.after(async () => {
  await kill();
  await kill(spare);
  await legs.stop();
});
test.after.each(() => {
  legs.lose('server', 0);
  loseNone();
  legs.datapath.table.flush();
});

const real = (name: string, body: () => Promise<void>): void =>
  test(name, () => within(12_000, name, body()));

real('with a pair that is not held yet: the client is told, the addresses are free', async () => {
  const transfer = legs.transfer({ verb: 'GET', length: 1000, from: FROM });
  await says('connected');
  assert.is(entries().length, 1);
  await kill();
  assert.is((await transfer).ok, false);
  await until(() => entries().length === 0);
  await nextProxyServes();
});

real('with both legs held: the client is told, the addresses are free', async () => {
  const lost = 777;
  loseSegment(lost);
  const pieces = { length: lost + 400, piece: lost, paceMs: 5 };
  const transfer = legs.transfer({ verb: 'PUT', ...pieces, from: FROM });
  await says('connected');
  await until(() => segmentsLost() > 1); // a later one has come: the pair will not settle
  proxy?.send('splice');
  await until(() => entries().some((e) => e.state(0) === State.ESTABLISHED));
  await kill();
  loseNone();
  assert.is((await transfer).ok, false);
  await until(() => entries().length === 0);
  await nextProxyServes();
});

for (const t of [
  { verb: 'GET', length: 2_000_000 },
  // less than a socket takes at once: none of it is left in the proxy's own memory
  { verb: 'PUT', length: 30_000, piece: 200, paceMs: 3 },
] as const) {
  real(`with its own bytes not acknowledged yet: a ${t.verb} goes on, every byte`, async () => {
    const transfer = legs.transfer({ ...t, from: FROM });
    await says('connected');
    legs.lose('server', 100);
    proxy?.send('splice');
    await says('spliced');
    await kill();
    legs.lose('server', 0);
    const { ok, answer } = await transfer;
    assert.ok(ok, answer);
    await until(() => entries().every((e) => (e.flags & OPEN) === 0));
    await nextProxyServes();
  });
}

real('with bytes in its own memory that nobody else has: both ends are told', async () => {
  proxy?.send('read all');
  const transfer = legs.transfer({ verb: 'SLOW', length: 8_000_000, pauseMs: 1, from: FROM });
  await says('connected');
  legs.lose('server', 100);
  proxy?.send('splice');
  await says('spliced');
  await kill();
  legs.lose('server', 0);
  assert.is((await transfer).ok, false);
  await until(() => entries().length === 0);
  assert.is(legs.in('server', 'ss', '-tnH', 'state', 'established', 'sport', '=', ':9000'), '');
  await nextProxyServes();
});

test.run();
