// SPDX-License-Identifier: MIT
/** Hot standby: what a takeover leaves to the background, and what may come in between. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EventType, Flag, Result, State } from '../../kernel/record/layout.js';
import { RecordView } from '../../kernel/record/record.js';
import { Golden } from '../support/golden.js';
import { isolateOrSkip } from '../support/isolate.js';
import { within } from '../support/within.js';
import { ClaimsRig } from './claims-rig.js';

await isolateOrSkip(import.meta.url);
const SIZE = 4096;
const golden = await Golden.open(SIZE);
const { datapath } = golden;
let rig: ClaimsRig;

const test = suite('claims in the background');
const real = (name: string, body: () => Promise<void>): void =>
  test(name, () => within(10_000, name, body()));

test.before.each(() => {
  rig = new ClaimsRig(datapath);
});
test.after.each(async () => {
  await rig.life.claims.stop();
  rig.end();
});
test.after(() => golden.close());

function cutAfter(wanted: number): void {
  rig.onChunk = (chunks) => {
    if (chunks === wanted) void rig.life.claims.stop();
  };
}

/** a's splice between the ends of golden.ts, translated as there. */
function goldenBorn(): RecordView {
  golden.reset();
  const [bytes] = [...datapath.table.dump()];
  datapath.table.flush();
  const template = new RecordView(bytes);
  const [record] = rig.born(1, (r) => {
    for (const leg of [0, 1] as const) {
      const from = template.tuple(leg);
      const { source, destination, sourcePort, destinationPort } = from;
      Object.assign(r.tuple(leg), { source, destination });
      r.tuple(leg).sourcePort = sourcePort;
      r.tuple(leg).destinationPort = destinationPort;
      r.setSeqDelta(leg, [50_000, 900_000][leg]);
      r.setBase(leg, [1_000, 7_000][leg]);
      r.setWscaleIn(leg, [7, 6][leg]);
      r.setWscaleOut(leg, [9, 8][leg]);
    }
    r.flags = Flag.ACKED0 | Flag.ACKED1;
  });
  return record;
}
const ACK = {
  title: 'an acknowledgement',
  in: 'server  > proxy  A seq   7000 ack 51000 win 80 ttl 64',
  out: 'virtual > client A seq 907000 ack  1000 win 10 ttl 63',
} as const;
const RESET = {
  title: 'a reset',
  in: 'client > virtual RA seq  1000 ack 907000 win 512 ttl 64',
  out: 'proxy > server  RA seq 51000 ack   7000 win 256 ttl 63',
} as const;
const FIN = {
  title: 'a FIN',
  in: 'client > virtual FA seq  1000 ack 907000 win 512 ttl 64',
  out: 'proxy > server  FA seq 51000 ack   7000 win 256 ttl 63',
} as const;

real('nothing is done for each entry before a takeover goes on; then all become own', async () => {
  rig.born(3000);
  const { claims } = rig.life;
  const operations = datapath.counter('standby_taken');
  assert.is(claims.begin(undefined), 3000);
  assert.is(datapath.counter('standby_taken'), operations);
  assert.equal(claims.status, { total: 3000, left: 3000 });
  const destroyed = datapath.counter('destroyed');
  await rig.claimed();
  assert.is(claims.status, null);
  assert.equal(rig.counts(), { own: 3000, held: 0, internal: 3000, external: 0 });
  assert.is(datapath.counter('destroyed'), destroyed, 'none was away');
  assert.is(rig.a.external(rig.b)?.size, 3000, 'the peer has heard it');
  assert.is(rig.a.engine.internal.size, 0);
});

real('cut short in the middle, the rest stays held; the next takeover claims it', async () => {
  rig.born(2000);
  cutAfter(2);
  rig.life.claims.begin(undefined);
  await rig.claimed();
  assert.equal(rig.counts(), { own: 1024, held: 976, internal: 1024, external: 976 });
  cutAfter(Number.POSITIVE_INFINITY);
  assert.is(rig.life.claims.begin(undefined), 976);
  await rig.claimed();
  assert.equal(rig.counts(), { own: 2000, held: 0, internal: 2000, external: 0 });
});

real('a second takeover in the middle takes the place of the first', async () => {
  rig.born(2000);
  rig.onChunk = (chunks) => {
    rig.onChunk = () => {};
    if (chunks === 1) rig.life.claims.begin(undefined);
  };
  rig.life.claims.begin(undefined);
  await rig.claimed();
  assert.equal(rig.counts(), { own: 2000, held: 0, internal: 2000, external: 0 });
  assert.is(rig.life.claims.counters.claims_cut_short, 1);
  assert.is(rig.life.claims.counters.claimed, 2000);
});

real(
  'who waits for the claims waits for the second ones too, and not for those that are cut',
  async () => {
    rig.born(2000);
    const { claims } = rig.life;
    await claims.settled();
    rig.onChunk = (chunks) => {
      rig.onChunk = () => {};
      if (chunks === 1) claims.begin(undefined);
    };
    claims.begin(undefined);
    await claims.settled();
    rig.settle();
    assert.equal(rig.counts(), { own: 2000, held: 0, internal: 2000, external: 0 });
    rig.a.commit();
    rig.settle();
    cutAfter(2);
    claims.begin(undefined);
    await claims.settled();
    assert.ok(rig.counts().held > 0);
  },
);

real(
  'lost to the peer in the middle: what was claimed and what was not is held for it',
  async () => {
    rig.born(2000);
    cutAfter(2);
    rig.life.claims.begin(undefined);
    await rig.claimed();
    const destroyed = datapath.counter('destroyed');
    assert.is(rig.a.commit(), 1024);
    rig.settle();
    assert.equal(rig.counts(), { own: 0, held: 2000, internal: 0, external: 2000 });
    assert.is(datapath.counter('destroyed'), destroyed, 'and none was away');
  },
);

real('what a reset has torn down before its claim ends under that claim', async () => {
  const record = goldenBorn();
  assert.is(rig.life.claims.begin(undefined), 1);
  golden.step(ACK);
  golden.step({ ...RESET, states: ['CLOSE', 'CLOSE'] });
  await rig.claimed();
  const { own, held } = rig.kernel();
  assert.equal([own.length, held.length], [0, 1], 'late segments are answered');
  assert.is(held[0].state(0), State.CLOSE);
  assert.equal([rig.counts().internal, rig.counts().external], [0, 0]);
  assert.is(rig.a.engine.internal.size, 0, 'its last owner has heard of the end');
  // that one's claim, and what comes late of it, does not raise it
  rig.a.emit(EventType.NEW, record);
  rig.settle();
  assert.is(rig.counts().external, 0);
});

real(
  'an entry that is away before its claim is not put in again, and its end is told',
  async () => {
    goldenBorn();
    rig.life.claims.begin(undefined);
    golden.step(ACK);
    golden.step(RESET);
    golden.step({
      title: 'a new connection',
      in: 'client > virtual S seq 9000 win 512 ttl 64',
      verdict: 'stack',
      states: 'gone',
    });
    await rig.claimed();
    assert.equal(rig.counts(), { own: 0, held: 0, internal: 0, external: 0 });
    assert.is(rig.a.engine.internal.size, 0);
    assert.is(rig.b.engine.stats().ownership.local_held_ended, 1);
  },
);

real('a FIN that came before the claim is told with it', async () => {
  goldenBorn();
  rig.life.claims.begin(undefined);
  golden.step({ ...FIN, states: ['SPLICED', 'FIN_RELAYED'] });
  await rig.claimed();
  const [mine] = rig.kernel().own;
  assert.is(mine.state(1), State.FIN_RELAYED);
  const [chunk] = [...(rig.a.external(rig.b)?.chunks() ?? [])];
  const told = new RecordView(chunk);
  assert.is(told.state(1), State.FIN_RELAYED);
  assert.is(told.generation, mine.generation);
});

real(
  'what had no room in the kernel is put in when there is some; what has none is told',
  async () => {
    const records = rig.born(SIZE + 40);
    assert.is(rig.counts().held, SIZE);
    rig.a.close(...records.slice(0, 30));
    rig.settle();
    assert.equal(rig.counts(), { own: 0, held: SIZE - 30, internal: 0, external: SIZE + 10 });
    rig.life.claims.begin(undefined);
    await rig.claimed();
    assert.equal(rig.counts(), { own: SIZE, held: 0, internal: SIZE, external: 10 });
    assert.is(rig.b.engine.stats().ownership.commit_table_full, 10);
  },
);

real(
  'after a restart what is held for a node that is gone is claimed from the kernel',
  async () => {
    rig.born(600);
    rig.a.down = true;
    rig.restart();
    rig.world.run(5000);
    assert.equal(rig.counts(), { own: 0, held: 600, internal: 0, external: 0 });
    assert.is(rig.life.claims.begin(undefined), 0);
    await rig.claimed();
    assert.equal(rig.counts(), { own: 600, held: 0, internal: 600, external: 0 });
    const epochs = new Set(rig.kernel().own.map(({ epoch }) => epoch));
    assert.equal([...epochs], [rig.b.engine.epoch]);
    assert.ok(
      rig.kernel().own.every(({ remainingMs }) => remainingMs <= 60_000),
      'unless they answer',
    );
  },
);

real('what is held for a peer that lives is its own to say', async () => {
  rig.born(10);
  // the kernel holds one that the peer does not own any more, and nobody has removed it yet
  const [chunk] = [...datapath.table.dump()];
  const stale = new RecordView(chunk.slice(0, 152));
  stale.id = 999_999n;
  for (const leg of [0, 1] as const) stale.tuple(leg).sourcePort = 65_000;
  assert.equal([...datapath.table.insert(stale.bytes)], [Result.OK]);
  rig.life.claims.begin(undefined);
  await rig.claimed();
  assert.equal(rig.counts(), { own: 10, held: 1, internal: 10, external: 0 });
});

test.run();
