// Options of the modes: what lies in the kernel too, what waits for a peer, what is not kept at all.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EventType, RECORD_SIZE } from '../../kernel/record/layout.js';
import { RecordView } from '../../kernel/record/record.js';
import type { NoticeCode, SyncEvents } from '../../sync/api.js';
import { content, converged, type Node, World } from './world.js';

function each(records: Uint8Array, fn: (record: RecordView) => void): void {
  for (let at = 0; at < records.length; at += RECORD_SIZE) fn(new RecordView(records, at));
}

/** What an engine calls back, as its kernel would take it: entries by identity. */
class Kernel implements SyncEvents {
  readonly table = new Map<string, Uint8Array>();
  readonly replicatedIds: bigint[] = [];
  readonly notices: [code: NoticeCode, message: string][] = [];
  largest = 0;

  demoted(records: Uint8Array): void {
    each(records, (record) => this.table.delete(record.identity));
  }
  ended(records: Uint8Array): void {
    this.demoted(records);
  }
  standby(records: Uint8Array): void {
    this.largest = Math.max(this.largest, records.length / RECORD_SIZE);
    each(records, (record) => this.table.set(record.identity, record.slice.slice()));
  }
  standbyGone(records: Uint8Array): void {
    each(records, (record) => this.table.delete(record.identity));
  }
  replicated(records: Uint8Array): void {
    each(records, (record) => this.replicatedIds.push(record.id));
  }
  *readKernel(): Generator<Uint8Array> {
    for (const record of this.table.values()) yield record;
  }
  notice(code: NoticeCode, message: string): void {
    this.notices.push([code, message]);
  }
  syncChanged(): void {}
  peerChanged(): void {}
  epochChanged(): void {}

  /** Does it hold exactly what the caches of a node's peers do? */
  equals(node: Node): boolean {
    const held = [...node.engine.external.values()].flatMap((cache) => content(cache));
    const lines = [...this.table.values()].map((slice) => {
      const record = new RecordView(slice.slice());
      record.remainingMs = 0;
      record.idleMs = 0;
      return `${record.identity} ${Buffer.from(record.slice).toString('latin1')}`;
    });
    return lines.sort().join('\n') === held.sort().join('\n');
  }
}

const standby = suite('DisableExternalCache');

standby('the kernel holds what the external caches do: births, changes, ends, bulks', () => {
  const world = new World(1);
  const kernel = new Kernel();
  const a = world.node('lb-a');
  const b = world.node('lb-b', { disableExternalCache: true, events: kernel });
  a.engine.start();
  b.engine.start();
  world.run(100);
  const records = a.open(1500);
  world.run(50);
  assert.is(kernel.table.size, 1500);
  assert.ok(kernel.largest <= 512);
  a.close(...records.slice(0, 400));
  for (const record of records.slice(400, 600)) a.change(record);
  world.run(50);
  assert.ok(kernel.equals(b));
  // what ended behind everybody's back is found by a bulk
  for (const record of records.slice(600, 700)) a.kernel.delete(record.identity);
  a.engine.flush('internal');
  a.resync();
  a.engine.bulk();
  world.run(100);
  assert.is(kernel.table.size, 1000);
  assert.ok(kernel.equals(b));
  b.engine.flush('external');
  assert.is(kernel.table.size, 0);
});

standby('a splice that changes hands between two peers stays, one that is committed too', () => {
  const world = new World(2);
  const kernel = new Kernel();
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  const c = world.node('lb-c', { disableExternalCache: true, events: kernel });
  for (const node of [a, b, c]) node.engine.start();
  a.open(700);
  world.run(200);
  b.commit();
  world.run(200);
  assert.is(kernel.table.size, 700);
  assert.ok(kernel.equals(c));
  let gone = 0;
  kernel.standbyGone = () => gone++;
  c.commit();
  world.run(200);
  assert.is(c.engine.internal.size, 700);
  c.close(...[...c.kernel.values()].slice(0, 9).map((slice) => new RecordView(slice.slice())));
  world.run(10);
  assert.is(c.engine.internal.size, 691);
  assert.is(gone, 0, 'what is ours is not for a peer to take out of the kernel');
});

const defer = suite('Defer');

defer('a birth is named as soon as one live peer holds it, and not before', () => {
  const world = new World(3);
  const kernel = new Kernel();
  const a = world.node('lb-a', { defer: true, events: kernel });
  const b = world.node('lb-b');
  a.engine.start();
  b.engine.start();
  world.run(100);
  a.open(3);
  assert.equal(kernel.replicatedIds, []);
  world.run(1);
  assert.equal(kernel.replicatedIds, [1n, 2n, 3n], 'a report was asked for at once');
  world.lose = (_, from) => from === a;
  const [record] = a.open();
  a.change(record);
  world.run(1000);
  assert.is(kernel.replicatedIds.length, 3, 'nobody has it');
  world.lose = () => false;
  world.run(1000);
  assert.equal(kernel.replicatedIds, [1n, 2n, 3n, 4n], 'once, and not for its change');
});

defer('nothing waits for nobody: alone, and when the last peer dies', () => {
  const world = new World(4);
  const kernel = new Kernel();
  const a = world.node('lb-a', { defer: true, events: kernel });
  a.engine.start();
  a.open(2);
  assert.is(kernel.replicatedIds.length, 2);
  const b = world.node('lb-b');
  b.engine.start();
  world.run(500);
  b.down = true;
  a.open(2);
  world.run(1000);
  assert.is(kernel.replicatedIds.length, 2);
  world.run(4000);
  assert.is(kernel.replicatedIds.length, 4);
  assert.is(a.engine.stats().queue.deferred_alone, 4);
});

defer('a dead peer, or a slow one, does not hold up what another one has', () => {
  const world = new World(5);
  const kernel = new Kernel();
  const a = world.node('lb-a', { defer: true, events: kernel });
  const b = world.node('lb-b');
  const c = world.node('lb-c');
  for (const node of [a, b, c]) node.engine.start();
  world.run(500);
  c.down = true;
  a.open(5);
  world.run(2);
  assert.is(kernel.replicatedIds.length, 5);
});

defer('what can be remembered is bounded', () => {
  const world = new World(6);
  const kernel = new Kernel();
  const a = world.node('lb-a', { defer: true, events: kernel, hashLimit: 20_000 });
  const b = world.node('lb-b', { hashLimit: 20_000 });
  a.engine.start();
  b.engine.start();
  world.run(100);
  world.lose = () => true;
  for (let i = 0; i < 10; i++) a.open(1000);
  assert.is(a.engine.stats().queue.deferred_given_up, 10_000 - 8192);
  world.lose = () => false;
  assert.ok(world.until(() => a.engine.unacknowledged() === 0, 5000));
  assert.ok(kernel.replicatedIds.length <= 8192);
});

const uncached = suite('DisableInternalCache');
const NOTRACK = { mode: 'NOTRACK', disableInternalCache: true };

/** A node whose kernel is read by its engine. */
function uncachedNode(world: World, name: string): Node {
  const node: Node = world.node(name, {
    ...NOTRACK,
    events: {
      demoted: (records) => each(records, (record) => node.kernel.delete(record.identity)),
      ended: (records) => each(records, (record) => node.kernel.delete(record.identity)),
      syncChanged() {},
      peerChanged() {},
      epochChanged() {},
      notice() {},
      readKernel: () => node.kernel.values(),
    },
  });
  return node;
}

function holds(peer: Node, owner: Node): boolean {
  const identities = (records: Iterable<Uint8Array>) =>
    [...records].map((record) => new RecordView(record.slice()).identity).sort();
  const held: Uint8Array[] = [];
  for (const chunk of peer.external(owner)?.chunks() ?? []) {
    each(chunk, (record) => held.push(record.slice));
  }
  return identities(held).join() === identities(owner.kernel.values()).join();
}

uncached('changes go straight from the kernel to the wire, and a bulk reads the kernel', () => {
  const world = new World(7);
  const a = uncachedNode(world, 'lb-a');
  a.engine.start();
  const records = a.open(300);
  world.run(100);
  const b = uncachedNode(world, 'lb-b');
  b.engine.start();
  world.run(500);
  assert.ok(b.engine.inSync, 'a bulk has come');
  assert.ok(holds(b, a));
  a.close(...records.slice(0, 100));
  for (const record of records.slice(100, 150)) a.change(record);
  a.open(40);
  world.run(10);
  assert.is(b.external(a)?.size, 240);
  assert.ok(holds(b, a));
  assert.is(a.engine.internal.size, 0);
  for (const record of records.slice(200)) a.kernel.delete(record.identity);
  a.engine.bulk();
  world.run(200);
  assert.is(b.external(a)?.size, 140);
});

uncached('a handover does not take what nobody has for settled', () => {
  const world = new World(13);
  const a = uncachedNode(world, 'lb-a');
  const b = uncachedNode(world, 'lb-b');
  world.lose = (_, __, to) => to === b;
  a.engine.start();
  b.engine.start();
  a.open(100);
  world.run(500);
  assert.ok(a.engine.unacknowledged() > 0);
  world.lose = () => false;
  assert.ok(world.until(() => a.engine.unacknowledged() === 0, 3000));
  assert.is(b.external(a)?.size, 100);
});

uncached('lost kernel events are made good by a bulk', () => {
  const world = new World(8);
  const a = uncachedNode(world, 'lb-a');
  const b = uncachedNode(world, 'lb-b');
  a.engine.start();
  b.engine.start();
  a.open(100);
  world.run(300);
  const record = a.record();
  a.kernel.set(record.identity, record.slice.slice());
  a.resync();
  world.run(100);
  assert.is(b.external(a)?.size, 101);
});

uncached('a takeover: the peer commits, and the old owner gives up what was born there', () => {
  const world = new World(9);
  const a = uncachedNode(world, 'lb-a');
  const b = uncachedNode(world, 'lb-b');
  a.engine.start();
  b.engine.start();
  a.open(200);
  world.run(300);
  assert.is(b.commit(), 200);
  world.run(200);
  assert.is(a.kernel.size, 0);
  assert.ok(holds(a, b));
  assert.is(b.external(a)?.size, 0);
  const [first] = [...b.kernel.values()].map((slice) => new RecordView(slice.slice()));
  b.emit(EventType.DESTROY, first);
  world.run(10);
  assert.is(a.external(b)?.size, 199);
});

uncached('what was taken over from a dead node reaches the third one by a bulk', () => {
  const world = new World(14);
  const [a, b, c] = ['lb-a', 'lb-b', 'lb-c'].map((name) => uncachedNode(world, name));
  for (const node of [a, b, c]) node.engine.start();
  a.open(200);
  world.run(300);
  a.down = true;
  world.run(5000);
  assert.is(b.commit(), 200);
  world.run(300);
  assert.ok(holds(c, b));
  assert.is(c.external(a)?.size, 0);
});

const commit = suite('CommitTimeout');

commit('a commit gives each entry so long, or leaves it what it has', () => {
  const world = new World(10);
  const a = world.node('lb-a');
  const b = world.node('lb-b');
  a.engine.start();
  b.engine.start();
  a.open(3);
  world.run(200);
  const remaining = (timeoutMs?: number): number[] => {
    const times: number[] = [];
    for (const chunk of b.engine.plan(undefined, timeoutMs)) {
      each(chunk, (record) => times.push(record.remainingMs));
    }
    return times;
  };
  assert.equal(remaining(180_000), [180_000, 180_000, 180_000]);
  assert.ok(remaining().every((ms) => ms > 431_000_000));
});

const recovery = suite('recovery');

recovery('after an overflow of the resend queue both sides say when all is well again', () => {
  const world = new World(11);
  const sender = new Kernel();
  const receiver = new Kernel();
  const a = world.node('lb-a', { resendQueueSize: 1024, events: sender });
  const b = world.node('lb-b', { events: receiver });
  a.engine.start();
  b.engine.start();
  a.open(500);
  world.run(200);
  world.lose = () => true;
  for (let i = 0; i < 5; i++) a.open(500);
  world.run(2000);
  world.lose = () => false;
  world.run(2000);
  assert.ok(converged(a, b));
  const said = ({ notices }: Kernel) => [...new Set(notices.map(([code]) => code))];
  assert.equal(said(sender), ['resend-overflow', 'recovered']);
  assert.equal(said(receiver), ['lost-for-good', 'recovered']);
  assert.match(
    sender.notices.at(-1)?.[1] ?? '',
    /^\d\.\d s after the resend queue overflowed, the peers hold/,
  );
  assert.match(
    receiver.notices[1][1],
    /^\d\.\d s after changes of lb-a were lost, all that it owns/,
  );
});

/** Two nodes, and a link that takes nothing of the first while a hundred splices are born there. */
function refusing(mode: string): [World, Node, Node, Kernel] {
  const world = new World(12);
  const kernel = new Kernel();
  let full = false;
  const link = {
    mtu: 1472,
    paths: 1,
    send: (datagram: Uint8Array) => {
      if (!full) world.carry(a, datagram);
      return !full;
    },
    stats: () => ({}),
  };
  const a: Node = world.node('lb-a', { mode, refreshMs: 2000, events: kernel, link });
  const b = world.node('lb-b', { mode });
  a.engine.start();
  b.engine.start();
  world.run(200);
  full = true;
  a.open(100);
  full = false;
  return [world, a, b, kernel];
}

const codes = ({ notices }: Kernel): NoticeCode[] => notices.map(([code]) => code);

recovery('a link that refuses what it is given loses nothing for good, and says so', () => {
  const [world, a, b, kernel] = refusing('FTFW');
  world.run(500);
  assert.ok(converged(a, b));
  assert.equal(codes(kernel), ['link-overflow', 'recovered']);
});

recovery('where nobody asks for what was lost, it is said after a round only', () => {
  const [world, a, b, kernel] = refusing('ALARM');
  world.run(1500);
  assert.equal(codes(kernel), ['link-overflow']);
  world.run(2000);
  assert.equal(codes(kernel), ['link-overflow', 'recovered']);
  assert.ok(converged(a, b));
});

for (const one of [standby, defer, uncached, commit, recovery]) one.run();
