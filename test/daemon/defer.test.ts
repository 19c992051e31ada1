// SPDX-License-Identifier: MIT
/*
 * Defer, with real splices: the drawing of test/kernel/two-legs.ts, where this process is the proxy, and two
 * daemons. One serves its table; the other is in a network namespace of its own, behind a link.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { call } from '../../daemon/control/index.js';
import type { StatusResult } from '../../daemon/control/protocol.js';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import { RecordView, stateName } from '../../kernel/record/record.js';
import { type SpliceOutcome, splice } from '../../kernel/splice.js';
import { PIN_PATH, TwoLegs } from '../kernel/two-legs.js';
import { cgroupRoot } from '../support/cgroup.js';
import { isolateOrSkip, run } from '../support/isolate.js';
import { within } from '../support/within.js';
import { until } from './pair.js';

await isolateOrSkip(import.meta.url);

const MAIN = fileURLToPath(new URL('../../daemon/main.ts', import.meta.url));
const DEFER_MS = 700;
const directory = mkdtempSync(join(tmpdir(), 'spliced-defer-'));
const peerCgroup = `${cgroupRoot()}/spliced-defer-${process.pid}`;
const socketOf = (name: string): string => join(directory, `${name}.ctl`);

const test = suite('Defer');
const real = (name: string, body: () => Promise<void>): void =>
  test(name, () => within(15_000, name, body()));
const legs = new TwoLegs();
const daemons = new Map<string, ChildProcess>();
const outcomes: SpliceOutcome[] = [];
let proxy: Server;

function start(
  name: string,
  pinPath: string,
  cgroup: string,
  address: string,
  enter: string[],
): void {
  const file = join(directory, `${name}.conf`);
  const link = `Multicast { IPv4_address 225.0.0.51 Group 3790 Interface sync IPv4_interface ${address} }`;
  writeFileSync(
    file,
    `Sync { Mode FTFW { Defer Yes
      DeferTimeout ${DEFER_MS}ms }
      ${link} }
    Kernel { Interface ${enter.length > 0 ? 'sync' : 'cli'}
      TableSize 4096 
      PinPath ${pinPath}
      Cgroup ${cgroup} }
    General { NodeName ${name}
      HashLimit 4096
      UNIX { Path ${socketOf(name)} } }`,
  );
  const argv = [...enter, process.execPath, '--import', 'tsx', MAIN, '-C', file];
  const child = spawn(argv[0], argv.slice(1), { stdio: ['ignore', 'ignore', 'inherit'] });
  writeFileSync(`${cgroupRoot()}/cgroup.procs`, `${child.pid}`); // not a proxy's
  daemons.set(name, child);
}

async function stop(name: string): Promise<void> {
  const child = daemons.get(name);
  daemons.delete(name);
  if (!child || child.exitCode !== null) return;
  child.kill('SIGCONT');
  child.kill('SIGTERM');
  await once(child, 'exit');
}

const status = (name: string): Promise<StatusResult | undefined> =>
  call(socketOf(name), 'status', {}, {}, { idleMs: 2000 }).catch(() => undefined);
const entries = (): RecordView[] =>
  [...legs.datapath.table.dump()].flatMap((chunk) =>
    Array.from(
      { length: chunk.length / RECORD_SIZE },
      (_, i) => new RecordView(chunk, i * RECORD_SIZE),
    ),
  );
const states = (): string =>
  entries()
    .map((r) => ([0, 1] as const).map((leg) => stateName(r.state(leg))).join(' '))
    .join();
const waits = (): boolean => legs.datapath.counter('deferred') > waited;
let waited = 0;
let expired = 0;

test.before(async () => {
  await legs.start();
  mkdirSync(peerCgroup);
  // the other node: a process that holds its namespace
  const holder = spawn('unshare', ['--net', 'sleep', '60'], { stdio: 'ignore' });
  daemons.set('holder', holder);
  while (run('readlink', `/proc/${holder.pid}/ns/net`) === run('readlink', '/proc/self/ns/net'));
  const there = ['nsenter', `--net=/proc/${holder.pid}/ns/net`];
  run(
    'ip',
    'link',
    'add',
    'sync',
    'type',
    'veth',
    'peer',
    'name',
    'sync',
    'netns',
    `${holder.pid}`,
  );
  run('ip', 'address', 'add', '10.9.0.1/24', 'dev', 'sync');
  run('ip', 'link', 'set', 'sync', 'up');
  run(there[0], there[1], 'ip', 'address', 'add', '10.9.0.2/24', 'dev', 'sync');
  run(there[0], there[1], 'ip', 'link', 'set', 'sync', 'up');
  start('a', PIN_PATH, legs.cgroup, '10.9.0.1', []);
  start('b', '/sys/fs/bpf/peer', peerCgroup, '10.9.0.2', there);
  await until('the two find each other', 12, async () => {
    const both = await Promise.all([status('a'), status('b')]);
    return both.every((one) => one?.peers.some((peer) => peer.state === 'in sync'));
  });
  proxy = await legs.proxy(async (client, server, head) => {
    const result = await splice(client, server, { toServer: head });
    if (result.spliced) outcomes.push(await result.committed);
  });
});

test.after(async () => {
  proxy?.close();
  for (const name of ['a', 'b']) await stop(name);
  daemons.get('holder')?.kill();
  await legs.stop();
  rmdirSync(peerCgroup);
  rmSync(directory, { recursive: true });
});

test.before.each(() => {
  outcomes.length = 0;
  waited = legs.datapath.counter('deferred');
  expired = legs.datapath.counter('defer_expired');
});

/** A client that writes for half a second. */
const transfer = (): Promise<{ ok: boolean }> =>
  legs.transfer({ verb: 'PUT', length: 100_000, piece: 5_000, paceMs: 40 });

real('a splice is SPLICED only when the peer has it, and data goes on until then', async () => {
  const peer = daemons.get('b');
  peer?.kill('SIGSTOP');
  const done = transfer();
  await until('the wait', 3, waits);
  const [{ packets }] = [...legs.datapath.table.dumpEntries()].flat();
  await sleep(DEFER_MS / 3);
  assert.match(states(), 'PRE_SPLICED');
  const [now] = [...legs.datapath.table.dumpEntries()].flat();
  assert.ok(now.packets[0] > packets[0], 'data goes on');
  assert.equal(outcomes, []);
  peer?.kill('SIGCONT');
  await until('the commit', 3, () => outcomes.length === 1);
  assert.is((await status('b'))?.external.entries, 1);
  assert.is(legs.datapath.counter('defer_expired'), 0);
  assert.ok((await done).ok);
});

real('with the link cut it goes on after DeferTimeout, which is counted', async () => {
  legs.datapath.table.flush({ events: true });
  run('ip', 'link', 'set', 'sync', 'down');
  const done = transfer();
  await until('the wait', 3, waits);
  const began = performance.now();
  assert.match(states(), 'PRE_SPLICED');
  await until('the commit', 3, () => outcomes.length === 1);
  const took = performance.now() - began;
  assert.ok(took > DEFER_MS / 2 && took < 2 * DEFER_MS, `${took} ms`);
  // on a slow machine the peer is given up before that: then nobody is waited for any more
  if (legs.datapath.deferMs > 0) assert.is(legs.datapath.counter('defer_expired'), expired + 1);
  assert.not.match(states(), 'PRE_SPLICED');
  run('ip', 'link', 'set', 'sync', 'up');
  assert.ok((await done).ok);
});

real('a peer that is gone is not waited for', async () => {
  legs.datapath.table.flush({ events: true });
  await stop('b');
  await until('the peer is gone', 5, () => legs.datapath.deferMs === 0);
  const done = transfer();
  await until('the commit', 3, () => outcomes.length === 1);
  assert.not(waits());
  assert.is(legs.datapath.counter('defer_expired'), expired);
  assert.ok((await done).ok);
});

test.run();
