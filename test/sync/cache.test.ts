import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RECORD_SIZE, RecordOffset } from '../../kernel/record/layout.js';
import { newRecord, RecordView } from '../../kernel/record/record.js';
import type { Cache } from '../../sync/cache.js';
import { BUCKETS, digestRecord } from '../../sync/digest.js';
import { Identity, IdentityRing } from '../../sync/identity.js';
import { Store } from '../../sync/store.js';
import { stronger, Tombstones } from '../../sync/tombstones.js';
import { generator } from '../support/random.js';

const cache = suite('cache');
const key = new Identity();

function load(record: RecordView): Identity {
  return key.load(new DataView(record.bytes.buffer, record.bytes.byteOffset), record.offset);
}

function record(id: number, generation = 1, epoch = 1): RecordView {
  const made = newRecord();
  made.id = BigInt(id);
  made.incarnation = 1_700_000_000_000_000n;
  made.origin = 7;
  made.owner = 7;
  made.epoch = epoch;
  made.generation = generation;
  made.remainingMs = 5000;
  return made;
}

function put(into: Cache, made: RecordView): string {
  return into.upsert(
    load(made),
    new DataView(made.bytes.buffer, made.bytes.byteOffset),
    made.offset,
  );
}

cache('keeps the newest: by epoch and owner first, then by generation', () => {
  const c = new Store(16, () => 0).internal;
  assert.equal(put(c, record(1, 5)), 'inserted');
  assert.equal(put(c, record(1, 4)), 'stale');
  assert.equal(put(c, record(1, 5)), 'refreshed');
  assert.equal(put(c, record(1, 6)), 'updated');
  assert.equal(put(c, record(1, 1, 2)), 'updated', 'a new owner counts from anew');
  assert.equal(put(c, record(1, 9, 1)), 'stale');
  assert.equal(c.size, 1);
});

cache('does what a Map does, over a hundred thousand random operations', () => {
  const random = generator(42);
  const c = new Store(1000, () => 0).internal;
  const map = new Map<number, number>();
  for (let i = 0; i < 100_000; i++) {
    const id = Math.floor(random() * 1500);
    if (random() < 0.45) {
      const slot = c.find(load(record(id)));
      assert.is(slot >= 0, map.has(id));
      if (slot >= 0) c.remove(slot);
      map.delete(id);
    } else {
      const generation = (map.get(id) ?? 0) + 1;
      const what = put(c, record(id, generation));
      if (what === 'full') assert.ok(map.size === 1000 && !map.has(id));
      else map.set(id, generation);
    }
  }
  assert.is(c.size, map.size);
  const seen = new Map<number, number>();
  for (const chunk of c.chunks()) {
    for (let at = 0; at < chunk.length; at += RECORD_SIZE) {
      const view = new RecordView(chunk, at);
      seen.set(Number(view.id), view.generation);
    }
  }
  assert.equal([...seen].sort(), [...map].sort());
});

cache('a walk that pauses sees all that was there all the time', () => {
  const c = new Store(4000, () => 0).internal;
  for (let id = 0; id < 3000; id++) put(c, record(id));
  const seen = new Set<number>();
  let removed = 0;
  for (const chunk of c.chunks()) {
    for (let at = 0; at < chunk.length; at += RECORD_SIZE) {
      seen.add(Number(new RecordView(chunk, at).id));
    }
    // odd ones come and go meanwhile
    for (; removed < 3000 && removed < seen.size; removed += 2) {
      const slot = c.find(load(record(removed + 1)));
      if (slot >= 0) c.remove(slot);
      put(c, record(10_000 + removed));
    }
  }
  for (let id = 0; id < 3000; id += 2) assert.ok(seen.has(id), `record ${id} was missed`);
});

cache('renders the time that is left on its own clock', () => {
  let now = 1e12;
  const c = new Store(16, () => now).internal;
  put(c, record(1));
  now += 1234;
  const rendered = new RecordView([...c.chunks()][0]);
  assert.equal([rendered.remainingMs, rendered.idleMs], [3766, 1234]);
  now += 1e9;
  assert.is(new RecordView([...c.chunks()][0]).remainingMs, 0);
});

cache('a full cache says so, and takes again what has room', () => {
  const c = new Store(2, () => 0).internal;
  put(c, record(1));
  put(c, record(2));
  assert.equal(put(c, record(3)), 'full');
  c.remove(c.find(load(record(1))));
  assert.equal(put(c, record(3)), 'inserted');
  c.clear();
  assert.equal([c.size, c.find(load(record(3)))], [0, -1]);
  assert.equal(put(c, record(3)), 'inserted');
});

cache('what another cache takes over moves there, and lies where it lay', () => {
  const store = new Store(4, () => 0);
  const [peer, other] = [store.external(), store.external()];
  put(peer, record(1));
  put(peer, record(2));
  const slot = peer.find(load(record(1)));
  store.setMark(slot, 1, true);
  assert.equal(put(store.internal, record(1, 1, 2)), 'inserted');
  assert.is(store.internal.find(load(record(1))), slot);
  assert.equal([peer.find(key), peer.holds(slot), store.marked(slot, 1)], [-1, false, false]);
  assert.equal([store.internal.size, peer.size, peer.stats().deleted], [1, 1, 1]);
  assert.equal(put(other, record(2, 1, 2)), 'inserted');
  peer.clear();
  assert.equal([store.internal.size, peer.size, other.size, store.size], [1, 0, 1, 2]);
  other.clear();
  assert.ok(store.internal.find(load(record(1))) >= 0, 'a flush of one takes nothing from another');
});

cache('all external caches share one limit, and the internal one has its own', () => {
  const store = new Store(2, () => 0);
  const [peer, other] = [store.external(), store.external()];
  put(peer, record(1));
  put(other, record(2));
  assert.equal(put(peer, record(3)), 'full');
  assert.equal(put(store.internal, record(3)), 'inserted');
  assert.equal(put(other, record(1, 1, 2)), 'inserted', 'what moves between them needs no room');
  put(store.internal, record(4));
  assert.equal(put(store.internal, record(2, 1, 2)), 'full');
  assert.is(store.find(load(record(2))), -1, 'it is not where it was any more');
  assert.equal([peer.size, other.size, store.internal.size], [0, 1, 2]);
});

cache('tombstones hold against weaker claims only, and are bounded', () => {
  const stones = new Tombstones(4);
  stones.add(load(record(1)), 3, 7);
  assert.ok(stones.covers(key, 2, 9));
  assert.ok(stones.covers(key, 3, 7));
  assert.not(stones.covers(key, 3, 8));
  stones.add(load(record(1)), 2, 9);
  assert.equal(
    stones.endOf(load(record(1))),
    { epoch: 3, owner: 7 },
    'a weaker end changes nothing',
  );
  for (let id = 2; id <= 5; id++) stones.add(load(record(id)), 1, 7);
  assert.not(stones.covers(load(record(1)), 1, 1), 'the oldest made room');
  assert.is(stones.stats().evicted, 1);
  assert.ok(stronger(2, 1, 1, 9) && stronger(1, 9, 1, 8) && !stronger(1, 8, 1, 8));
});

cache('an index finds all that is left after many removals', () => {
  const ring = new IdentityRing(64);
  for (let id = 0; id < 10_000; id++) {
    ring.add(load(record(id)));
    if (id >= 63) assert.ok(ring.find(load(record(id - 63))) >= 0);
    if (id >= 64) assert.is(ring.find(load(record(id - 64))), -1);
  }
  assert.is(ring.evicted, 10_000 - 64);
});

cache('digests follow every change, and tell the same of the same records in any order', () => {
  const all = (c: Cache) => c.digests.of(0, BUCKETS);
  const [one, two] = [new Store(100, () => 0), new Store(100, () => 9)].map((s) => s.external());
  for (let id = 1; id <= 60; id++) put(one, record(id));
  for (let id = 60; id >= 1; id--) put(two, record(id, id % 3));
  assert.not.equal(all(one), all(two));
  for (let id = 1; id <= 60; id++) {
    const newer = record(id, 5);
    newer.remainingMs = id;
    put(one, record(id, 5));
    put(two, newer);
  }
  assert.equal(all(one), all(two), 'times run on, and do not count');
  two.remove(two.find(load(record(7))));
  assert.not.equal(all(one), all(two));
  one.remove(one.find(load(record(7))));
  assert.equal(all(one), all(two));
  one.clear();
  assert.equal(all(one), { low: 0, high: 0 });
});

cache('each bit of a record but those of its times counts in its digest', () => {
  const words = new Uint32Array(RECORD_SIZE / 4).map((_, i) => i * 0x01234567);
  const times = [RecordOffset.remainingMs / 4, RecordOffset.idleMs / 4];
  /** With these bits the other way round. */
  const digest = (...bits: number[]): string => {
    const changed = words.slice();
    for (const bit of bits) changed[bit >> 5] ^= 1 << bit;
    const into = new Uint32Array(2);
    digestRecord(changed, 0, into, 0);
    return into.join();
  };
  for (let bit = 0; bit < 32 * words.length; bit++) {
    assert.is(digest(bit) === digest(), times.includes(bit >> 5));
    // the top bits of two words, which a plain product would lose
    const other = (bit + 32) % (32 * words.length);
    if (!times.includes(other >> 5)) assert.is.not(digest(bit, other), digest());
  }
});

cache.run();
