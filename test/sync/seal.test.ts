// What comes through a sealed link, and what does not: each attack of docs/security.md by its name.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { OVERHEAD } from '../../sync/seal/box.js';
import { SEAL_REJECTIONS } from '../../sync/seal/seal.js';
import { REPLAY_WINDOW, ReplayWindow } from '../../sync/seal/window.js';
import { HEADER } from '../../sync/wire/header.js';
import { HEADER_SIZE, Type } from '../../sync/wire.js';
import { generator } from '../support/random.js';
import { datagram, type End, Ether, key, MTU } from './ether.js';
import { converged, World } from './world.js';

const A = 0xa;
const B = 0xb;

/** Two nodes that have met, and nothing else on the record. */
function pair(options: { seed?: number } = {}): { ether: Ether; a: End; b: End } {
  const ether = new Ether(options.seed);
  const [a, b] = [ether.end(A, [key(1)]), ether.end(B, [key(1)])];
  meet(ether, a, b);
  ether.sent.length = 0;
  return { ether, a, b };
}

function meet(ether: Ether, ...ends: End[]): void {
  for (const end of ends) end.say('first');
  ether.world.run(10);
  for (const end of ends) end.heard = [];
}

const typeOf = (bytes: Uint8Array): number => bytes[HEADER.type.at];
const u32 = (bytes: Uint8Array, at: number): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);

const box = suite('seal');

box('gives back octet for octet what was sealed, and shows nothing of it', () => {
  const got: Uint8Array[] = [];
  const ether = new Ether();
  const a = ether.end(A, [key(1)]);
  const b = ether.end(B, [key(1)], { deliver: (bytes) => got.push(bytes.slice()) });
  meet(ether, a, b);
  const plain = datagram(A, 'nobody-may-read-this'.repeat(12));
  ether.sent.length = 0;
  assert.ok(a.seal.send(plain, 0));
  ether.world.run(1);
  assert.is(a.seal.mtu, MTU - OVERHEAD);
  assert.equal(got, [plain]);
  const [{ bytes }] = ether.sent;
  assert.is(bytes.length, plain.length + OVERHEAD);
  assert.not(Buffer.from(bytes).includes('nobody-may'));
});

box('a full datagram fits', () => {
  const { ether, a, b } = pair();
  const big = new Uint8Array(a.seal.mtu);
  big.set(datagram(A, ''));
  HEADER.length.write(new DataView(big.buffer), HEADER.length.at, big.length - HEADER_SIZE);
  a.seal.send(big, 0);
  ether.world.run(1);
  assert.is(ether.sent[0].bytes.length, MTU);
  assert.is(b.heard.length, 1);
});

box('two nodes that start hear each other within a few ms, and are told to say it again', () => {
  const ether = new Ether();
  const [a, b] = [ether.end(A, [key(1)]), ether.end(B, [key(1)])];
  a.say('hello');
  ether.world.run(1);
  assert.equal(b.heard, [], 'unproven');
  assert.is(b.rejected('unproven'), 1);
  ether.world.run(2);
  assert.is(a.proved, 1);
  assert.is(b.proved, 1);
  a.say('to b');
  b.say('to a');
  ether.world.run(1);
  assert.equal(a.heard, ['to a']);
  assert.equal(b.heard, ['to b']);
});

box('a lost challenge or proof costs some ms, not the second until the next hello', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const ether = new Ether(seed);
    const [a, b] = [ether.end(A, [key(1)]), ether.end(B, [key(1)])];
    a.say('hello');
    ether.world.run(0.5);
    ether.lose = () => ether.world.random() < 0.3;
    ether.world.run(700);
    ether.lose = () => false;
    a.say('to b');
    b.say('to a');
    ether.world.run(1);
    assert.equal([a.heard, b.heard], [['to a'], ['to b']], `seed ${seed}`);
  }
});

box('of several paths one that works is enough, whichever it is in each direction', () => {
  const ether = new Ether(1, 3);
  const [a, b] = [ether.end(A, [key(1)]), ether.end(B, [key(1)])];
  ether.lose = ({ from, path }) => path !== (from === a ? 1 : 2);
  a.say('hello', 1);
  ether.world.run(5);
  a.say('to b', 1);
  b.say('to a', 2);
  ether.world.run(1);
  assert.equal([a.heard, b.heard], [['to a'], ['to b']]);
});

box('by all paths at once the handshake is answered once', () => {
  const ether = new Ether(1, 3);
  const [a, b] = [ether.end(A, [key(1)]), ether.end(B, [key(1)])];
  a.say('hello');
  ether.world.run(500);
  for (const end of [a, b]) {
    const { challenges_sent, proofs_sent, sessions_proven } = end.seal.stats();
    assert.equal([challenges_sent, proofs_sent, sessions_proven], [1, 1, 1]);
    assert.is(end.rejected('replay'), 4, 'two more copies of each');
  }
});

box('every reason and every counter has a line in the document', () => {
  const text = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8');
  const { a } = pair();
  const known = (name: string): boolean =>
    text.includes(`\`rejected_${name}\``) || text.includes(`\`_${name}\``);
  assert.equal(
    SEAL_REJECTIONS.filter((name) => !known(name)),
    [],
  );
  const counters = Object.keys(a.seal.stats());
  assert.equal(
    counters.filter((name) => !text.includes(`\`${name}\``)),
    [],
  );
});

const attacks = suite('attacks');

attacks('another key of the same id: tag; of another id: key; nothing is heard', () => {
  const ether = new Ether();
  const b = ether.end(B, [key(1), key(3)]);
  const wrong = ether.end(A, [key(1, 99)]);
  const unknown = ether.end(0xc, [key(2)]);
  for (let i = 0; i < 10; i++) for (const end of [wrong, unknown]) end.say('let me in');
  ether.world.run(2000);
  assert.is(b.rejected('tag'), 10);
  assert.is(b.rejected('key'), 10);
  assert.equal(b.heard, []);
  assert.is(b.seal.stats().candidates, 0);
  assert.is(b.seal.stats().challenges_sent, 0, 'a stranger is not answered');
});

attacks('what is not sealed is not heard', () => {
  const { b } = pair();
  const plain = datagram(A, 'in clear');
  b.seal.receive(plain);
  b.seal.receive(plain.subarray(0, HEADER_SIZE));
  assert.is(b.rejected('unsealed'), 2);
  assert.equal(b.heard, []);
});

attacks('an octet altered anywhere is noticed', () => {
  const { ether, a, b } = pair();
  a.say('authentic');
  const { bytes } = ether.sent[0];
  const before = b.refused;
  for (let at = 0; at < bytes.length; at++) {
    const altered = bytes.slice();
    altered[at] ^= 1 << (at % 8);
    b.seal.receive(altered);
  }
  assert.equal(b.heard, []);
  assert.is(b.refused - before, bytes.length);
  ether.world.run(1);
  assert.equal(b.heard, ['authentic'], 'and none of it kept the genuine one out');
});

attacks('cut or drawn out at any length, it is refused', () => {
  const { ether, a, b } = pair();
  a.say('authentic');
  const { bytes } = ether.sent[0];
  const before = b.refused;
  for (let size = 0; size < bytes.length; size++) {
    const cut = bytes.slice(0, size);
    b.seal.receive(cut);
    if (size < HEADER_SIZE) continue;
    HEADER.length.write(new DataView(cut.buffer), HEADER.length.at, size - HEADER_SIZE);
    b.seal.receive(cut);
  }
  b.seal.receive(Buffer.concat([bytes, Buffer.alloc(1)]));
  assert.is(b.refused - before, bytes.length + (bytes.length - HEADER_SIZE) + 1);
  assert.equal(b.heard, []);
});

attacks('garbage is counted by reason and changes nothing', () => {
  const { ether, a, b } = pair();
  const random = generator(7);
  const refused = b.refused;
  const before = b.seal.stats();
  const count = 20_000;
  for (let i = 0; i < count; i++) {
    const bytes = new Uint8Array(Math.floor(random() * 200)).map(() => random() * 256);
    if (i % 2) bytes.set(Buffer.from('SPLC').subarray(0, bytes.length));
    if (i % 4 === 3 && bytes.length > 12) bytes[HEADER.key.at] = 1;
    b.seal.receive(bytes);
  }
  assert.is(b.refused - refused, count);
  for (const name of ['sessions', 'candidates', 'opened', 'challenges_sent'] as const) {
    assert.is(b.seal.stats()[name], before[name], name);
  }
  a.say('still there?');
  ether.world.run(1);
  assert.equal(b.heard, ['still there?']);
});

attacks('all that was ever sent, sent again: replay', () => {
  const { ether, a, b } = pair();
  for (let i = 0; i < 100; i++) a.say(`${i}`);
  ether.world.run(5);
  assert.is(b.heard.length, 100);
  for (const { bytes } of [...ether.sent]) b.seal.receive(bytes.slice());
  assert.is(b.heard.length, 100);
  assert.is(b.rejected('replay'), 100);
});

attacks('what comes by two paths is heard once; what overtakes is heard', () => {
  const { ether, a, b } = pair();
  ether.lose = () => true;
  for (let i = 0; i < 1000; i++) a.say(`${i}`);
  const order = [...ether.sent].reverse();
  for (const { bytes } of [...order, ...order]) b.seal.receive(bytes.slice(), 1);
  assert.is(new Set(b.heard).size, 1000);
  assert.is(b.heard.length, 1000);
  assert.is(b.rejected('replay'), 1000);
});

attacks('what is older than the window is taken for a replay', () => {
  const { ether, a, b } = pair();
  ether.lose = () => true;
  for (let i = 0; i <= REPLAY_WINDOW; i++) a.say(`${i}`);
  const { sent } = ether;
  b.seal.receive(sent[REPLAY_WINDOW].bytes.slice());
  b.seal.receive(sent[1].bytes.slice());
  b.seal.receive(sent[0].bytes.slice());
  assert.equal(b.heard, [`${REPLAY_WINDOW}`, '1']);
  assert.is(b.rejected('replay'), 1);
});

attacks('an old session, replayed in full to a receiver that has restarted, is refused', () => {
  const ether = new Ether();
  const [a, b] = [ether.end(A, [key(1)]), ether.end(B, [key(1)])];
  meet(ether, a, b); // the handshake is on the record too
  for (let i = 0; i < 50; i++) a.say(`old ${i}`);
  ether.world.run(5);
  const recording = ether.sent.map(({ bytes }) => bytes.slice());
  a.restart();
  b.restart();
  for (let round = 0; round < 3; round++) {
    for (const bytes of recording) b.seal.receive(bytes.slice());
    ether.world.run(1500);
  }
  assert.equal(b.heard, []);
  assert.ok(b.rejected('unproven') > 100);
  assert.ok(a.rejected('challenge') > 0, 'the sender does not know that session any more');
  assert.is(b.seal.stats().sessions, 1, 'of a, as it is now: it has seen the challenges of b');
  a.say('new');
  ether.world.run(5);
  assert.equal(b.heard, ['new']);
});

attacks('a session that lives is proven again, and its recording does not ride on that', () => {
  const { ether, a, b } = pair();
  for (let i = 0; i < 50; i++) a.say(`old ${i}`);
  ether.world.run(5);
  const recording = ether.sent.map(({ bytes }) => bytes.slice());
  b.restart();
  b.seal.receive(recording[0].slice());
  ether.world.run(5);
  assert.is(b.seal.stats().sessions, 1, 'the sender has proven that it lives');
  for (const bytes of recording) b.seal.receive(bytes.slice());
  assert.equal(b.heard, []);
  a.say('new');
  ether.world.run(5);
  assert.equal(b.heard, ['new']);
});

attacks('a recorded proof proves nothing to the next start, nor after its time', () => {
  const { ether, a, b } = pair();
  b.restart();
  a.say('challenge me');
  ether.lose = ({ bytes }) => typeOf(bytes) === Type.PROOF;
  ether.world.run(2);
  const proof = ether.sent.find(({ bytes, from }) => from === a && typeOf(bytes) === Type.PROOF);
  assert.ok(proof);
  ether.lose = () => true;
  ether.world.run(1500);
  b.seal.receive(proof?.bytes.slice() as Uint8Array);
  assert.is(b.rejected('proof'), 1, 'late');
  b.restart();
  b.seal.receive(proof?.bytes.slice() as Uint8Array);
  assert.is(b.rejected('proof'), 1, 'of another start');
  assert.is(b.seal.stats().sessions, 0);
});

attacks('what was held back until its sender has long had another session is refused', () => {
  const { ether, a, b } = pair();
  ether.lose = () => true;
  for (const text of ['soon', 'late']) a.say(text);
  const [soon, late] = ether.sent.map(({ bytes }) => bytes);
  ether.lose = () => false;
  a.restart();
  a.say('restarted');
  ether.world.run(1000);
  b.seal.receive(soon.slice());
  assert.equal(b.heard, ['soon'], 'on its way, as far as anybody knows');
  ether.world.run(5000);
  b.seal.receive(late.slice());
  ether.world.run(2000);
  assert.equal(b.heard, ['soon']);
  assert.is(b.seal.stats().sessions, 1);
});

attacks('what a node has sent comes back to it: own', () => {
  const { ether, a } = pair();
  a.say('echo');
  a.seal.receive(ether.sent[0].bytes.slice());
  assert.is(a.rejected('own'), 1);
  assert.equal(a.heard, []);
});

attacks('another node with the id of this one is heard, so that the engine can say so', () => {
  const ether = new Ether();
  const [a, twin] = [ether.end(A, [key(1)]), ether.end(A, [key(1)])];
  meet(ether, a, twin);
  twin.say('me too');
  ether.world.run(5);
  assert.equal(a.heard, ['me too']);
});

attacks('twins are both heard by a third, for as long as they last', () => {
  const ether = new Ether();
  const ends = [ether.end(A, [key(1)]), ether.end(A, [key(1)])];
  const c = ether.end(0xc, [key(1)]);
  meet(ether, ...ends, c);
  for (let i = 0; i < 300; i++) {
    for (const [index, end] of ends.entries()) end.say(`${index}`);
    ether.world.run(100);
  }
  for (const name of ['0', '1']) assert.ok(c.heard.filter((text) => text === name).length > 250);
});

attacks('salts without end cost a bounded number of looks, and a node still gets in', () => {
  const { ether, a, b } = pair();
  a.say('template');
  const { bytes } = ether.sent[0];
  const random = generator(3);
  for (let i = 0; i < 5000; i++) {
    const flood = bytes.slice();
    for (let at = HEADER_SIZE; at < HEADER_SIZE + 16; at++) flood[at] = random() * 256;
    b.seal.receive(flood);
  }
  assert.is(b.rejected('tag'), 256);
  assert.is(b.rejected('limited'), 5000 - 256);
  const c = ether.end(0xc, [key(1)]);
  ether.world.run(10);
  c.say('newcomer');
  ether.world.run(5);
  c.say('newcomer');
  ether.world.run(1);
  assert.ok(b.heard.includes('newcomer'));
});

attacks('old sessions without end take a bounded place and keep nobody out', () => {
  const ether = new Ether();
  const b = ether.end(B, [key(1)]);
  const recordings: Uint8Array[] = [];
  ether.lose = () => true;
  const old = ether.end(0xc, [key(1)]);
  for (let i = 0; i < 200; i++) {
    old.restart();
    old.say('old');
    recordings.push(ether.sent[ether.sent.length - 1].bytes);
  }
  ether.lose = (_, to) => to === old;
  for (const bytes of recordings) b.seal.receive(bytes.slice());
  assert.is(b.seal.stats().candidates, 64);
  const a = ether.end(A, [key(1)]);
  a.say('hello');
  ether.world.run(5);
  a.say('hello');
  ether.world.run(1);
  assert.equal(b.heard, ['hello']);
});

attacks('more senders than the link may have are refused, until some fall silent', () => {
  const ether = new Ether();
  const b = ether.end(B, [key(1)]);
  const senders = Array.from({ length: 70 }, (_, i) => ether.end(100 + i, [key(1)]));
  ether.lose = ({ from }, to) => from !== b && to !== b;
  for (const end of senders) end.say('hello');
  ether.world.run(50);
  assert.is(b.seal.stats().sessions, 64);
  assert.ok(b.rejected('too_many_peers') > 0);
  for (const end of senders) end.say(`${end.node}`);
  ether.world.run(50);
  const late = senders.find((end) => !b.heard.includes(`${end.node}`)) as End;
  ether.world.run(20_000);
  late.say('hello');
  ether.world.run(50);
  late.say('I am late');
  ether.world.run(50);
  assert.is(b.heard.at(-1), 'I am late');
  assert.is(b.seal.stats().sessions, 64);
});

const rotation = suite('rotation');

/** Says something each ms, and nothing of it may be missing at the other one. */
function traffic(ether: Ether, from: End, ms: number, first: number): number {
  for (let i = 0; i < ms; i++) {
    from.say(`${first + i}`);
    ether.world.run(1);
  }
  return first + ms;
}

rotation('key by key under traffic, nothing is lost', () => {
  const { ether, a, b } = pair();
  let said = traffic(ether, a, 50, 0);
  const steps = [[key(1), key(2)], [key(2), key(1)], [key(2)]];
  for (const keys of steps) {
    for (const end of [b, a]) {
      end.seal.setKeys(keys);
      said = traffic(ether, a, 200, said);
    }
  }
  assert.equal(
    b.heard.map(Number).sort((x, y) => x - y),
    Array.from({ length: said }, (_, i) => i),
  );
  assert.is(a.seal.stats().seal_key, 2);
  assert.is(b.seal.stats().sessions, 1, 'what the old key sealed is forgotten');
  assert.is(a.proved, 1, 'nobody had to say hello again');
});

rotation('the same keys again change nothing', () => {
  const { ether, a } = pair();
  a.seal.setKeys([key(1), key(2)]);
  a.seal.setKeys([key(1)]);
  ether.world.run(500);
  assert.is(a.seal.stats().sessions_renewed, 0);
  assert.is(ether.sent.length, 0);
});

rotation('a key that is taken away is not used from that moment on, nor believed', () => {
  const { ether, a, b } = pair();
  ether.lose = () => true;
  a.say('under key 1');
  const [{ bytes }] = ether.sent;
  for (const end of [a, b]) end.seal.setKeys([key(2)]);
  a.say('under key 2');
  assert.is(ether.sent[ether.sent.length - 1].bytes[HEADER.key.at], 2);
  b.seal.receive(bytes.slice());
  assert.equal(b.heard, []);
  assert.is(b.rejected('key'), 1);
});

rotation('another secret under the same id is another key', () => {
  const { ether, a, b } = pair();
  for (const end of [a, b]) end.seal.setKeys([key(1, 77)]);
  a.say('x');
  ether.world.run(5);
  a.say('new');
  ether.world.run(5);
  assert.equal(b.heard, ['new']);
});

rotation(
  'a session ends by itself before its nonces do; nothing is lost, no nonce comes twice',
  () => {
    const ether = new Ether();
    const a = ether.end(A, [key(1)], { renewAfter: 500 });
    const b = ether.end(B, [key(1)]);
    meet(ether, a, b);
    const said = traffic(ether, a, 3000, 0);
    assert.is(b.heard.length, said);
    assert.ok(a.seal.stats().sessions_renewed >= 5);
    const nonces = ether.sent.map(
      ({ bytes }) => `${Buffer.from(bytes.subarray(64, 88)).toString('hex')} ${u32(bytes, 8)}`,
    );
    assert.is(new Set(nonces).size, nonces.length);
  },
);

rotation('a burst that uses a session up at once goes over to the next one', () => {
  const ether = new Ether();
  const a = ether.end(A, [key(1)], { renewAfter: 100 });
  const b = ether.end(B, [key(1)]);
  meet(ether, a, b);
  for (let i = 0; i < 1000; i++) a.say(`${i}`);
  assert.ok(a.seal.stats().sessions_renewed >= 4);
  ether.world.run(300);
  a.say('after');
  ether.world.run(5);
  assert.is(b.heard.at(-1), 'after');
});

const windows = suite('replay window');

windows('says of each counter, in any order, exactly once that it is fresh', () => {
  const random = generator(11);
  const window = new ReplayWindow();
  const seen = new Set<number>();
  let highest = 2 ** 33;
  let top = 0;
  for (let i = 0; i < 50_000; i++) {
    if (random() < 0.01) highest += Math.floor(random() * 3 * REPLAY_WINDOW);
    const counter = Math.max(1, highest + Math.floor((random() - 0.8) * 6000));
    const old = top - counter >= REPLAY_WINDOW;
    const fresh = window.fresh(counter);
    assert.is(fresh, !seen.has(counter) && !old, `${i}: ${counter}`);
    if (!fresh) continue;
    window.mark(counter);
    seen.add(counter);
    top = Math.max(top, counter);
  }
});

const engines = suite('engines on a sealed link');

const KEYS = { keys: [key(1)] };

engines('three nodes replicate, and a restarted one is in sync again within 100 ms', () => {
  const world = new World(5);
  const nodes = ['lb-a', 'lb-b', 'lb-c'].map((name) => world.node(name, KEYS));
  for (const node of nodes) node.engine.start();
  for (const node of nodes) node.open(300);
  assert.ok(world.until(() => converged(...nodes), 3000));
  const [a, b] = nodes;
  a.restart();
  a.engine.start();
  const began = world.now;
  const holds = (): boolean => a.engine.inSync && converged(...nodes);
  assert.ok(world.until(holds, 100), `not after ${world.now - began} ms`);
  const [peer] = b.engine.peers();
  assert.is(peer.inSync && peer.holdsAll, true);
});

engines('loss, doubling and reordering are made up for as on an open link', () => {
  for (let seed = 1; seed <= 5; seed++) {
    const world = new World(seed);
    const [a, b] = ['lb-a', 'lb-b'].map((name) => world.node(name, KEYS));
    world.faults = { loss: 0.1, duplication: 0.1, jitterMs: 5 };
    for (const node of [a, b]) node.engine.start();
    for (let i = 0; i < 200; i++) {
      a.open(3);
      b.open(2);
      world.run(5);
    }
    world.faults = {};
    assert.ok(
      world.until(() => converged(a, b), 5000),
      `seed ${seed}`,
    );
    const { network } = b.engine.stats();
    assert.ok(network.rejected_replay > 0);
    assert.is(network.rejected_tag, 0);
  }
});

engines('with another key: neither hears the other, and both say so by a counter', () => {
  const world = new World(3);
  const a = world.node('lb-a', KEYS);
  const b = world.node('lb-b', { keys: [key(1, 9)] });
  for (const node of [a, b]) node.engine.start();
  a.open(10);
  world.run(3000);
  for (const node of [a, b]) {
    assert.is(node.engine.peers().length, 0);
    assert.ok(node.engine.stats().network.rejected_tag > 0);
  }
});

engines('an open node and a sealed one do not hear each other', () => {
  const world = new World(3);
  const [open, sealed] = [world.node('lb-a'), world.node('lb-b', KEYS)];
  for (const node of [open, sealed]) node.engine.start();
  world.run(3000);
  assert.is(open.engine.peers().length + sealed.engine.peers().length, 0);
  assert.ok(open.engine.stats().network.rejected_key > 0);
  assert.ok(sealed.engine.stats().network.rejected_unsealed > 0);
});

engines('all that a node ever said, said again to one that has restarted, is not believed', () => {
  const world = new World(4);
  const [a, b] = ['lb-a', 'lb-b'].map((name) => world.node(name, KEYS));
  for (const node of [a, b]) node.engine.start();
  world.recording = [];
  a.open(50);
  world.run(3000);
  const recording = world.recording;
  world.recording = undefined;
  a.down = true;
  b.restart();
  b.engine.start();
  for (const bytes of recording) b.sync.receive(bytes.slice());
  world.run(3000);
  assert.is(b.engine.peers().length, 0);
  assert.ok(b.engine.stats().network.rejected_unproven >= recording.length / 2);
});

for (const each of [engines, box, attacks, rotation, windows]) each.run();
