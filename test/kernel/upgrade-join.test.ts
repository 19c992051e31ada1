// SPDX-License-Identifier: MIT
/** What becomes of an entry that two tables have had packets of, while one takes over from the other. */
import { mkdirSync, rmdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Datapath } from '../../kernel/datapath.js';
import { Pins } from '../../kernel/pins.js';
import {
  BATCH_ITEM_SIZE,
  BatchItemOffset,
  EventType,
  Flag,
  LiveOffset,
  RECORD_SIZE,
  State,
} from '../../kernel/record/layout.js';
import { eventRecord, RecordView } from '../../kernel/record/record.js';
import { DescribedTable } from '../../kernel/upgrade-table.js';
import { cgroupRoot } from '../support/cgroup.js';
import { isolateOrSkip } from '../support/isolate.js';
import { timely } from '../support/timely.js';

await isolateOrSkip(import.meta.url);

const test = suite('joining two tables');
const PIN_PATH = '/sys/fs/bpf/spliced';
const COPIED = 1;
const JOINED = 2;
const cgroup = `${cgroupRoot()}/spliced-test-${process.pid}`;
let datapath: Datapath;
let pins: Pins;
let table: DescribedTable;
let events: number[] = [];
let watch: { close(): void };

interface Wanted {
  id?: number;
  port?: number;
  generation?: number;
  flags?: number;
  states?: [number, number];
  packets?: number;
  /** By direction; absent: nothing seen. */
  ends?: [number, number];
  acks?: [number, number];
  /** Of the client's FIN. */
  finEnd?: number;
}

/** An entry as another table would hand it over. */
class Item {
  readonly bytes = new Uint8Array(BATCH_ITEM_SIZE);
  readonly record = new RecordView(this.bytes);
  readonly live = new DataView(this.bytes.buffer, BatchItemOffset.live);

  constructor(bytes?: Uint8Array) {
    if (bytes) this.bytes.set(bytes);
  }

  static of(wanted: Wanted): Item {
    const item = new Item();
    const { record, live } = item;
    record.version = 1;
    record.id = BigInt(wanted.id ?? 1);
    record.incarnation = 7n;
    record.origin = record.owner = record.epoch = 1;
    record.generation = wanted.generation ?? 1;
    record.flags = wanted.flags ?? 0;
    const states = wanted.states ?? [State.SPLICED, State.SPLICED];
    for (const leg of [0, 1] as const) {
      record.setState(leg, states[leg]);
      const tuple = record.tuple(leg);
      tuple.source = `10.${leg}.0.2`;
      tuple.destination = `10.${leg}.0.1`;
      tuple.sourcePort = wanted.port ?? wanted.id ?? 1;
      tuple.destinationPort = leg ? (wanted.id ?? 1) : 80;
      live.setBigUint64(LiveOffset.packets + 8 * leg, BigInt(wanted.packets ?? 0), true);
      if (wanted.ends === undefined && wanted.acks === undefined) continue;
      live.setUint8(LiveOffset.seen + leg, 1);
      live.setUint32(LiveOffset.seenEnd + 4 * leg, wanted.ends?.[leg] ?? 0, true);
      live.setUint32(LiveOffset.seenAck + 4 * leg, wanted.acks?.[leg] ?? 0, true);
    }
    live.setBigUint64(LiveOffset.lastSeenNs, process.hrtime.bigint(), true);
    live.setUint32(LiveOffset.timeoutMs, 60_000, true);
    if (wanted.finEnd !== undefined) {
      live.setUint8(LiveOffset.finKnown, 1);
      live.setUint32(LiveOffset.finEnd, wanted.finEnd, true);
    }
    return item;
  }
}

function adopt(wanted: Wanted[], mark: number, join: boolean): void {
  const items = Buffer.concat(wanted.map((w) => Item.of(w).bytes));
  table.adopt(items, wanted.length, mark, join);
}

function entries(): Item[] {
  return [...table.changed(0n)].flatMap(({ items, count }) =>
    Array.from(
      { length: count },
      (_, i) => new Item(items.slice(i * BATCH_ITEM_SIZE, (i + 1) * BATCH_ITEM_SIZE)),
    ),
  );
}

/** What comes of one entry here and another version of it there. */
function joined(ours: Wanted, theirs: Wanted): Item {
  adopt([ours], COPIED, false);
  adopt([theirs], JOINED, true);
  const [item] = entries();
  return item;
}

test.before(async () => {
  mkdirSync(cgroup);
  const options = { pinPath: PIN_PATH, cgroup, interfaces: ['lo'], node: 1, tableSize: 64 };
  datapath = await Datapath.open(options);
  pins = new Pins(PIN_PATH);
  table = new DescribedTable(pins);
  watch = datapath.watch((bytes, count) => {
    for (let i = 0; i < count; i++) {
      const { offset } = eventRecord(bytes, i);
      events.push(new DataView(bytes.buffer, bytes.byteOffset + offset - 8).getUint32(0, true));
    }
  });
});

test.after(async () => {
  watch.close();
  table.close();
  pins.close();
  datapath.close();
  await Datapath.unload(PIN_PATH, ['lo']);
  rmdirSync(cgroup);
});

test.before.each(async () => {
  datapath.table.flush();
  await sleep(20);
  events = [];
});

const real = timely(test, 10_000);

real('an entry in any state is copied as it is, the later copy over the earlier one', () => {
  const held = { flags: Flag.OPEN0 | Flag.OPEN1, generation: 3 };
  adopt([{ ...held, states: [State.ESTABLISHED, State.ESTABLISHED] }], COPIED, false);
  adopt([{ ...held, states: [State.PRE_SPLICED, State.SPLICED], generation: 4 }], COPIED, false);
  const [item, ...more] = entries();
  assert.equal(more, []);
  assert.is(item.record.generation, 4);
  assert.equal([item.record.state(0), item.record.state(1)], [State.PRE_SPLICED, State.SPLICED]);
  assert.is(item.live.getUint32(LiveOffset.timeoutMs, true), 60_000);
});

real('of two copies with one address pair the later one is the living', () => {
  adopt([{ id: 1, port: 9 }], COPIED, false);
  adopt([{ id: 2, port: 9 }], COPIED, false);
  assert.equal(
    entries().map((item) => item.record.id),
    [2n],
  );
});

real('packets are added once, however often the end is begun anew', () => {
  adopt([{ packets: 500 }], COPIED, false);
  assert.is(entries()[0].live.getBigUint64(LiveOffset.packets, true), 0n, 'counted at the end');
  for (let i = 0; i < 3; i++) adopt([{ packets: 700 }], JOINED, true);
  assert.is(entries()[0].live.getBigUint64(LiveOffset.packets, true), 700n);
});

real('what has left the new table stays out, and what the old one lost meanwhile goes', () => {
  adopt([{ id: 1 }, { id: 2 }], COPIED, false);
  adopt([{ id: 2 }, { id: 3 }], JOINED, true);
  datapath.table.insert(Item.of({ id: 4 }).bytes.subarray(0, RECORD_SIZE));
  assert.is(
    [...table.flushLeft(JOINED)].reduce((sum, n) => sum + n),
    1,
  );
  assert.equal(
    entries().map((item) => item.record.id),
    [2n, 4n],
  );
});

real('a change that has been announced there is not announced again', async () => {
  const flags = Flag.FIN0 | Flag.FINACK0;
  const states: [number, number] = [State.SPLICED, State.SHUTDOWN];
  const item = joined({ flags: Flag.FIN0, generation: 5 }, { flags, states, generation: 6 });
  assert.is(item.record.flags, flags);
  assert.is(item.record.generation, 6);
  await sleep(30);
  assert.equal(events, []);
});

real('a FIN here and a FIN there are two, which nobody has heard of yet', async () => {
  const here = { flags: Flag.FIN0, states: [State.SPLICED, State.FIN_RELAYED] } as const;
  const there = { flags: Flag.FIN1, states: [State.FIN_RELAYED, State.SPLICED] } as const;
  const item = joined(
    { ...here, states: [...here.states], generation: 5 },
    { ...there, states: [...there.states], generation: 5 },
  );
  assert.is(item.record.flags, Flag.FIN0 | Flag.FIN1);
  assert.is(item.record.generation, 6);
  assert.equal(
    [item.record.state(0), item.record.state(1)],
    [State.FIN_RELAYED, State.FIN_RELAYED],
  );
  await sleep(30);
  assert.equal(events, [EventType.UPDATE]);
});

real('a FIN here and its acknowledgement there end the direction', () => {
  const item = joined(
    { flags: Flag.FIN0, states: [State.SPLICED, State.FIN_RELAYED], finEnd: 1000, ends: [1000, 0] },
    { acks: [0, 1000] },
  );
  assert.is(item.record.flags, Flag.FIN0 | Flag.FINACK0);
  assert.is(item.record.state(1), State.SHUTDOWN);
});

real('a reset in either table ends it in both', () => {
  const torn: [number, number] = [State.CLOSE, State.CLOSE];
  for (const [ours, theirs] of [
    [{ generation: 2 }, { states: torn, generation: 3 }],
    [{ states: torn, generation: 3 }, { generation: 4 }],
  ] as [Wanted, Wanted][]) {
    datapath.table.flush();
    const { record } = joined(ours, theirs);
    assert.equal([record.state(0), record.state(1)], torn);
  }
});

real('a socket that is closed in one table is closed', () => {
  const open = Flag.OPEN0 | Flag.OPEN1;
  const item = joined(
    { flags: open, states: [State.PRE_SPLICED, State.PRE_SPLICED], generation: 2 },
    { flags: Flag.OPEN1, states: [State.SPLICED, State.PRE_SPLICED], generation: 3 },
  );
  assert.is(item.record.flags, Flag.OPEN1);
  assert.equal([item.record.state(0), item.record.state(1)], [State.SPLICED, State.PRE_SPLICED]);
});

real('of what was seen the later counts, past the end of the numbers too', () => {
  const item = joined({ ends: [0xffffff00, 50], acks: [7, 9] }, { ends: [16, 40], acks: [8, 8] });
  const u32 = (field: number): number[] =>
    [0, 4].map((at) => item.live.getUint32(field + at, true));
  assert.equal(u32(LiveOffset.seenEnd), [16, 50]);
  assert.equal(u32(LiveOffset.seenAck), [8, 9]);
});

test.run();
