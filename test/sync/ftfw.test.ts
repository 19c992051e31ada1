// FTFW over a link that loses, doubles and reorders, in simulated time. Each run is its seed.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { RecordView } from '../../kernel/record/record.js';
import { content, converged, type Faults, World } from './world.js';

const ftfw = suite('ftfw');

/** Births, changes and deaths, some of them in the same turn. */
function busy(world: World, node: ReturnType<World['node']>, turns: number): void {
  const open: RecordView[] = [];
  for (let turn = 0; turn < turns; turn++) {
    world.after(turn * 3, () => {
      open.push(...node.open(4 + Math.floor(world.random() * 16)));
      for (let i = 0; i < 6; i++) {
        const at = Math.floor(world.random() * open.length);
        if (i % 2) node.change(open[at]);
        else node.close(...open.splice(at, 1));
      }
    });
  }
}

const LINKS: [string, Faults][] = [
  ['a clean link', {}],
  ['1 % loss', { loss: 0.01 }],
  ['10 % loss', { loss: 0.1 }],
  ['30 % loss', { loss: 0.3 }],
  ['every third datagram doubled', { duplication: 0.33 }],
  ['datagrams that overtake each other', { jitterMs: 8 }],
  ['all of that at once', { loss: 0.2, duplication: 0.2, jitterMs: 12 }],
];

for (const [what, faults] of LINKS) {
  ftfw(`two busy nodes converge exactly over ${what}`, () => {
    for (let seed = 1; seed <= 3; seed++) {
      const world = new World(seed);
      const a = world.node('lb-a');
      const b = world.node('lb-b');
      world.faults = faults;
      a.engine.start();
      b.engine.start();
      busy(world, a, 120);
      busy(world, b, 120);
      world.run(360);
      const idle = () =>
        a.engine.unacknowledged() + b.engine.unacknowledged() === 0 && converged(a, b);
      assert.ok(world.until(idle, 5000), `seed ${seed}: not equal 5 s after the last change`);
      assert.ok(a.engine.internal.size > 200, 'something was there to be replicated');
      assert.ok(a.engine.inSync && b.engine.inSync);
      assert.equal([...a.notices, ...b.notices], [], `seed ${seed}: nothing had to be given up`);
    }
  });
}

ftfw(
  'the last datagram of a burst is acknowledged within tens of milliseconds, lost or not',
  () => {
    const world = new World(7);
    const a = world.node('lb-a');
    const b = world.node('lb-b');
    a.engine.start();
    b.engine.start();
    world.run(100);
    const [record] = a.open();
    assert.not(a.engine.acknowledged(record.slice));
    assert.ok(world.until(() => a.engine.acknowledged(record.slice), 15));

    let lost = 0;
    world.lose = (_, from) => from === a && lost++ === 0;
    const [second] = a.open();
    assert.ok(world.until(() => a.engine.acknowledged(second.slice), 60));
    assert.equal(a.engine.unacknowledged(), 0);
    assert.equal(converged(a, b), true);
  },
);

ftfw('an ending that overtakes the birth never leaves a splice behind', () => {
  const world = new World(3);
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  a.engine.start();
  b.engine.start();
  world.run(100);
  // hold the birth back, let the ending pass, deliver the birth last
  world.recording = [];
  world.lose = () => true;
  const [record] = a.open();
  const birth = world.recording[0];
  world.lose = () => false;
  a.close(record);
  world.run(1);
  b.engine.receive(birth);
  world.run(1);
  assert.equal(b.external(a)?.size, 0);
  world.run(500);
  assert.equal(b.external(a)?.size, 0);
  assert.equal(a.engine.unacknowledged(), 0);
});

ftfw('a replay of everything changes nothing', () => {
  const world = new World(4);
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  world.recording = [];
  a.engine.start();
  b.engine.start();
  busy(world, a, 50);
  world.run(1000);
  const before = content(b.external(a));
  const replay = world.recording;
  world.recording = undefined;
  for (const datagram of replay) {
    b.engine.receive(datagram);
    a.engine.receive(datagram);
  }
  world.run(1000);
  assert.equal(content(b.external(a)), before);
  assert.ok(converged(a, b));
  assert.ok(b.engine.stats().network.rejected_duplicate > 50);
  assert.ok(a.engine.stats().network.rejected_own > 50);
});

ftfw(
  'a sender that starts anew keeps its records on the peer, and its bulk reconciles them',
  () => {
    const world = new World(5);
    const a = world.node('lb-a');
    const b = world.node('lb-b');
    a.engine.start();
    b.engine.start();
    const records = a.open(500);
    world.run(200);
    // while the daemon is away, a hundred end and nobody hears of it
    a.restart();
    for (const record of records.slice(0, 100)) a.kernel.delete(record.identity);
    a.resync();
    assert.equal(b.external(a)?.size, 500, 'kept until the bulk');
    a.engine.start();
    assert.ok(world.until(() => converged(a, b) && b.engine.inSync, 500));
    assert.equal(b.external(a)?.size, 400);
    assert.ok(b.changes.includes('restarted'));
  },
);

ftfw('a receiver that starts anew is filled by a bulk, also over a bad link', () => {
  const world = new World(6);
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  a.engine.start();
  b.engine.start();
  a.open(3000);
  world.run(200);
  world.faults = { loss: 0.1, jitterMs: 3 };
  b.restart();
  b.engine.start();
  busy(world, a, 100);
  assert.not(b.engine.inSync);
  world.run(310);
  assert.ok(world.until(() => converged(a, b) && b.engine.inSync, 3000));
});

ftfw('a bulk removes what was deleted behind the sender’s back', () => {
  const world = new World(8);
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  a.engine.start();
  b.engine.start();
  const records = a.open(2000);
  world.run(300);
  for (const record of records.slice(0, 700)) a.kernel.delete(record.identity);
  a.engine.flush('internal');
  assert.equal(b.external(a)?.size, 2000, 'a flush here takes nothing from the peer');
  a.resync();
  a.engine.bulk();
  world.run(300);
  assert.equal(b.external(a)?.size, 1300);
  assert.ok(converged(a, b));
});

ftfw('the end of a bulk takes nothing away while a part of the bulk is missing', () => {
  const world = new World(16);
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  a.engine.start();
  b.engine.start();
  a.open(20);
  world.run(200);
  let lost = 0;
  world.lose = (_, from) => from === a && lost++ === 0;
  a.engine.bulk();
  for (let i = 0; i < 200; i++) {
    world.run(1);
    assert.is(b.external(a)?.size, 20);
  }
  assert.is(b.engine.stats().network.bulks_received, 2);
});

ftfw('after a partition longer than the resend queue a bulk makes both equal, and says so', () => {
  const world = new World(9);
  const a = world.node('lb-a', { resendQueueSize: 1024 });
  const b = world.node('lb-b');
  a.engine.start();
  b.engine.start();
  const records = a.open(1000);
  world.run(200);
  world.lose = () => true;
  a.close(...records.slice(0, 500));
  for (let i = 0; i < 10; i++) {
    a.open(400);
    world.run(100);
  }
  assert.ok(a.notices.includes('resend-overflow'));
  world.lose = () => false;
  assert.ok(world.until(() => converged(a, b) && b.engine.peers()[0].inSync, 3000));
  assert.ok(b.notices.includes('lost-for-good'));
  assert.equal(b.external(a)?.size, 4500);
});

ftfw('a dead peer costs neither memory nor acknowledgements', () => {
  const world = new World(10);
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  const c = world.node('lb-c');
  for (const node of [a, b, c]) node.engine.start();
  world.run(200);
  b.down = true;
  world.run(5000);
  assert.ok(a.changes.includes('dead'));
  const [record] = a.open();
  world.run(100);
  assert.ok(a.engine.acknowledged(record.slice), 'the live peer is enough');
  assert.equal(a.engine.stats().queue.resend_used, 0);
  b.down = false;
  assert.ok(world.until(() => converged(a, b, c), 3000));
});

ftfw('acknowledgements are kept for each receiver', () => {
  const world = new World(11);
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  const c = world.node('lb-c');
  for (const node of [a, b, c]) node.engine.start();
  world.run(200);
  world.lose = (_, __, to) => to === c;
  const [record] = a.open();
  world.run(100);
  const unacknowledged = Object.fromEntries(
    a.engine.peers().map((peer) => [peer.name, peer.unacknowledged]),
  );
  assert.equal(unacknowledged, { 'lb-b': 0, 'lb-c': 1 });
  assert.not(a.engine.acknowledged(record.slice));
  assert.ok(a.engine.peers().some((peer) => peer.name === 'lb-c' && peer.lagMs >= 99));
  world.lose = () => false;
  assert.ok(world.until(() => a.engine.acknowledged(record.slice), 1500));
});

ftfw('three nodes under load and loss hold the same', () => {
  const world = new World(12);
  const nodes = ['lb-a', 'lb-b', 'lb-c'].map((name) => world.node(name));
  world.faults = { loss: 0.1, duplication: 0.1, jitterMs: 5 };
  for (const node of nodes) node.engine.start();
  for (const node of nodes) busy(world, node, 100);
  world.run(350);
  assert.ok(world.until(() => converged(...nodes), 4000));
});

ftfw('a node alone is in sync after StartupMs, and not before', () => {
  const world = new World(13);
  const a = world.node('lb-a');
  a.engine.start();
  world.run(1900);
  assert.not(a.engine.inSync);
  world.run(200);
  assert.ok(a.engine.inSync);
});

ftfw('a node whose clock went back is heard all the same', () => {
  const world = new World(14);
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  a.engine.start();
  b.engine.start();
  a.open(10);
  world.run(200);
  a.restart(1_600_000_000_000_000n);
  a.engine.start();
  a.open(5);
  assert.ok(world.until(() => converged(a, b) && b.engine.inSync, 3000));
  assert.equal(b.external(a)?.size, 15);
  assert.ok(a.notices.includes('incarnation-raised'));
});

ftfw('a full cache is said, counted, and not called in sync', () => {
  const world = new World(15);
  const a = world.node('lb-a');
  const b = world.node('lb-b', { hashLimit: 100 });
  a.open(300);
  a.engine.start();
  b.engine.start();
  world.run(4000);
  assert.ok(b.notices.includes('cache-full'));
  assert.equal(b.external(a)?.size, 100);
  assert.not(b.engine.inSync);
  assert.not(a.engine.peers()[0].holdsAll);
  assert.equal(a.engine.unacknowledged(), 300);
});

ftfw.run();
