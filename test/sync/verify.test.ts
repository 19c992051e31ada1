// Does a peer hold what this node owns? Damage that nobody has noticed is found and repaired, and
// what merely changes meanwhile is no damage. In simulated time.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RECORD_SIZE, RecordOffset } from '../../kernel/record/layout.js';
import type { RecordView } from '../../kernel/record/record.js';
import type { VerifiedPeer } from '../../sync/api.js';
import { Identity } from '../../sync/identity.js';
import { converged, type Faults, type Node, World } from './world.js';

const verify = suite('verify');

function nodes(world: World, options: Parameters<World['node']>[1], ...names: string[]): Node[] {
  const made = names.map((name) => world.node(name, options));
  for (const node of made) node.engine.start();
  return made;
}

/** One round, as the operator would ask for it. */
function round(world: World, node: Node, repair: boolean, maxMs = 5000): VerifiedPeer[] {
  let result: VerifiedPeer[] | undefined;
  node.engine.verify(repair, (peers) => {
    result = peers;
  });
  world.until(() => result !== undefined, maxMs);
  assert.ok(result, 'the round has come to its end');
  return result;
}

const outcomes = (peers: VerifiedPeer[]) =>
  Object.fromEntries(peers.map(({ name, outcome }) => [name, outcome]));

function slotOf(holder: Node, owner: Node, record: RecordView): number {
  const slot = holder.external(owner)?.slotOf(record.slice) ?? -1;
  assert.ok(slot >= 0);
  return slot;
}

/** The holder's copy is not what its owner has said, and looks newer: as by a bug, or a bad memory. */
function damage(holder: Node, owner: Node, record: RecordView): void {
  const cache = holder.external(owner);
  const slot = slotOf(holder, owner, record);
  const copy = new DataView(new ArrayBuffer(RECORD_SIZE));
  cache?.render(slot, copy, 0);
  copy.setUint32(RECORD_SIZE - 24, 0xbad, true);
  copy.setUint32(RecordOffset.generation, 1000, true);
  cache?.overwrite(slot, cache.identity(slot, new Identity()), copy, 0, 0);
}

verify('equal caches are told equal, in one datagram of digests', () => {
  const world = new World(1);
  const [a, b] = nodes(world, {}, 'lb-a', 'lb-b');
  a.open(2000);
  world.run(300);
  const { tx_data } = a.engine.stats().network;
  const [peer] = round(world, a, true);
  assert.equal(peer, {
    node: b.id,
    name: 'lb-b',
    records: 2000,
    differed: 0,
    repaired: 0,
    outcome: 'equal',
  });
  assert.is(a.engine.stats().network.tx_data, tx_data + 1);
  assert.equal(outcomes(round(world, b, false)), { 'lb-a': 'equal' }, 'who owns nothing can ask');
});

verify('what was damaged, deleted or kept in silence is found, and repaired without a bulk', () => {
  const world = new World(2);
  const [a, b, c] = nodes(world, {}, 'lb-a', 'lb-b', 'lb-c');
  const records = a.open(3000);
  world.run(500);
  damage(b, a, records[7]);
  b.external(a)?.remove(slotOf(b, a, records[1500]));
  // the end of the third is not heard by b, and forgotten by a before it can be asked for
  const ghost = b.external(a)?.slotOf(records[2900].slice) ?? -1;
  const view = new DataView(new ArrayBuffer(RECORD_SIZE));
  b.external(a)?.render(ghost, view, 0);
  a.close(records[2900]);
  world.run(300);
  const key = new Identity().load(view, 0);
  b.external(a)?.upsert(key, view, 0);
  assert.not(converged(a, b));

  const found = round(world, a, false);
  assert.equal(outcomes(found), { 'lb-b': 'differs', 'lb-c': 'equal' });
  assert.is(found[0].differed, 3);
  assert.ok(a.notices.includes('verify-differs'));
  assert.not(converged(a, b), 'who only asks changes nothing');

  const { tx_records } = a.engine.stats().network;
  const { bulks_sent } = a.engine.stats().queue;
  world.run(1500);
  const repaired = round(world, a, true);
  assert.equal(outcomes(repaired), { 'lb-b': 'repaired', 'lb-c': 'equal' });
  assert.is(repaired[0].repaired, 3);
  assert.ok(converged(a, b, c));
  const after = a.engine.stats();
  assert.is(after.queue.bulks_sent, bulks_sent);
  assert.ok(after.network.tx_records - tx_records < 60, 'only what shares a bucket was said again');
  assert.is(after.network.verify_repaired, 3);
  assert.is(b.engine.stats().network.repaired_away, 1);
  assert.ok(a.notices.includes('verify-repaired'));
  assert.equal(a.demotions + b.demotions, 0);
});

verify('a node does so by itself, every VerifyInterval', () => {
  const world = new World(3);
  const [a, b] = nodes(world, { verifyMs: 10_000 }, 'lb-a', 'lb-b');
  const [record] = a.open(100);
  world.run(500);
  damage(b, a, record);
  assert.ok(world.until(() => converged(a, b), 13_000));
  assert.ok(world.until(() => a.notices.includes('verify-repaired'), 100));
  const { verify_rounds } = a.engine.stats().network;
  world.run(30_000);
  assert.ok(a.engine.stats().network.verify_rounds >= verify_rounds + 2);
  const quiet = new World(3);
  const [alone] = nodes(quiet, { verifyMs: 0 }, 'lb-a', 'lb-b');
  quiet.run(300_000);
  assert.is(alone.engine.stats().network.verify_rounds, 0);
});

verify('a flushed external cache is filled again, and called in sync', () => {
  const world = new World(4);
  const [a, b] = nodes(world, {}, 'lb-a', 'lb-b');
  a.open(5000);
  world.run(500);
  b.engine.flush('external');
  assert.not(b.engine.peers()[0].inSync);
  assert.equal(outcomes(round(world, a, true)), { 'lb-b': 'repaired' });
  assert.ok(converged(a, b));
  assert.ok(b.engine.peers()[0].inSync);
  world.run(100);
  assert.ok(a.engine.peers()[0].holdsAll);
});

const LINKS: [string, Faults][] = [
  ['a clean link', {}],
  ['10 % loss', { loss: 0.1 }],
  ['10 % loss, doubling and overtaking', { loss: 0.1, duplication: 0.2, jitterMs: 5 }],
];

for (const [what, faults] of LINKS) {
  verify(`under load, over ${what}, there is no false alarm, and damage is repaired`, () => {
    const world = new World(5);
    const [a, b] = nodes(world, { verifyMs: 0 }, 'lb-a', 'lb-b');
    const open = a.open(500);
    world.run(300);
    world.faults = faults;
    const busy = () => {
      open.push(...a.open(5));
      for (let i = 0; i < 3; i++) a.change(open[Math.floor(world.random() * open.length)]);
      a.close(...open.splice(Math.floor(world.random() * open.length), 3));
      world.after(4, busy);
    };
    busy();
    for (let i = 0; i < 4; i++) {
      const [{ outcome, differed }] = round(world, a, true, 20_000);
      assert.equal([outcome, differed], ['equal', 0], `round ${i}`);
      world.run(200);
    }
    const victim = open[400];
    if (b.external(a)?.slotOf(victim.slice) !== -1) damage(b, a, victim);
    const [{ outcome }] = round(world, a, true, 20_000);
    assert.is(outcome, 'repaired');
    assert.equal(a.notices.concat(b.notices), ['verify-repaired']);
  });
}

verify('a take-over under way is no difference, and neither is what it has not said yet', () => {
  const world = new World(6);
  const [a, b, c] = nodes(world, {}, 'lb-a', 'lb-b', 'lb-c');
  a.open(6000);
  world.run(500);
  // its last owner hears of it later than the third node
  world.lose = (_, from, to) => from === b && to === a;
  world.after(100, () => {
    world.lose = () => false;
  });
  b.commit();
  assert.equal(outcomes(round(world, a, true)), { 'lb-b': 'equal', 'lb-c': 'equal' });
  assert.equal(outcomes(round(world, b, true)), { 'lb-a': 'equal', 'lb-c': 'equal' });
  assert.ok(converged(a, b, c));
  assert.equal([...a.notices, ...b.notices, ...c.notices], []);
});

verify('what the operator has flushed here is not taken from the peers', () => {
  const world = new World(7);
  const [a, b] = nodes(world, { verifyMs: 5000 }, 'lb-a', 'lb-b');
  a.open(300);
  world.run(500);
  a.engine.flush('internal');
  world.run(20_000);
  assert.is(b.external(a)?.size, 300);
  a.resync();
  assert.equal(outcomes(round(world, a, true)), { 'lb-b': 'equal' });
});

verify('who does not answer, has no room or speaks the first version is said so', () => {
  const world = new World(8);
  const [a, b] = nodes(world, {}, 'lb-a', 'lb-b');
  const full = world.node('lb-c', { hashLimit: 64 });
  full.engine.start();
  a.open(100);
  world.run(500);
  world.lose = (_, from) => from === b;
  assert.equal(outcomes(round(world, a, true)), { 'lb-b': 'no-answer', 'lb-c': 'full' });
  assert.is(a.engine.stats().network.verify_unanswered, 1);

  const old = new World(9);
  const [newer] = nodes(old, {}, 'lb-a');
  const [older] = nodes(old, { versionMax: 1 }, 'lb-b');
  newer.open(100);
  old.run(500);
  assert.equal(outcomes(round(old, newer, true)), { 'lb-b': 'version' });
  assert.ok(converged(newer, older));
  const alone = new World(10);
  assert.equal(round(alone, nodes(alone, {}, 'lb-a')[0], true), []);
});

verify.run();
