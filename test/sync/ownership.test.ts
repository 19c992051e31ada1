// Who owns what after takeovers, returns and splits, in simulated time.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import { RecordView } from '../../kernel/record/record.js';
import { parse, Segment } from '../../sync/wire.js';
import { content, converged, type Node, World } from './world.js';

const ownership = suite('ownership');

function pair(seed: number): { world: World; a: Node; b: Node } {
  const world = new World(seed);
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  a.engine.start();
  b.engine.start();
  return { world, a, b };
}

function split(world: World): void {
  world.lose = () => true;
  world.run(5000);
}

function heal(world: World): void {
  world.lose = () => false;
  world.run(3000);
}

ownership('a commit makes the dead node’s splices ours, under the next epoch', () => {
  const { world, a, b } = pair(1);
  const records = a.open(1200);
  world.run(300);
  a.down = true;
  world.run(4000);
  assert.equal(b.commit(), 1200);
  assert.equal(b.engine.internal.size, 1200);
  assert.equal(b.external(a)?.size, 0);
  assert.equal(b.kernel.size, 1200);
  const taken = new RecordView(b.kernel.get(records[0].identity) as Uint8Array);
  assert.equal([taken.owner, taken.epoch, taken.generation], [b.id, 2, 2]);
  assert.equal(b.commit(), 0, 'nothing left to take');
});

ownership('an old primary that comes back with its old table demotes what was taken over', () => {
  const { world, a, b } = pair(2);
  const records = a.open(600);
  world.run(300);
  split(world);
  b.commit();
  // ten of them end on the new owner: the old one still has them
  const taken = [...b.kernel.values()].slice(0, 10).map((bytes) => new RecordView(bytes.slice()));
  b.close(...taken);
  assert.equal(a.kernel.size, 600);
  heal(world);
  assert.equal(a.demotions, 600);
  assert.equal(a.kernel.size, 0, 'neither the moved nor the ended ones stay');
  assert.equal(a.external(b)?.size, 590);
  assert.equal(b.engine.internal.size, 590);
  assert.equal(b.external(a)?.size, 0);
  assert.ok(converged(a, b));
  assert.equal(records.length, 600);
});

ownership('what has ended after a takeover does not rise from a restarted old primary', () => {
  const { world, a, b } = pair(3);
  a.open(50);
  world.run(300);
  split(world);
  b.commit();
  b.close(...[...b.kernel.values()].map((bytes) => new RecordView(bytes.slice())));
  a.restart();
  a.engine.start();
  heal(world);
  assert.equal(a.kernel.size, 0);
  assert.equal(a.engine.internal.size, 0);
  assert.equal(b.external(a)?.size, 0);
  assert.equal(b.commit(), 0);
  assert.ok(b.engine.stats().ownership.dead > 0);
});

ownership('two masters: the higher (epoch, owner) wins on both sides', () => {
  const world = new World(4);
  const [a, b, c] = ['lb-a', 'lb-b', 'lb-c'].map((name) => world.node(name));
  for (const node of [a, b, c]) node.engine.start();
  c.open(300);
  world.run(500);
  // c dies, a and b do not hear each other, and both take over
  c.down = true;
  split(world);
  assert.equal(a.commit(), 300);
  assert.equal(b.commit(), 300);
  heal(world);
  const [winner, loser] = a.id > b.id ? [a, b] : [b, a];
  assert.equal(winner.engine.internal.size, 300);
  assert.equal(loser.engine.internal.size, 0);
  assert.equal(loser.kernel.size, 0);
  assert.equal(loser.demotions, 300);
  assert.ok(converged(a, b));
});

ownership('failback: the first owner takes its splices back under a higher epoch', () => {
  const { world, a, b } = pair(5);
  a.open(100);
  world.run(300);
  assert.equal(b.commit(), 100, 'a switchover, both alive');
  world.run(300);
  assert.equal(a.kernel.size, 0);
  assert.equal(a.commit(), 100);
  world.run(300);
  assert.equal([a.engine.internal.size, b.engine.internal.size], [100, 0]);
  assert.equal(b.kernel.size, 0);
  assert.equal(a.engine.epoch, 3);
  assert.ok(converged(a, b));
});

ownership('an address pair that is used again never meets the old offsets', () => {
  const { world, a, b } = pair(6);
  const [old] = a.open();
  world.run(50);
  // the ending is lost, the birth of the next splice on the same addresses is not
  let lost = 0;
  world.lose = (_, from) => from === a && lost++ === 0;
  a.close(old);
  const [next] = a.open();
  assert.equal(content(b.external(a)).length, 1);
  world.run(200);
  const held = content(b.external(a));
  assert.equal(held.length, 1);
  assert.ok(held[0].startsWith(next.identity));
});

ownership(
  'kernel events of splices that belong to somebody else, or are not done, stay here',
  () => {
    const { world, a, b } = pair(7);
    world.run(100);
    const foreign = b.record();
    a.emit(1, foreign);
    const unfinished = a.record();
    unfinished.setState(1, 2);
    a.emit(1, unfinished);
    a.close(a.record());
    world.run(100);
    assert.equal(b.external(a)?.size, 0);
    const { local_foreign, local_unfinished, local_unknown } = a.engine.stats().ownership;
    assert.equal([local_foreign, local_unfinished, local_unknown], [1, 1, 1]);
  },
);

ownership('records of a machine booted years apart keep their remaining time', () => {
  const YEAR = 365 * 86_400_000;
  const world = new World(8);
  const a = world.node('lb-a', { bootedAt: 12 * YEAR });
  const b = world.node('lb-b', { bootedAt: 5 });
  a.engine.start();
  b.engine.start();
  const record = a.record();
  record.remainingMs = 100_000;
  record.idleMs = 7;
  a.emit(1, record);
  world.run(30_000);
  const [chunk] = [...(b.external(a)?.chunks() ?? [])];
  const copy = new RecordView(chunk);
  assert.ok(Math.abs(copy.remainingMs - 70_000) <= 5, String(copy.remainingMs));
  assert.ok(Math.abs(copy.idleMs - 30_007) <= 5, String(copy.idleMs));
  // and a bulk sent later does not start the time anew
  b.restart();
  b.engine.start();
  world.run(10_000);
  const [again] = [...(b.external(a)?.chunks() ?? [])];
  assert.ok(Math.abs(new RecordView(again).remainingMs - 60_000) <= 5);
});

ownership(
  'a commit gives an idle-looking flow time to prove itself, and leaves the closed ones',
  () => {
    const { world, a, b } = pair(9);
    const flow = a.record();
    flow.remainingMs = 1000;
    const closing = a.record();
    closing.remainingMs = 1000;
    closing.setState(0, 5);
    a.emit(1, flow, closing);
    world.run(5000);
    assert.equal(b.commit(), 1);
    const [taken] = [...b.kernel.values()].map((bytes) => new RecordView(bytes));
    assert.equal(taken.remainingMs, 60_000);
    assert.equal(b.engine.stats().ownership.commit_expired, 1);
  },
);

/** b has just taken over what the dead a owned, c has listened; nothing has been said yet. */
function justTaken(seed: number, count: number) {
  const world = new World(seed);
  const [a, b, c] = ['lb-a', 'lb-b', 'lb-c'].map((name) => world.node(name));
  for (const node of [a, b, c]) node.engine.start();
  a.open(count);
  world.run(500);
  a.down = true;
  world.run(4000);
  const said = b.engine.stats().network.tx_records;
  assert.equal(b.commit(), count);
  assert.equal(b.engine.stats().network.tx_records, said, 'a commit waits for no network');
  const taken = [...b.kernel.values()].map((bytes) => new RecordView(bytes.slice()));
  return { world, a, b, c, taken };
}

ownership('a commit is said in turns, and nobody is taken to hold what was not said', () => {
  const { world, a, b, c, taken } = justTaken(10, 6000);
  assert.equal(b.engine.unacknowledged(), 6000);
  assert.not(taken.some((record) => b.engine.acknowledged(record.slice)));
  let most = 0;
  for (let i = 0; i < 400 && c.external(b)?.size !== 6000; i++) {
    const before = c.external(b)?.size ?? 0;
    world.run(0.2);
    most = Math.max(most, (c.external(b)?.size ?? 0) - before);
  }
  assert.ok(most <= 4096 + 512, `${most} at once`);
  assert.equal([c.external(b)?.size, c.external(a)?.size], [6000, 0]);
  world.run(100);
  assert.equal(b.engine.unacknowledged(), 0);
  assert.ok(taken.every((record) => b.engine.acknowledged(record.slice)));
  assert.equal(b.engine.stats().queue.announced_records, 6000);
});

ownership('what ends or changes before its turn has come is said as it is by then', () => {
  const { world, a, b, c, taken } = justTaken(11, 1000);
  b.close(...taken.slice(0, 300));
  for (const record of taken.slice(300, 400)) b.change(record);
  world.run(300);
  assert.equal([c.external(b)?.size, c.external(a)?.size], [700, 0]);
  assert.ok(converged(b, c));
  a.restart();
  a.down = false;
  a.engine.start();
  world.run(1000);
  assert.equal([a.kernel.size, a.external(b)?.size], [0, 700], 'what has ended stays so');
});

ownership('a bulk that passes by what was taken meanwhile ends when that has been said', () => {
  const world = new World(12);
  const [a, b, c] = ['lb-a', 'lb-b', 'lb-c'].map((name) => world.node(name));
  for (const node of [a, b, c]) node.engine.start();
  a.open(1500);
  world.run(500);
  b.open(5000);
  world.run(500);
  a.down = true;
  c.down = true;
  world.run(4000);
  c.restart();
  c.down = false;
  c.engine.start();
  while ((c.external(b)?.size ?? 0) < 1000) world.run(0.05);
  assert.not(c.engine.inSync);
  world.recording = [];
  b.commit();
  assert.ok(world.until(() => c.engine.inSync, 1000));
  const said = world.recording.flatMap((bytes) => {
    const datagram = parse(bytes);
    return typeof datagram === 'string' ? [] : datagram.segments.map(({ type }) => type);
  });
  const end = said.indexOf(Segment.BULK_END);
  const records: number[] = [Segment.RECORD, Segment.RECORD4, Segment.RECORD6];
  assert.ok(end > 0 && !said.slice(end).some((type) => records.includes(type)));
  assert.equal(c.external(b)?.size, 6500);
});

ownership('a live owner hears at once of what was taken from it', () => {
  const { world, a, b } = pair(13);
  a.open(2000);
  world.run(300);
  b.commit();
  world.run(0.5);
  assert.equal(a.kernel.size, 0);
});

ownership('what is heard while the kernel inserts decides: a stronger claim, or an end', () => {
  const world = new World(14);
  const [a, b, c] = ['lb-a', 'lb-b', 'lb-c'].map((name) => world.node(name));
  for (const node of [a, b, c]) node.engine.start();
  a.open(30);
  world.run(500);
  a.down = true;
  world.run(4000);
  const [slow, quick] = b.id > c.id ? [c, b] : [b, c];
  const [chunk] = [...slow.engine.plan()];
  assert.equal(quick.commit(), 30, 'under the same epoch, and with the higher id');
  world.run(100);
  const taken = [...quick.kernel.values()].map((bytes) => new RecordView(bytes.slice()));
  quick.close(...taken.slice(0, 10));
  world.run(100);
  for (let at = 0; at < chunk.length; at += RECORD_SIZE) {
    const record = new RecordView(chunk, at);
    slow.kernel.set(record.identity, record.slice.slice());
  }
  assert.equal(slow.engine.committed(chunk, new Uint32Array(30)), 0);
  assert.equal([slow.kernel.size, slow.external(quick)?.size], [0, 20]);
  assert.equal(slow.engine.stats().ownership.commit_beaten, 30);
  world.run(500);
  assert.equal([quick.kernel.size, quick.demotions], [20, 0]);
  assert.ok(converged(b, c));
});

ownership('a claim that another one has beaten is asked for again when that one goes', () => {
  const world = new World(15);
  const [a, b, c] = ['lb-a', 'lb-b', 'lb-c'].map((name) => world.node(name, { verifyMs: 0 }));
  for (const node of [a, b, c]) node.engine.start();
  const [record] = c.open(1);
  world.run(500);
  // c does not hear that a has taken it, and b does
  world.lose = (_, from, to) => from === a && to === c;
  a.commit();
  world.run(10);
  assert.is(b.external(a)?.size, 1);
  a.down = true;
  c.change(record);
  world.run(500);
  assert.is(b.external(c)?.size, 0, 'the weaker claim');
  a.kernel.clear();
  // it asks nobody: c has no other reason to say all once more
  a.options = { ...a.options, startupResync: false };
  a.restart();
  a.down = false;
  world.lose = () => false;
  a.engine.start();
  world.run(5000);
  assert.equal([b.external(a)?.size, b.external(c)?.size], [0, 1]);
  assert.ok(converged(b, c));
});

ownership.run();
