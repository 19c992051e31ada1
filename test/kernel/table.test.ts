// SPDX-License-Identifier: MIT
/** The splice table in the running kernel: claims, bulk work, expiry, events, adoption. */
import { mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Datapath, type DatapathOptions } from '../../kernel/datapath.js';
import { KernelError } from '../../kernel/error.js';
import { bpf, libc } from '../../kernel/native.js';
import {
  EventType,
  PROBES_MAX,
  RECORD_SIZE,
  Result,
  State,
  TUNABLES_SIZE,
  TunablesOffset,
} from '../../kernel/record/layout.js';
import { eventRecord, newRecord, RecordView } from '../../kernel/record/record.js';
import { cgroupRoot } from '../support/cgroup.js';
import { isolateOrSkip } from '../support/isolate.js';
import { timely } from '../support/timely.js';

await isolateOrSkip(import.meta.url);

const test = suite('the splice table');
const PIN_PATH = '/sys/fs/bpf/spliced';
const SIZE = 1000;
const HOUR_MS = 3_600_000;
let options: DatapathOptions;
let datapath: Datapath;
let events: { type: number; id: bigint; generation: number }[] = [];
let lost = 0;
let watch: { close(): void };

interface Wanted {
  id: number;
  clientPort?: number;
  serverPort?: number;
  epoch?: number;
  owner?: number;
  incarnation?: number;
  generation?: number;
  remainingMs?: number;
  idleMs?: number;
}

function record(wanted: Wanted): RecordView {
  const r = newRecord();
  r.id = BigInt(wanted.id);
  r.incarnation = BigInt(wanted.incarnation ?? 77);
  r.origin = 5;
  r.owner = wanted.owner ?? 5;
  r.epoch = wanted.epoch ?? 1;
  r.generation = wanted.generation ?? 1;
  r.setState(0, State.SPLICED);
  r.setState(1, State.SPLICED);
  r.remainingMs = wanted.remainingMs ?? HOUR_MS;
  r.idleMs = wanted.idleMs ?? 0;
  const client = r.tuple(0);
  client.source = '10.1.0.2';
  client.destination = '10.1.0.100';
  client.sourcePort = wanted.clientPort ?? wanted.id;
  client.destinationPort = 80;
  const server = r.tuple(1);
  server.source = '10.2.0.2';
  server.destination = '10.2.0.100';
  server.sourcePort = 8080;
  server.destinationPort = wanted.serverPort ?? wanted.id;
  return r;
}

const batch = (...records: RecordView[]): Uint8Array => Buffer.concat(records.map((r) => r.bytes));
const insert = (...wanted: Wanted[]): number[] => [
  ...datapath.table.insert(batch(...wanted.map(record)), { events: true }),
];

function dump(): RecordView[] {
  return [...datapath.table.dump()].flatMap((chunk) =>
    Array.from(
      { length: chunk.length / RECORD_SIZE },
      (_, i) => new RecordView(chunk, i * RECORD_SIZE),
    ),
  );
}

/** Make a pinned datapath look as if its maker had been killed before the end. */
function forgetMark(pinPath: string): void {
  const fd = bpf().objGet(`${pinPath}/tunables`);
  const key = Buffer.alloc(4);
  const tunables = Buffer.alloc(TUNABLES_SIZE);
  bpf().mapLookup(fd, key, tunables);
  tunables.writeUInt32LE(0, TunablesOffset.mark);
  bpf().mapUpdate(fd, key, tunables, 0);
  libc.close(fd);
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (holds()) return;
    await sleep(10);
  }
  assert.unreachable(`${what}, within 3 s`);
}

test.before(async () => {
  const cgroup = `${cgroupRoot()}/spliced-test-${process.pid}`;
  mkdirSync(cgroup);
  options = { pinPath: PIN_PATH, cgroup, interfaces: ['lo'], node: 5, tableSize: SIZE };
  datapath = await Datapath.open(options);
  watch = datapath.watch((bytes, count, more) => {
    lost += more;
    for (let i = 0; i < count; i++) {
      const r = eventRecord(bytes, i);
      events.push({
        type: new DataView(bytes.buffer, bytes.byteOffset + r.offset - 8).getUint32(0, true),
        id: r.id,
        generation: r.generation,
      });
    }
  });
});

test.after(async () => {
  watch.close();
  datapath.close();
  await Datapath.unload(PIN_PATH, ['lo']);
  rmdirSync(options.cgroup);
});

test.before.each(async () => {
  datapath.table.flush();
  await sleep(20); // the last test's events are read before they are forgotten
  events = [];
  lost = 0;
});

const real = timely(test, 10_000);

real('what goes in comes out, with this kernel counting the time', async () => {
  assert.equal(insert({ id: 1, remainingMs: 50_000, idleMs: 7_000 }), [Result.OK]);
  await sleep(30);
  const [r, ...more] = dump();
  assert.equal(more, []);
  assert.is(r.id, 1n);
  assert.is(r.tuple(0).sourcePort, 1);
  assert.ok(r.idleMs >= 7_000 && r.idleMs < 10_000, `idle ${r.idleMs}`);
  assert.ok(r.remainingMs < 50_000 && r.remainingMs > 47_000, `remaining ${r.remainingMs}`);
});

real('chunk after chunk goes in beside the work of its source, each with its own results', () => {
  const chunks = Array.from({ length: 10 }, (_, chunk) =>
    batch(...Array.from({ length: 90 }, (_, i) => record({ id: 100 * chunk + i + 1 }))),
  );
  chunks[4] = batch(record({ id: 995 }), record({ id: 101, clientPort: 995 }), record({ id: 996 }));
  for (const [expected, refused] of [
    [Result.OK, Result.TUPLE_TAKEN],
    [Result.EXISTS, Result.TUPLE_TAKEN],
  ]) {
    const told = new Map<Uint8Array, number[]>();
    const insertion = datapath.table.insertion((records, results) => {
      told.set(records, [...results]);
    });
    for (const chunk of chunks) insertion.put(chunk);
    insertion.finish();
    for (const chunk of chunks) {
      const results = Array.from({ length: chunk.length / RECORD_SIZE }, () => expected);
      if (chunk === chunks[4]) results[1] = refused;
      assert.equal(told.get(chunk), results);
    }
  }
  assert.is(datapath.table.live(), 9 * 90 + 2);
});

real('a record idle for longer than this machine has been up keeps its remaining time', () => {
  const years = 3 * 365 * 24 * HOUR_MS;
  insert({ id: 1, idleMs: Math.min(years, 0x7fffffff), remainingMs: 60_000 });
  const [r] = dump();
  assert.ok(r.remainingMs > 59_000 && r.remainingMs <= 60_000, `remaining ${r.remainingMs}`);
});

real('of two copies of a splice the stronger claim stays: epoch, owner, then generation', () => {
  insert({ id: 1, epoch: 2, owner: 5, generation: 3 });
  assert.equal(insert({ id: 1, epoch: 2, owner: 5, generation: 3 }), [Result.EXISTS]);
  assert.equal(insert({ id: 1, epoch: 1, owner: 9, generation: 9 }), [Result.EXISTS]);
  assert.equal(insert({ id: 1, epoch: 2, owner: 5, generation: 4 }), [Result.OK]);
  assert.equal(insert({ id: 1, epoch: 2, owner: 6, generation: 1 }), [Result.OK]);
  assert.equal(insert({ id: 1, epoch: 3, owner: 1, generation: 1 }), [Result.OK]);
  assert.equal(
    dump().map((r) => [r.epoch, r.owner, r.generation]),
    [[3, 1, 1]],
  );
});

real('of two splices of one table the later birth has the tuple, and wholly', () => {
  insert({ id: 5, clientPort: 10, serverPort: 20 });
  assert.equal(insert({ id: 4, clientPort: 10, serverPort: 21, epoch: 9 }), [Result.TUPLE_TAKEN]);
  assert.equal(insert({ id: 6, clientPort: 11, serverPort: 20 }), [Result.OK]);
  assert.equal(
    dump().map((r) => r.id),
    [6n],
  );
  // nothing of the loser is left: its client tuple is free
  assert.equal(insert({ id: 3, clientPort: 10, serverPort: 30 }), [Result.OK]);
});

real(
  'of two tables the one has it whose last packet is later, and the end of the other is told',
  async () => {
    const here = { id: 8, clientPort: 10, incarnation: 77, idleMs: 100, epoch: 3 };
    const old = { id: 9, clientPort: 10, incarnation: 78, idleMs: 5_000, epoch: 4 };
    insert(here);
    assert.equal(insert(old), [Result.TUPLE_TAKEN]);
    datapath.table.flush();
    insert(old);
    assert.equal([...datapath.table.insert(record(here).bytes)], [Result.OK]);
    await until('the DESTROY', () => events.some((e) => e.type === EventType.DESTROY));
    assert.equal(
      events.filter((e) => e.type === EventType.DESTROY).map((e) => e.id),
      [9n],
    );
  },
);

real('under one owner the later birth has the tuple, whatever the generations say', () => {
  insert({ id: 5, clientPort: 10, generation: 1 });
  assert.equal(insert({ id: 4, clientPort: 10, generation: 9 }), [Result.TUPLE_TAKEN]);
  assert.equal(insert({ id: 6, clientPort: 10, generation: 1 }), [Result.OK]);
  assert.equal(
    dump().map((r) => r.id),
    [6n],
  );
});

real('a record that no kernel could have announced is refused, and changes nothing', () => {
  const wrong = (change: (r: RecordView) => void): number => {
    const r = record({ id: 1 });
    change(r);
    return datapath.table.insert(r.bytes)[0];
  };
  assert.is(
    wrong((r) => {
      r.version = 9;
    }),
    Result.INVALID,
  );
  assert.is(
    wrong((r) => r.setState(0, State.PRE_SPLICED)),
    Result.INVALID,
  );
  assert.is(
    wrong((r) => r.setState(1, 200)),
    Result.INVALID,
  );
  assert.is(
    wrong((r) => {
      r.id = 0n;
    }),
    Result.INVALID,
  );
  assert.is(
    wrong((r) => {
      r.flags = 0xffff;
    }),
    Result.INVALID,
  );
  assert.equal(dump(), []);
});

real('a full table refuses by name, keeps what it has, and takes again once there is room', () => {
  const many = Array.from({ length: SIZE + 5 }, (_, i) => ({ id: i + 1 }));
  const results = insert(...many);
  assert.is(results.filter((r) => r === Result.OK).length, SIZE);
  assert.is(results.filter((r) => r === Result.TABLE_FULL).length, 5);
  assert.is(datapath.table.live(), SIZE);
  datapath.table.delete(record({ id: 1 }).bytes);
  assert.equal(insert({ id: SIZE + 9 }), [Result.OK]);
});

real(
  'in a full table a splice that has ended gives way, and says so; live ones never do',
  async () => {
    const ended = [400, 401].map((id) => {
      const r = record({ id });
      r.setState(0, State.TIMEWAIT);
      r.setState(1, State.TIMEWAIT);
      return r;
    });
    const live = Array.from({ length: SIZE - 2 }, (_, i) => record({ id: 1000 + i }));
    datapath.table.insert(batch(...live.slice(0, 300), ...ended, ...live.slice(300)));
    // one try looks at 512 slots, the next one goes on from there
    const tries = (id: number) => insert({ id }, { id }, { id });
    assert.ok(tries(1).includes(Result.OK));
    assert.ok(tries(2).includes(Result.OK));
    assert.equal(tries(3), [Result.TABLE_FULL, Result.TABLE_FULL, Result.TABLE_FULL]);
    await until(
      'both DESTROYs',
      () => events.filter((e) => e.type === EventType.DESTROY).length > 1,
    );
    const gone = events.filter((e) => e.type === EventType.DESTROY).map((e) => Number(e.id));
    assert.equal(gone.sort(), [400, 401]);
    assert.is(datapath.table.live(), SIZE);
  },
);

real('delete is by identity: a splice that has got the tuple meanwhile stays', () => {
  insert({ id: 2, clientPort: 1, serverPort: 1 });
  assert.equal([...datapath.table.delete(record({ id: 1 }).bytes)], [Result.NOT_FOUND]);
  assert.is(datapath.table.live(), 1);
});

real('each splice is announced once when it comes and once when it goes', async () => {
  insert({ id: 1 }, { id: 2 }, { id: 3 });
  datapath.table.delete(record({ id: 2 }).bytes, { events: true });
  datapath.table.delete(record({ id: 3 }).bytes);
  await until('four events', () => events.length >= 4);
  assert.equal(
    events.map((e) => [e.type, Number(e.id)]),
    [
      [EventType.NEW, 1],
      [EventType.NEW, 2],
      [EventType.NEW, 3],
      [EventType.DESTROY, 2],
    ],
  );
  assert.ok(events[3].generation > events[1].generation, 'DESTROY is the newer generation');
});

real('entries expire with no daemon at work, and say so', async () => {
  insert({ id: 1, remainingMs: 100 }, { id: 2 });
  await until('the short-lived one gone', () => datapath.table.live() === 1);
  await until('its DESTROY', () => events.some((e) => e.type === EventType.DESTROY && e.id === 1n));
  assert.is(dump()[0].id, 2n);
});

real('shorten caps what is left and leaves the shorter ones alone', () => {
  insert({ id: 1 }, { id: 2, remainingMs: 2_000 });
  assert.is(datapath.table.shorten(5_000), 1);
  const left = dump()
    .sort((a, b) => Number(a.id - b.id))
    .map((r) => Math.ceil(r.remainingMs / 1000));
  assert.equal(left, [5, 2]);
});

const unproven = (idleMs: number): [number, number][] =>
  [...datapath.table.unproven(idleMs)].flat().map((e) => [Number(e.record.id), e.probes]);

real('an entry that no packet proves is named three times to be probed, then it goes', async () => {
  insert({ id: 1, idleMs: 5_000 }, { id: 2, idleMs: 100 });
  const ended = record({ id: 3, idleMs: 5_000 });
  ended.setState(0, State.TIMEWAIT);
  ended.setState(1, State.TIMEWAIT);
  datapath.table.insert(ended.bytes);
  const [probed, gone] = [datapath.counter('probed'), datapath.counter('probe_expired')];
  assert.equal(unproven(60_000), []);
  for (const round of [1, 2, PROBES_MAX]) assert.equal(unproven(2_000), [[1, round]]);
  assert.equal(unproven(2_000), []);
  await until('its DESTROY', () => events.some((e) => e.type === EventType.DESTROY && e.id === 1n));
  assert.equal(
    dump().map((r) => r.id),
    [2n, 3n],
  );
  assert.is(datapath.counter('probed'), probed + 3);
  assert.is(datapath.counter('probe_expired'), gone + 1);
});

real('entries come with what has gone through them, in copies that stay as they are', () => {
  insert({ id: 1 }, { id: 2 });
  const entries = [...datapath.table.dumpEntries()].flat();
  datapath.table.flush();
  insert({ id: 3 });
  assert.is(datapath.table.live(), 1);
  assert.equal(
    entries.map((e) => [e.record.id, e.packets, e.bytes, e.probes]),
    [1n, 2n].map((id) => [id, [0, 0], [0, 0], 0]),
  );
});

real("flush can be told to take one owner's entries only", () => {
  insert({ id: 1, owner: 5 }, { id: 2, owner: 6 }, { id: 3, owner: 5 });
  assert.is(datapath.table.flush({ owner: 5 }), 2);
  assert.equal(
    dump().map((r) => r.owner),
    [6],
  );
});

real('a ring that is full loses events by number, never the splices', async () => {
  const before = datapath.counter('events_lost');
  const ids = Array.from({ length: SIZE }, (_, i) => ({ id: i + 1 }));
  // without a turn of the event loop nobody reads: 4 MiB hold some 24,900 events
  for (let round = 0; round < 16; round++) {
    insert(...ids);
    datapath.table.flush({ events: true });
  }
  const missing = datapath.counter('events_lost') - before;
  assert.ok(missing > 0, 'the ring overflowed');
  await until('every event read or reported lost', () => events.length + lost === 32 * SIZE);
  assert.is(lost, missing);
});

real('one cat of the pinned iterator shows the table in the old columns', () => {
  insert({ id: 0x1f, clientPort: 40001, serverPort: 50001 });
  const [head, line] = readFileSync(`${PIN_PATH}/table`, 'latin1').split('\n');
  assert.match(head, /^FromIP +FPrt ToIP +TPrt LocalIP +LPrt DestIP +DPrt State +Expires/);
  assert.match(
    line,
    /^0A010002 9C41 0A010064 0050 0A020064 C351 0A020002 1F90 SPLICED +(3599|3600) /,
  );
});

real('a new process adopts table, incarnation and splices', async () => {
  insert({ id: 1 });
  const again = await Datapath.open(options);
  assert.is(again.adopted, true);
  assert.is(again.incarnation, datapath.incarnation);
  assert.is(again.table.size, SIZE);
  assert.is(again.table.live(), 1);
  again.close();
});

real('what is wrong with the settings is said in words, and nothing is loaded', async () => {
  const wrong = async (change: Partial<DatapathOptions>): Promise<string> => {
    try {
      const opened = await Datapath.open({ ...options, pinPath: `${PIN_PATH}-2`, ...change });
      opened.close();
      return 'opened';
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      return error.message;
    }
  };
  assert.match(await wrong({ pinPath: '/tmp/spliced' }), /not on a bpf file system.*PinPath/);
  assert.match(await wrong({ cgroup: '/tmp' }), /no cgroup v2 directory/);
  assert.match(await wrong({ interfaces: ['eth99'] }), /interface eth99 does not exist/);
  assert.equal(readdirSync(`${PIN_PATH}-2`), [], 'no pin was made');
});

real('a start that was cut off before the table was whole is begun anew', async () => {
  insert({ id: 1 });
  forgetMark(PIN_PATH);
  watch.close();
  datapath.close();
  datapath = await Datapath.open(options);
  assert.is(datapath.adopted, false);
  assert.equal(insert({ id: 2 }), [Result.OK]);
  assert.is(datapath.table.live(), 1);
});

test.run();
