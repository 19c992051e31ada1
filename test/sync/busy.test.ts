// What an owner says of the flows that have data under way, and what is left of it at a takeover.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import { RecordView } from '../../kernel/record/record.js';
import { BUSY_MAX } from '../../sync/busy.js';
import { converged, type Node, startedPair } from './world.js';

const busy = suite('busy flows');

const bytes = (records: readonly RecordView[]): Uint8Array =>
  Buffer.concat(records.map((record) => record.slice));

/** Identities of the flows that a node would care for first. */
function first(node: Node): string[] {
  const records = node.engine.busy();
  return Array.from(
    { length: records.length / RECORD_SIZE },
    (_, i) => new RecordView(records, i * RECORD_SIZE).identity,
  ).sort();
}

const identities = (records: readonly RecordView[]): string[] =>
  records.map(({ identity }) => identity).sort();

busy('each statement takes the place of the one before', () => {
  const [world, a, b] = startedPair(1, {});
  const records = a.open(1000);
  world.run(100);
  a.engine.sayBusy(bytes(records.slice(0, 600)));
  world.run(10);
  assert.equal(first(b), identities(records.slice(0, 600)));
  a.engine.sayBusy(bytes(records.slice(500)));
  world.run(10);
  assert.equal(first(b), identities(records.slice(500)));
  a.close(records[999]);
  world.run(10);
  assert.equal(first(b), identities(records.slice(500, 999)), 'what has ended is not there');
  a.engine.sayBusy(new Uint8Array());
  world.run(10);
  assert.equal(first(b), []);
  assert.equal(first(a), [], 'nobody has said anything to the owner');
});

busy('it is known at the takeover, and no hint any more afterwards', () => {
  const [world, a, b] = startedPair(2, {});
  const records = a.open(20);
  a.engine.sayBusy(bytes(records.slice(3, 5)));
  world.run(100);
  a.down = true;
  world.run(10_000);
  assert.equal(first(b), identities(records.slice(3, 5)), 'the owner has been dead for a while');
  b.commit();
  assert.equal(first(b), []);
});

busy('what has not changed is not said again for some seconds, and then it is', () => {
  const [world, a, b] = startedPair(3, {});
  const records = a.open(10);
  const said = (): number => a.engine.stats().network.busy_said;
  world.lose = () => true;
  a.engine.sayBusy(bytes(records));
  world.run(10);
  world.lose = () => false;
  assert.equal(first(b), []);
  for (let i = 0; i < 9; i++) {
    a.engine.sayBusy(bytes(records.toReversed()));
    world.run(500);
  }
  assert.is(said(), 10, 'the order says nothing');
  world.run(1000);
  a.engine.sayBusy(bytes(records));
  world.run(10);
  assert.is(said(), 20);
  assert.equal(first(b), identities(records));
  a.engine.sayBusy(new Uint8Array());
  const datagrams = a.engine.stats().network.tx_data;
  for (let i = 0; i < 20; i++) {
    a.engine.sayBusy(new Uint8Array());
    world.run(500);
  }
  assert.is(a.engine.stats().network.tx_data, datagrams, 'that nothing is busy is said once');
});

busy('no more than so many are said, and none to those who would not know them', () => {
  const [world, a, b] = startedPair(4, {});
  const records = a.open(BUSY_MAX + 5);
  world.run(500);
  a.engine.sayBusy(bytes(records));
  world.run(100);
  assert.is(first(b).length, BUSY_MAX);
  assert.is(a.engine.stats().network.busy_unsaid, 5);
  assert.is(b.engine.stats().network.busy_heard, BUSY_MAX);
  assert.ok(converged(a, b));

  const [old, c, d] = startedPair(5, { versionMax: 1 });
  c.engine.sayBusy(bytes(c.open(3)));
  old.run(100);
  assert.equal(first(d), []);
  assert.is(c.engine.stats().network.busy_said, 0);
});

for (const mode of ['FTFW', 'NOTRACK', 'ALARM']) {
  busy(`losses of it leave no gap in what counts (${mode})`, () => {
    const [world, a, b] = startedPair(6, { mode, refreshMs: 2000 });
    const records = a.open(500);
    world.run(100);
    world.faults = { loss: 0.3, duplication: 0.1, jitterMs: 3 };
    for (let i = 0; i < 30; i++) {
      a.engine.sayBusy(bytes(records.slice(10 * i, 10 * i + 300)));
      world.run(100);
    }
    world.faults = {};
    a.engine.sayBusy(bytes(records.slice(0, 7)));
    world.run(6000);
    assert.equal(first(b), identities(records.slice(0, 7)));
    assert.ok(converged(a, b));
    assert.ok(b.engine.inSync);
  });
}

busy.run();
