// NOTRACK in simulated time: each change is said once; what a gap costs is a bulk.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { converged, startedPair, World } from './world.js';

const notrack = suite('notrack');
const MODE = { mode: 'NOTRACK' };

const pair = (seed: number, options = {}) => startedPair(seed, { ...MODE, ...options });

notrack('over a clean link every change arrives, and nothing is kept of it', () => {
  const [world, a, b] = pair(1);
  const records = a.open(2000);
  a.close(...records.slice(0, 300));
  for (const record of records.slice(300, 400)) a.change(record);
  world.run(20);
  assert.ok(converged(a, b));
  assert.is(b.external(a)?.size, 1700);
  assert.ok(a.engine.inSync && b.engine.inSync);
  assert.is(a.engine.stats().queue.resend_used, undefined, 'no resend queue');
  assert.equal([...a.notices, ...b.notices], []);
});

notrack('datagrams that overtake each other are no gap', () => {
  const [world, a, b] = pair(2);
  world.faults = { jitterMs: 8, duplication: 0.2 };
  for (let turn = 0; turn < 50; turn++) {
    const records = a.open(10);
    world.run(3);
    a.close(...records.slice(0, 4));
  }
  world.run(100);
  assert.ok(converged(a, b));
  assert.is(b.engine.stats().queue.gaps, 0);
});

notrack('what is sent is known to have come without a report for each', () => {
  const [world, a] = pair(3);
  const reports = a.engine.stats().network.rx_overheard;
  const [record] = a.open();
  world.run(5);
  assert.is(a.engine.unacknowledged(), 1);
  assert.not(a.engine.acknowledged(record.slice));
  world.run(150);
  assert.is(a.engine.unacknowledged(), 0);
  assert.ok(a.engine.acknowledged(record.slice));
  assert.is(a.engine.peers()[0].lagMs, 0);
  assert.is(a.engine.stats().network.rx_overheard, reports);
});

notrack('a stream without a pause is asked about in between', () => {
  const [world, a] = pair(13);
  for (let i = 0; i < 60; i++) {
    a.open();
    world.run(50);
    assert.ok(a.engine.unacknowledged() <= 25, `${a.engine.unacknowledged()} after ${i}`);
  }
});

notrack('a large bulk waits for those who read it, and for nothing else', () => {
  const [world, a, b] = pair(14, { hashLimit: 20_000 });
  world.lose = () => true;
  for (let i = 0; i < 10; i++) a.open(2000);
  world.run(100);
  world.lose = () => false;
  const stalls = a.engine.stats().queue.bulk_stalls;
  a.engine.bulk();
  assert.ok(world.until(() => b.external(a)?.size === 20_000, 1500));
  // what was lost before was in flight, for all that is known
  assert.ok(a.engine.stats().queue.bulk_stalls - stalls <= 2);
});

notrack('a gap is counted, is not in sync, and is made good by one bulk', () => {
  const [world, a, b] = pair(4);
  a.open(500);
  world.run(200);
  let lost = 0;
  world.lose = (_, from) => from === a && lost++ === 0;
  const [record] = a.open();
  world.run(1);
  a.open();
  world.run(10);
  assert.ok(b.engine.peers()[0].inSync, 'it might only have been overtaken');
  assert.not(a.engine.acknowledged(record.slice));
  world.run(14);
  assert.is(b.engine.stats().queue.gaps, 1);
  assert.is(b.engine.stats().queue.lost_datagrams, 1);
  assert.ok(world.until(() => b.engine.peers()[0].inSync, 500));
  assert.ok(converged(a, b));
  assert.ok(b.engine.inSync, 'a short repair does not concern VRRP');
  assert.equal(b.notices, ['lost-for-good', 'recovered']);
  assert.is(a.engine.stats().queue.bulks_sent, 2, 'the one at the start, and this one');
  assert.ok(world.until(() => a.engine.acknowledged(record.slice), 200));
});

notrack('a lost last datagram is found by the question that follows it', () => {
  const [world, a, b] = pair(5);
  let lost = 0;
  world.lose = (_, from) => from === a && lost++ === 0;
  a.open(3);
  world.run(400);
  assert.ok(converged(a, b));
});

notrack('a difference that nobody has noticed is found by its digest, and repaired', () => {
  const [world, a, b] = pair(15, { verifyMs: 5000 });
  const [record] = a.open(400);
  world.run(200);
  const cache = b.external(a);
  cache?.remove(cache.slotOf(record.slice));
  assert.is(cache?.size, 399);
  world.run(12_000);
  assert.ok(converged(a, b));
  assert.is(a.engine.stats().queue.bulks_sent, 1, 'by itself, without a bulk');
});

notrack('a link that loses without end is not filled by bulks', () => {
  const [world, a, b] = pair(6);
  a.open(4000);
  world.run(300);
  const before = a.engine.stats().queue.bulks_sent;
  world.faults = { loss: 0.1 };
  for (let turn = 0; turn < 300; turn++) {
    a.close(...a.open(2));
    world.run(200);
  }
  const bulks = a.engine.stats().queue.bulks_sent - before;
  assert.ok(bulks >= 4 && bulks <= 10, `${bulks} bulks in a minute`);
  assert.not(b.engine.inSync, 'and says that it is not in sync');
  world.faults = {};
  assert.ok(
    world.until(() => b.engine.inSync, 32_000),
    'heals by itself',
  );
  assert.ok(converged(a, b));
});

for (const loss of [0.01, 0.1]) {
  notrack(`after ${100 * loss} % loss both are equal as soon as a bulk has come whole`, () => {
    for (let seed = 10; seed < 14; seed++) {
      const [world, a, b] = pair(seed);
      world.faults = { loss };
      for (let turn = 0; turn < 40; turn++) {
        const records = a.open(5);
        world.run(5);
        a.close(...records.slice(0, 4));
      }
      world.run(2000); // the last gap is known by now
      assert.ok(
        world.until(() => b.engine.peers()[0].inSync, 60_000),
        `seed ${seed}`,
      );
      assert.ok(converged(a, b), `seed ${seed}`);
    }
  });
}

notrack('nobody waits for a peer in another mode, and both say so', () => {
  const world = new World(7);
  const a = world.node('lb-a', { resendQueueSize: 1024 });
  const b = world.node('lb-b');
  const c = world.node('lb-c', MODE);
  for (const node of [a, b, c]) node.engine.start();
  world.run(500);
  assert.ok(a.notices.includes('mode-differs') && c.notices.includes('mode-differs'));
  assert.is(a.engine.peers().find(({ name }) => name === 'lb-c')?.mode, 'NOTRACK');
  world.lose = (_, from, to) => from === c && to === a;
  for (let i = 0; i < 6; i++) {
    a.open(500);
    world.run(50);
  }
  assert.is(a.engine.stats().queue.resend_used, 0);
  assert.is(a.engine.unacknowledged(), 0);
  assert.not(a.notices.includes('resend-overflow'));
  world.lose = () => false;
  world.run(3000);
  assert.ok(converged(a, b, c), 'and yet it gets all of it');
});

notrack.run();
