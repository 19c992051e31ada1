// ALARM in simulated time: everything again within RefreshTime, and out after CacheTimeout.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { content, converged, startedPair, World } from './world.js';

const alarm = suite('alarm');
const MODE = { mode: 'ALARM', refreshMs: 2000, cacheTimeoutMs: 10_000 };

const pair = (seed: number, options = {}) => startedPair(seed, { ...MODE, ...options });

for (const loss of [0.01, 0.1]) {
  alarm(`what ${100 * loss} % loss has taken comes again, and what is stale goes`, () => {
    for (let seed = 1; seed <= 2; seed++) {
      const [world, a, b] = pair(seed);
      world.faults = { loss };
      for (let turn = 0; turn < 60; turn++) {
        const records = a.open(10);
        world.run(5);
        a.close(...records.slice(0, 4));
        a.change(records[5]);
      }
      assert.is(a.engine.internal.size, 360);
      world.run(8000); // four rounds: lost in all of them is one in ten thousand
      const held = new Set(content(b.external(a)));
      const missing = content(a.engine.internal).filter((line) => !held.has(line));
      assert.is(missing.length, 0, `seed ${seed}`);
      world.run(6000);
      assert.ok(converged(a, b), `seed ${seed}: stale entries stay`);
      assert.ok(b.engine.inSync, 'a gap does not withdraw what this mode promises');
      assert.is(a.engine.stats().queue.bulks_sent, 1, 'the one at the start');
    }
  });
}

alarm('everything is said within RefreshTime, and at an even rate', () => {
  const [world, a, b] = pair(4);
  a.open(3000);
  world.run(500);
  const said = () => a.engine.stats().network.tx_records;
  const start = said();
  const rates: number[] = [];
  for (let i = 0; i < 20; i++) {
    const before = said();
    world.run(100);
    rates.push(said() - before);
  }
  assert.ok(said() - start >= 3000, `${said() - start} of 3000 in RefreshTime`);
  assert.ok(said() - start <= 3600, `${said() - start} of 3000: not much more than needed`);
  assert.ok(Math.max(...rates) < 1.4 * Math.min(...rates), `${rates}`);
  assert.ok(converged(a, b));
});

alarm('what is being said again is not owed', () => {
  const [world, a] = pair(5);
  const [record] = a.open(50);
  world.run(1200);
  for (let i = 0; i < 40; i++) {
    world.run(70);
    assert.is(a.engine.unacknowledged(), 0);
    assert.ok(a.engine.acknowledged(record.slice));
  }
});

alarm('the entries of a node that has gone silent leave after CacheTimeout, not before', () => {
  const [world, a, b] = pair(6);
  a.open(200);
  world.run(3000);
  a.down = true;
  world.run(7500);
  assert.is(b.external(a)?.size, 200);
  world.run(4000);
  assert.is(b.external(a)?.size, 0);
  assert.is(b.engine.stats().queue.cache_timeouts, 200);
});

alarm('the entries of a peer that does not refresh, since it is in another mode, stay', () => {
  const world = new World(7);
  const a = world.node('lb-a', { mode: 'FTFW' });
  const b = world.node('lb-b', MODE);
  a.engine.start();
  b.engine.start();
  a.open(100);
  world.run(15_000);
  assert.ok(converged(a, b));
  assert.ok(b.notices.includes('mode-differs'));
});

alarm('a start that gets no bulk is in sync after a round', () => {
  const world = new World(8);
  const a = world.node('lb-a', MODE);
  a.engine.start();
  a.open(100);
  world.run(300);
  const b = world.node('lb-b', MODE);
  // requests do not get through
  world.lose = (_, from) => from === b;
  b.engine.start();
  world.run(1500);
  assert.not(b.engine.inSync);
  assert.ok(world.until(() => b.engine.inSync, 2500));
  assert.ok(converged(a, b));
});

alarm('a peer that was cut off for long is brought up to date by a bulk', () => {
  const [world, a, b] = pair(9, { refreshMs: 60_000, cacheTimeoutMs: 600_000 });
  const records = a.open(300);
  world.run(300);
  world.lose = () => true;
  a.close(...records.slice(0, 100));
  a.open(50);
  world.run(5000);
  world.lose = () => false;
  world.run(1500);
  assert.ok(b.engine.peers()[0].inSync);
  assert.ok(converged(a, b));
});

alarm.run();
