// A takeover that is asked for by the node that has the addresses: each answer of its peer arrives,
// whatever is lost on the way, and nothing is done twice. In simulated time.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { OfferAnswer, OfferTaken } from '../../sync/api.js';
import { Refusal, Segment, Type, Writer } from '../../sync/wire.js';
import { type Node, World } from './world.js';

const offer = suite('offer');

type Answer = (taken: OfferTaken) => void;

/** lb-a owns splices, and lb-b keeps what it is asked for. */
function scene(seed = 1): { world: World; a: Node; b: Node; asked: Answer[] } {
  const world = new World(seed);
  const asked: Answer[] = [];
  const a = world.node('lb-a');
  const b = world.node('lb-b', {}, (_peer, _what, answer) => asked.push(answer));
  a.engine.start();
  b.engine.start();
  a.open(100);
  world.run(300);
  return { world, a, b, asked };
}

/** Makes an offer, and keeps every answer to it. */
function make(from: Node, to: Node): { answers: OfferAnswer[]; withdraw: () => void } {
  const answers: OfferAnswer[] = [];
  const withdraw = from.engine.offer(to.id, 'splices', (answer) => answers.push(answer));
  return { answers, withdraw };
}

offer('the peer takes over, and the answer comes when its kernel has everything', () => {
  const { world, a, b, asked } = scene();
  const { answers } = make(a, b);
  world.run(2000);
  assert.is(asked.length, 1, 'it was asked once, though the offer was said again and again');
  assert.equal(answers, [], 'a takeover that takes long is waited for');
  const entries = b.commit();
  asked[0]({ outcome: 'taken', entries, epoch: b.engine.epoch });
  world.run(10);
  assert.equal(answers, [{ outcome: 'taken', entries: 100, epoch: b.engine.epoch }]);
  assert.is(a.engine.internal.size, 0, 'and its claims have come with it');
  world.run(1000);
  assert.is(answers.length, 1);
});

offer('what is offered arrives as it is', () => {
  for (const offered of ['splices', 'addresses'] as const) {
    const world = new World(1);
    const heard: string[] = [];
    const a = world.node('lb-a');
    const b = world.node('lb-b', {}, (peer, what) => heard.push(`${peer.name} ${what}`));
    a.engine.start();
    b.engine.start();
    world.run(300);
    a.engine.offer(b.id, offered, () => {});
    world.run(100);
    assert.equal(heard, [`lb-a ${offered}`]);
  }
});

offer('every reason for a refusal arrives as it is', () => {
  for (const why of Object.keys(Refusal) as (keyof typeof Refusal)[]) {
    const { world, a, b, asked } = scene();
    const { answers } = make(a, b);
    world.run(10);
    asked[0]({ outcome: 'refused', why });
    world.run(10);
    assert.equal(answers, [{ outcome: 'refused', why }]);
    assert.is(a.engine.internal.size, 100);
  }
});

offer('with half of all datagrams lost and some said twice, one offer is one takeover', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { world, a, b, asked } = scene(seed);
    world.faults = { loss: 0.5, duplication: 0.2, jitterMs: 30 };
    const { answers } = make(a, b);
    assert.ok(
      world.until(() => asked.length > 0, 3000),
      `seed ${seed}: asked`,
    );
    asked[0]({ outcome: 'taken', entries: b.commit(), epoch: b.engine.epoch });
    assert.ok(
      world.until(() => answers.length > 0, 3000),
      `seed ${seed}: answered`,
    );
    world.run(500);
    assert.equal([asked.length, answers.length, answers[0].outcome], [1, 1, 'taken'], `${seed}`);
  }
});

offer('a peer that lives and does not answer is given five seconds', () => {
  const { world, a, b, asked } = scene();
  world.lose = (datagram) => datagram[5] === Type.OFFER;
  const { answers } = make(a, b);
  world.run(4980);
  assert.equal(answers, []);
  world.run(60);
  assert.equal([answers, asked.length], [[{ outcome: 'no-answer' }], 0]);
});

offer('a peer that dies while it takes over is said to be dead', () => {
  const { world, a, b, asked } = scene();
  const { answers } = make(a, b);
  world.run(100);
  assert.is(asked.length, 1);
  b.down = true;
  world.run(4900);
  assert.equal(answers, [{ outcome: 'dead' }]);
  assert.equal(make(a, b).answers, [{ outcome: 'dead' }]);
});

offer('a daemon that is started anew in the middle of it is asked again', () => {
  const { world, a, b, asked } = scene();
  const { answers } = make(a, b);
  world.run(50);
  b.restart();
  b.engine.start();
  world.run(300);
  assert.is(asked.length, 2);
  asked[1]({ outcome: 'taken', entries: b.commit(), epoch: b.engine.epoch });
  world.run(50);
  assert.is(answers[0]?.outcome, 'taken');
});

offer('a second offer while one is under way is refused as busy, one after it is a new one', () => {
  const { world, a, b, asked } = scene();
  const first = make(a, b);
  world.run(50);
  const second = make(a, b);
  world.run(50);
  assert.equal(first.answers, [], 'the later one has taken its place');
  assert.equal(second.answers, [{ outcome: 'refused', why: 'busy' }]);
  asked[0]({ outcome: 'taken', entries: 0, epoch: 1 });
  const third = make(a, b);
  world.run(50);
  assert.is(asked.length, 2);
  asked[1]({ outcome: 'refused', why: 'not-in-sync' });
  world.run(50);
  assert.equal(third.answers, [{ outcome: 'refused', why: 'not-in-sync' }]);
});

offer('what is withdrawn gets no answer any more', () => {
  const { world, a, b, asked } = scene();
  const { answers, withdraw } = make(a, b);
  world.run(50);
  withdraw();
  asked[0]({ outcome: 'taken', entries: 0, epoch: 1 });
  const said = a.engine.stats().network.tx_offer;
  world.run(2000);
  assert.equal(answers, []);
  assert.is(a.engine.stats().network.tx_offer, said);
});

offer('an engine whose daemon takes no offers refuses them', () => {
  const { world, a, b, asked } = scene();
  const { answers } = make(b, a);
  world.run(50);
  assert.equal([answers, asked.length], [[{ outcome: 'refused', why: 'busy' }], 0]);
});

offer('an offer to all, and answers that mean nothing, are rejected or ignored', () => {
  const { world, a, b, asked } = scene();
  const forged = (type: number, segment: number | undefined, receiver: number, outcome = 1) => {
    const writer = new Writer(1472);
    if (segment !== undefined) {
      const at = writer.item(segment);
      writer.bytes.fill(0, at, writer.bytes.length);
      if (segment === Segment.TAKEN) writer.bytes[at + 4] = outcome;
    }
    const from = type === Type.OFFER ? a : b;
    const incarnation = 1_800_000_000_000_001;
    const header = { type, sender: from.id, receiver, incarnation, sequence: 1000, oldest: 1 };
    return writer.finish(header).slice();
  };
  const rejected = (node: Node, name: string) => node.engine.stats().network[`rejected_${name}`];
  b.engine.receive(forged(Type.OFFER, Segment.OFFER, 0));
  assert.is(rejected(b, 'range'), 1);
  b.engine.receive(forged(Type.OFFER, undefined, b.id));
  assert.is(rejected(b, 'segment'), 1);
  b.engine.receive(forged(Type.OFFER, Segment.TAKEN, b.id));
  assert.is(rejected(b, 'segment_place'), 1);
  const { answers } = make(a, b);
  world.run(50);
  a.engine.receive(forged(Type.TAKEN, Segment.TAKEN, a.id, 3));
  assert.is(rejected(a, 'range'), 1);
  a.engine.receive(forged(Type.TAKEN, Segment.TAKEN, a.id)); // of another number
  assert.equal([asked.length, answers], [1, []]);
});

offer.run();
