// SPDX-License-Identifier: MIT
/** Entries that are held for another owner: translated, in silence, until that one or a commit says otherwise. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EventType, Flag, RECORD_SIZE, Result, State } from '../../kernel/record/layout.js';
import { eventRecord, RecordView, stateName } from '../../kernel/record/record.js';
import { Golden } from '../support/golden.js';
import { isolateOrSkip } from '../support/isolate.js';
import { within } from '../support/within.js';

await isolateOrSkip(import.meta.url);
const golden = await Golden.open();
const { datapath } = golden;
const { table } = datapath;
const ME = 1;
const PEER = 9;
/** One round of the sweep over the table, and some. */
const SWEEP_MS = 1_200;
const FIN = {
  in: 'client > virtual FA seq  1000 ack 907000 win 512 ttl 64',
  out: 'proxy > server  FA seq 51000 ack   7000 win 256 ttl 63',
} as const;
const DATA = {
  in: 'client > virtual A seq  1000 ack 907000 win 512 ttl 64',
  out: 'proxy > server  A seq 51000 ack   7000 win 256 ttl 63',
} as const;

const test = suite('standby entries');
let events: { type: number; generation: number; owner: number }[] = [];
const watch = datapath.watch((bytes, count) => {
  for (let i = 0; i < count; i++) {
    const { generation, owner, offset } = eventRecord(bytes, i);
    const type = new DataView(bytes.buffer, bytes.byteOffset + offset - 8).getUint32(0, true);
    events.push({ type, generation, owner });
  }
});
const real = (name: string, body: () => Promise<void> | void): void =>
  test(name, () => within(10_000, name, Promise.resolve(body())));

/** What the peer says of the splice of golden.ts, with something changed. */
function said(change: (r: RecordView) => void = () => {}): RecordView {
  const r = new RecordView(template.slice());
  r.owner = r.origin = PEER;
  r.epoch = 3;
  r.generation = 4;
  r.flags |= Flag.STANDBY;
  change(r);
  return r;
}

const put = (r: RecordView): number => table.insert(r.bytes)[0];
const dump = (): RecordView[] =>
  [...table.dump()].flatMap((chunk) =>
    Array.from(
      { length: chunk.length / RECORD_SIZE },
      (_, i) => new RecordView(chunk, i * RECORD_SIZE),
    ),
  );
const only = (): RecordView => {
  const [r, ...more] = dump();
  assert.is(more.length, 0);
  return r;
};
const states = (r: RecordView): string =>
  ([0, 1] as const).map((leg) => stateName(r.state(leg))).join(' ');
const isHeld = (r: RecordView): boolean => (r.flags & Flag.STANDBY) !== 0;

golden.reset();
const template = only().bytes.slice(0, RECORD_SIZE);

test.before.each(async () => {
  table.flush();
  await sleep(20); // the events of the test before
  events = [];
});

test.after(async () => {
  watch.close();
  await golden.close();
});

real(
  'they are translated, and nothing that a packet does is told or counted as a change',
  async () => {
    assert.is(put(said()), Result.OK);
    golden.step({ title: 'data', ...DATA });
    golden.step({ title: 'a FIN', ...FIN, states: ['SPLICED', 'FIN_RELAYED'] });
    assert.is(only().generation, 4, 'the generation is what the owner has said');
    golden.step({
      title: 'its acknowledgement',
      in: 'server  > proxy  A seq   7000 ack 51001 win 80 ttl 64',
      out: 'virtual > client A seq 907000 ack  1001 win 10 ttl 63',
    });
    golden.step({
      title: 'a reset',
      in: 'client > virtual RA seq  1001 ack 907000 win 512 ttl 64',
      out: 'proxy > server  RA seq 51001 ack   7000 win 256 ttl 63',
    });
    assert.is(states(only()), 'CLOSE CLOSE');
    table.flush({ events: true });
    await sleep(50);
    assert.equal(events, []);
  },
);

real('an update of their owner takes the place of what was seen here', () => {
  put(said());
  golden.step({ title: 'a FIN', ...FIN });
  assert.is(put(said()), Result.EXISTS, 'the owner has said nothing new');
  const newer = said((r) => {
    r.generation = 5;
  });
  assert.is(put(newer), Result.OK);
  assert.is(states(only()), 'SPLICED SPLICED');
  assert.is(put(said()), Result.EXISTS, 'what is older comes late');
});

real('they do not expire, are not probed and not shortened while they live', async () => {
  const short = said((r) => {
    r.remainingMs = 1;
    r.idleMs = 60_000;
  });
  put(short);
  assert.is(table.shorten(1), 0);
  assert.equal([...table.unproven(0)], []);
  await sleep(SWEEP_MS);
  assert.ok(isHeld(only()));
});

real('a commit makes them own: what packets have taught stays, and FINs are told now', async () => {
  put(said());
  golden.step({ title: 'a FIN', ...FIN });
  const taken = datapath.counter('standby_taken');
  const own = said((r) => {
    r.owner = ME;
    r.epoch = 4;
    r.generation = 5;
    r.flags &= ~Flag.STANDBY;
  });
  assert.is(put(own), Result.OK);
  assert.is(datapath.counter('standby_taken'), taken + 1);
  const r = only();
  assert.not(isHeld(r));
  assert.equal([r.owner, r.epoch, r.generation], [ME, 4, 6]);
  assert.is(states(r), 'SPLICED FIN_RELAYED');
  const [entry] = [...table.dumpEntries()].flat();
  assert.is(entry.packets[0], 1, 'the live part is the same');
  await sleep(50);
  assert.equal(events, [{ type: EventType.UPDATE, generation: 6, owner: ME }]);
  assert.ok(r.remainingMs <= 120_000, `${r.remainingMs}: its own time counts again`);
  assert.is(put(said()), Result.EXISTS, 'the peer that has lost it does not get it back');
});

real('an own entry gives way to a stronger claim only, then in silence', async () => {
  const own = said((r) => {
    r.owner = ME;
    r.flags &= ~Flag.STANDBY;
  });
  put(own);
  const weaker = said((r) => {
    r.epoch = 2;
  });
  assert.is(put(weaker), Result.EXISTS);
  const other = said((r) => {
    r.epoch = 2;
    r.id = 77n;
  });
  assert.is(put(other), Result.TUPLE_TAKEN);
  assert.not(isHeld(only()));
  assert.is(put(said()), Result.OK, 'of one epoch the higher node wins');
  assert.ok(isHeld(only()));
  await sleep(50);
  assert.equal(events, []);
});

real('they can be deleted without touching what has become own', () => {
  put(said());
  assert.equal([...table.delete(said().bytes, { held: true })], [Result.OK]);
  assert.equal(dump(), []);
  const own = said((r) => {
    r.flags &= ~Flag.STANDBY;
  });
  put(own);
  assert.equal([...table.delete(said().bytes, { held: true })], [Result.NOT_FOUND]);
  assert.is(dump().length, 1);
});

real('one that has ended goes when its time is over', () => {
  const ended = said((r) => {
    for (const leg of [0, 1] as const) r.setState(leg, State.TIMEWAIT);
  });
  put(ended);
  assert.ok(only().remainingMs <= 120_000);
});

test.run();
