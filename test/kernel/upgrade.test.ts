// SPDX-License-Identifier: MIT
// deadline: 90
/** Restart, upgrade and resizing under real flows, every byte of which is looked at. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Datapath, type DatapathOptions } from '../../kernel/datapath.js';
import { KernelError } from '../../kernel/error.js';
import { bpf, libc } from '../../kernel/native.js';
import { CGROUP_LINKS, linkedCgroup, Pins } from '../../kernel/pins.js';
import { RECORD_SIZE, Result, SocketOption, State } from '../../kernel/record/layout.js';
import { formatAddress, newRecord, RecordView, stateName } from '../../kernel/record/record.js';
import { boundSocket, Errno, spliceCall } from '../../kernel/socket.js';
import type { UpgradeReport, UpgradeStep } from '../../kernel/upgrade.js';
import { isolateOrSkip } from '../support/isolate.js';
import { within } from '../support/within.js';
import { TwoLegs } from './two-legs.js';
import { Traffic } from './upgrade/traffic.js';
import { otherObject, otherVersion } from './upgrade/variant.js';

await isolateOrSkip(import.meta.url);

const test = suite('restart, upgrade and resizing');
const PIN_PATH = '/sys/fs/bpf/spliced';
const HERE = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const OPENER = {
  built: `${HERE}/dist/test/kernel/upgrade/open.js`,
  source: `${HERE}/test/kernel/upgrade/open.ts`,
};
const legs = new TwoLegs();
const directory = mkdtempSync(join(tmpdir(), 'spliced-objects-'));
const openers: ChildProcess[] = [];
const traffic = new Traffic(legs);
let version: string | undefined;
let proxy: Server;
let options: DatapathOptions;

interface Opened {
  adopted: boolean;
  upgraded?: UpgradeReport;
  size: number;
  live: number;
}

/**
 * A process of its own that opens the datapath when it is told to, and ends when that is done or dies
 * on the way. It takes a while to start, so that it is made before the traffic.
 */
function opener(
  change: Partial<DatapathOptions> = {},
  { tree, dieAt = '' }: { tree?: string; dieAt?: UpgradeStep | '' } = {},
): () => Promise<Opened | undefined> {
  const json = JSON.stringify({ ...options, ...change });
  const child = tree
    ? fork(OPENER.source, [`${tree}/kernel/datapath.ts`, json], { execArgv: ['--import', 'tsx'] })
    : fork(OPENER.built, [`${HERE}/dist/kernel/datapath.js`, json, dieAt], { execArgv: [] });
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

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (holds()) return;
    await sleep(10);
  }
  assert.unreachable(`${what}, within 5 s`);
}

/** The sweep is at work on the table that is in use, and `cat` shows it. */
async function sweptAndShown(): Promise<void> {
  const record = newRecord();
  record.id = 1n;
  record.incarnation = 1n;
  record.origin = record.owner = 9;
  record.remainingMs = 200;
  for (const leg of [0, 1] as const) {
    record.setState(leg, State.SPLICED);
    record.tuple(leg).source = record.tuple(leg).destination = `10.99.${leg}.1`;
  }
  const shown = (): boolean => readFileSync(`${PIN_PATH}/table`, 'latin1').includes('0A630001');
  const expired = legs.datapath.counter('expired');
  assert.equal([...legs.datapath.table.insert(record.bytes)], [Result.OK]);
  assert.ok(shown());
  await until('it expires', () => !shown());
  assert.ok(legs.datapath.counter('expired') > expired);
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
  proxy = await traffic.proxy();
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
  await traffic.during(async () => {
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
  await traffic.during(async () => {
    const translated = legs.datapath.counter('translated');
    await reopen({ object });
    assert.is(legs.datapath.upgraded?.migrated, false);
    await sweptAndShown();
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
  await traffic.during(async () => {
    for (const size of [10_000, 300]) {
      const before = datapath.counter('translated');
      await datapath.resize(size);
      assert.is(datapath.table.size, size);
      assert.ok(datapath.table.live() > 3);
      await sleep(50);
      assert.ok(datapath.counter('translated') > before);
    }
    await sweptAndShown();
  });
  settled();
});

real('a version with another record layout takes over, and this one again', async () => {
  version = otherVersion({
    'record/record.h': [
      ['\t__u32 seq_d[2];', '\t__u32 tsval_x[2];\n\t__u32 seq_d[2];'],
      ['\t__u32 own_end[2];', '\t__u64 novelty;\n\t__u16 own_pad;\n\t__u32 own_end[2];'],
      ['\t__u32 node;\n', '\t__u64 newer_setting;\n\t__u32 node;\n'],
      ['\tSPLICE_CNT_TRANSLATED = 0,', '\tSPLICE_CNT_BEFORE = 0,\n\tSPLICE_CNT_TRANSLATED,'],
      ['#define SPLICE_BATCH_ITEMS 512', '#define SPLICE_BATCH_ITEMS 256'],
    ],
    'bpf/maps.h': [
      [
        '__type(key, __u8[16]);\n\t__type(value, __u8);',
        '__type(key, __u8[16]);\n\t__type(value, __u32);',
      ],
    ],
  });
  const guarded = (): string => {
    const pins = new Pins(PIN_PATH);
    const key = Buffer.alloc(16);
    assert.is(bpf().mapNextKey(pins.map('guard'), null, key), 0);
    pins.close();
    return formatAddress(key);
  };
  legs.datapath.setGuard(['10.9.9.9']);
  const open = opener({}, { tree: version });
  await traffic.during(async () => {
    const translated = legs.datapath.counter('translated');
    const { incarnation } = legs.datapath;
    const opened = await open();
    assert.is(opened?.upgraded?.migrated, true);
    assert.ok(opened && opened.live > 3, `${opened?.live} entries there`);
    assert.is(guarded(), '10.9.9.9');
    await reopen();
    assert.is(legs.datapath.upgraded?.migrated, true);
    assert.ok(legs.datapath.counter('translated') > translated, 'the counters went by name');
    assert.is(guarded(), '10.9.9.9');
    assert.is(legs.datapath.incarnation, incarnation);
  });
  settled();
});

real('a process that dies in an upgrade, wherever it is, leaves nothing broken', async () => {
  const steps = ['frozen', 'taking_over', 'switched', 'taken_over'] as const;
  const openings = steps.map((dieAt, i) => {
    const tableSize = 5000 + i;
    return { tableSize, dieAt, open: opener({ tableSize }, { dieAt }) };
  });
  await traffic.during(async () => {
    for (const { tableSize, dieAt, open } of openings) {
      legs.datapath.close();
      assert.is(await open(), undefined, dieAt);
      await reopen({ tableSize });
      assert.is(legs.datapath.table.size, tableSize, dieAt);
      const undone = legs.datapath.upgraded !== undefined;
      assert.is(undone, dieAt === 'frozen', `${dieAt}: done already, or done anew`);
      settled();
    }
  });
});

real('splices in the making go on in the new table as if nothing had been', async () => {
  legs.datapath.table.flush();
  const states = (): string[] =>
    [...legs.datapath.table.dumpEntries()]
      .flat()
      .map(({ record }) => `${stateName(record.state(0))} ${stateName(record.state(1))}`)
      .sort();
  traffic.outcomes.length = traffic.refusals.length = 0;
  legs.lose('server', 0);
  // what the proxy passes on is not acknowledged
  const chain = 'type filter hook input priority 0; tcp flags & psh == psh drop;';
  legs.in('server', 'nft', `table inet t { chain i { ${chain} }; }`);
  const written = traffic.transfer({ verb: 'PUT', length: 100_000, piece: 10_000, paceMs: 2 });
  const spare = boundSocket({ address: '10.1.0.100', port: 0 }) as number;
  const reserved = {
    legs: [1, 2].map((net) => ({
      far: { address: `10.${net}.0.3`, port: 5 },
      here: { address: `10.${net}.0.100`, port: 6 },
    })),
  };
  assert.is(spliceCall(spare, SocketOption.RESERVE, reserved), 0);
  const before = ['CLOSE CLOSE', 'SPLICED PRE_SPLICED'];
  await until('both stand', () => states().join() === before.join());
  await legs.datapath.resize(777);
  assert.equal(states(), before);
  assert.is(spliceCall(spare, SocketOption.RESERVE, reserved), Errno.EEXIST);
  assert.is(spliceCall(spare, SocketOption.ABORT, reserved), 0);
  libc.close(spare);
  legs.lose('server', 0);
  await written;
  await until('it ended', () => traffic.outcomes.length + traffic.refusals.length === 1);
  assert.equal(traffic.outcomes, ['committed'], `${traffic.refusals}`);
});

real('when the table is full the next pair is relayed, and what is spliced goes on', async () => {
  legs.datapath.table.flush();
  traffic.outcomes.length = traffic.refusals.length = 0;
  await legs.datapath.resize(3);
  const open = { verb: 'ALL', length: 10_000, finAfterMs: 800 } as const;
  const three = [1, 2, 3].map(() => traffic.transfer(open));
  await until('three splices', () => traffic.outcomes.length === 3);
  const full = legs.datapath.counter('table_full');
  await traffic.transfer({ verb: 'GET', length: 100_000 });
  assert.equal(traffic.refusals, ['table_full']);
  assert.ok(legs.datapath.counter('table_full') > full);
  await Promise.all(three);
  await until('they have ended', () =>
    [...legs.datapath.table.dump()].every((chunk) =>
      [0, 1, 2].every((i) => new RecordView(chunk, i * RECORD_SIZE).state(0) === State.TIMEWAIT),
    ),
  );
  const reclaimed = legs.datapath.counter('reclaimed');
  await traffic.transfer({ verb: 'GET', length: 100_000 });
  assert.equal(traffic.refusals, ['table_full'], 'one that had ended gave way');
  assert.is(legs.datapath.counter('reclaimed'), reclaimed + 1);
});

real('a cgroup that was removed and made again is attached to again', async () => {
  const pinPath = `${PIN_PATH}-2`;
  const cgroup = `${legs.cgroup}-2`;
  const links = (): boolean[] => {
    const pins = new Pins(pinPath);
    const id = statSync(cgroup, { bigint: true }).ino;
    const linked = Object.keys(CGROUP_LINKS).map((link) => linkedCgroup(pins.get(link)) === id);
    pins.close();
    return linked;
  };
  const other = { ...options, pinPath, cgroup, interfaces: [], tableSize: 64 };
  mkdirSync(cgroup);
  try {
    (await Datapath.open(other)).close();
    assert.equal(links(), [true, true]);
    rmdirSync(cgroup);
    mkdirSync(cgroup);
    assert.equal(links(), [false, false]);
    // with other programs at that, which find nothing to exchange there
    (await Datapath.open({ ...other, object: otherObject(directory, 'again') })).close();
    assert.equal(links(), [true, true]);
  } finally {
    await Datapath.unload(pinPath, []);
    rmdirSync(cgroup);
  }
});

real('a table too small for what is in it is refused, and nothing has changed', async () => {
  await legs.datapath.resize(2000);
  const refused = async (size: number): Promise<string> => {
    const error = await legs.datapath.resize(size).catch((e: unknown) => e);
    assert.instance(error, KernelError);
    return `${(error as KernelError).code}: ${(error as KernelError).message}`;
  };
  await traffic.during(async () => {
    assert.match(await refused(2), /^TABLE_TOO_SMALL: more than 2 splices.*TableSize/);
    assert.is(legs.datapath.table.size, 2000);
  });
  settled();
});

test.run();
