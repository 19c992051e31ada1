// SPDX-License-Identifier: MIT
// deadline: 90
/** Restart, upgrade and resizing under real flows, every byte of which is looked at. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Datapath, type DatapathOptions } from '../../kernel/datapath.js';
import { KernelError } from '../../kernel/error.js';
import { type RefusalReason, type SpliceOutcome, splice } from '../../kernel/splice.js';
import type { UpgradeReport, UpgradeStep } from '../../kernel/upgrade.js';
import { isolateOrSkip } from '../support/isolate.js';
import { within } from '../support/within.js';
import { TwoLegs } from './two-legs.js';
import { otherObject, otherVersion } from './upgrade/variant.js';

await isolateOrSkip(import.meta.url);

const test = suite('restart, upgrade and resizing');
const PIN_PATH = '/sys/fs/bpf/spliced';
const HERE = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const OPENER = fileURLToPath(new URL('upgrade/open.ts', import.meta.url));
const legs = new TwoLegs();
const directory = mkdtempSync(join(tmpdir(), 'spliced-objects-'));
const openers: ChildProcess[] = [];
const outcomes: SpliceOutcome[] = [];
const refusals: RefusalReason[] = [];
let version: string | undefined;
let proxy: Server;
let options: DatapathOptions;

interface Opened {
  adopted: boolean;
  upgraded?: UpgradeReport;
  size: number;
  live: number;
}

async function serve(client: Socket, server: Socket, head: Buffer): Promise<void> {
  const result = await splice(client, server, { toServer: head, settleTimeoutMs: 1000 });
  if (result.spliced) {
    outcomes.push(await result.committed);
    return;
  }
  refusals.push(result.reason);
  client.destroy();
  server.destroy();
}

/**
 * A process of its own that opens the datapath when it is told to, and ends when that is done or dies
 * on the way. It takes a while to start, so that it is made before the traffic.
 */
function opener(
  change: Partial<DatapathOptions> = {},
  { tree = HERE, dieAt = '' }: { tree?: string; dieAt?: UpgradeStep | '' } = {},
): () => Promise<Opened | undefined> {
  const json = JSON.stringify({ ...options, ...change });
  const child = fork(OPENER, [tree, json, dieAt], { execArgv: ['--import', 'tsx'] });
  openers.push(child);
  const exit = once(child, 'exit');
  let opened: Opened | undefined;
  child.on('message', (message) => {
    opened = message as Opened;
  });
  return async () => {
    child.send('go');
    await exit;
    return opened;
  };
}

/** Take the datapath into this process again, as it is. */
async function reopen(change: Partial<DatapathOptions> = {}): Promise<void> {
  legs.datapath.close();
  legs.datapath = await Datapath.open({ ...options, ...change });
}

/**
 * While body runs: long streams in both directions, and new splices made all the time. Not one may
 * break, and none may go without its splice.
 */
async function underTraffic(body: () => Promise<void>): Promise<void> {
  outcomes.length = refusals.length = 0;
  let over = false;
  const bad: string[] = [];
  let transfers = 0;
  const one = async (t: Parameters<typeof legs.transfer>[0]): Promise<void> => {
    const { ok, answer } = await legs.transfer(t);
    transfers++;
    if (!ok) bad.push(`${t.verb} ${t.length}: ${answer}`);
  };
  const again = async (t: Parameters<typeof legs.transfer>[0]): Promise<void> => {
    do await one(t);
    while (!over);
  };
  const traffic = [
    again({ verb: 'GET', length: 10_000_000 }),
    again({ verb: 'PUT', length: 1_500_000, paceMs: 4, piece: 20_000 }),
    again({ verb: 'PUT', length: 1_000_000, paceMs: 3, piece: 12_000, finAfterMs: 20 }),
    again({ verb: 'ALL', length: 400_000, paceMs: 5, piece: 9_000, finAfterMs: 1 }),
    again({ verb: 'GET', length: 3_000 }),
    again({ verb: 'GET', length: 100_000 }),
  ];
  await sleep(150);
  try {
    await body();
  } finally {
    await sleep(100);
    over = true;
    await Promise.all(traffic);
  }
  for (let i = 0; outcomes.length < transfers && i < 100; i++) await sleep(10);
  assert.equal(bad, [], `${bad.length} of ${transfers} wrong`);
  assert.equal(refusals, [], 'every pair was spliced');
  assert.equal(outcomes.filter((o) => o !== 'committed').length, 0, `${outcomes}`);
}

/** What is left of an upgrade: nothing. */
function settled(): void {
  const stages = readdirSync(PIN_PATH).filter((name) => name === 'next' || name.startsWith('tak'));
  assert.equal(stages, []);
}

test.before(async () => {
  await legs.start();
  options = {
    pinPath: PIN_PATH,
    cgroup: legs.cgroup,
    interfaces: ['cli', 'srv'],
    node: 1,
    tableSize: 4096,
  };
  // long streams need not be heavy ones
  const shape = ['tbf', 'rate', '100mbit', 'burst', '64kb', 'latency', '50ms'];
  legs.in('server', 'tc', 'qdisc', 'add', 'dev', 'eth0', 'root', ...shape);
  proxy = await legs.proxy((client, server, head) => {
    serve(client, server, head).catch((error) => console.error(error));
  });
});

test.after(async () => {
  proxy.close();
  for (const child of openers) child.kill('SIGKILL');
  await legs.stop();
  rmSync(directory, { recursive: true });
  if (version) rmSync(version, { recursive: true });
});

const real = (name: string, body: () => Promise<void>): void =>
  test(name, () => within(30_000, name, body()));

real('a process that holds the datapath goes and another one comes', async () => {
  const open = opener();
  await underTraffic(async () => {
    legs.datapath.close();
    const opened = await open();
    assert.is(opened?.adopted, true);
    assert.is(opened?.upgraded, undefined, 'the same programs go on');
    await reopen();
  });
});

real('other programs take over, with the table as it is', async () => {
  const object = otherObject(directory, 'later');
  const { incarnation } = legs.datapath;
  await underTraffic(async () => {
    const translated = legs.datapath.counter('translated');
    await reopen({ object });
    assert.is(legs.datapath.upgraded?.migrated, false);
    assert.ok(legs.datapath.counter('translated') >= translated, 'the counters go on');
    assert.is(legs.datapath.incarnation, incarnation);
    await reopen({ object });
    assert.is(legs.datapath.upgraded, undefined, 'they are known again');
    await reopen();
    assert.is(legs.datapath.upgraded?.migrated, false);
  });
  settled();
});

real('the table grows and shrinks while splices are made, used and ended', async () => {
  const { datapath } = legs;
  await underTraffic(async () => {
    for (const size of [10_000, 300, 4096]) {
      const before = datapath.counter('translated');
      await datapath.resize(size);
      assert.is(datapath.table.size, size);
      assert.ok(datapath.table.live() > 3);
      await sleep(50);
      assert.ok(datapath.counter('translated') > before);
    }
  });
  settled();
});

real('a version with another record layout takes over, and this one again', async () => {
  version = otherVersion((header) =>
    header
      .replace('\t__u32 seq_d[2];', '\t__u32 tsval_x[2];\n\t__u32 seq_d[2];')
      .replace('\t__u32 own_end[2];', '\t__u64 novelty;\n\t__u16 own_pad;\n\t__u32 own_end[2];')
      .replace('\t__u32 node;\n', '\t__u64 newer_setting;\n\t__u32 node;\n')
      .replace('\tSPLICE_CNT_TRANSLATED = 0,', '\tSPLICE_CNT_BEFORE = 0,\n\tSPLICE_CNT_TRANSLATED,')
      .replace('#define SPLICE_BATCH_ITEMS 512', '#define SPLICE_BATCH_ITEMS 300'),
  );
  const open = opener({}, { tree: version });
  await underTraffic(async () => {
    const translated = legs.datapath.counter('translated');
    const { incarnation } = legs.datapath;
    const opened = await open();
    assert.is(opened?.upgraded?.migrated, true);
    assert.ok(opened && opened.live > 3, `${opened?.live} entries there`);
    await reopen();
    assert.is(legs.datapath.upgraded?.migrated, true);
    assert.ok(legs.datapath.counter('translated') > translated, 'the counters went by name');
    assert.is(legs.datapath.incarnation, incarnation);
  });
  settled();
});

real('a process that dies in an upgrade, wherever it is, leaves nothing broken', async () => {
  const steps = ['prepared', 'copied', 'taking_over', 'switched', 'taken_over'] as const;
  const openings = steps.map((dieAt, i) => {
    const tableSize = 5000 + i;
    return { tableSize, dieAt, open: opener({ tableSize }, { dieAt }) };
  });
  await underTraffic(async () => {
    for (const { tableSize, dieAt, open } of openings) {
      legs.datapath.close();
      assert.is(await open(), undefined, dieAt);
      await reopen({ tableSize });
      assert.is(legs.datapath.table.size, tableSize, dieAt);
      const undone = dieAt === 'prepared' || dieAt === 'copied';
      assert.is(legs.datapath.upgraded !== undefined, undone, `${dieAt}: done already, or anew`);
      settled();
    }
  });
  await reopen();
});

real(
  'a table that is too small for what is in it is refused, and nothing has changed',
  async () => {
    await underTraffic(async () => {
      const error = await legs.datapath.resize(2).catch((e: unknown) => e);
      assert.ok(error instanceof KernelError);
      assert.is(error.code, 'TABLE_TOO_SMALL');
      assert.match(error.message, /more than 2 splices.*TableSize/);
      assert.is(legs.datapath.table.size, 4096);
    });
    settled();
  },
);

test.run();
