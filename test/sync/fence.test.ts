// Who stands for the virtual addresses: the messages by which one node makes the others yield, and what
// becomes of it when they are lost, late, or cross each other.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { FenceOutcome } from '../../sync/api.js';
import { parse, readRole, Segment, Type } from '../../sync/wire.js';
import { key } from './ether.js';
import { type Node, type NodeOptions, World } from './world.js';

const TIMEOUT_MS = 30;

/** A node with its address and its datapath, as the daemon has them: by the order of a takeover. */
class Stander {
  /** It answers for the address, as far as its datapath lets it. */
  silent = false;
  holds = false;
  yields: string[] = [];
  takeovers = 0;
  outcome: FenceOutcome | undefined;

  constructor(readonly node: Node) {
    node.onYield = (to) => {
      this.yields.push(to);
      this.silent = true;
    };
    node.onUnclaimed = () => this.takeOver();
  }

  get answers(): boolean {
    return this.holds && !this.silent;
  }

  /** The address comes. */
  come(): void {
    this.holds = true;
    this.silent = true;
    this.#place();
    this.takeOver();
  }

  go(): void {
    this.holds = false;
    this.#place();
  }

  takeOver(): void {
    this.takeovers++;
    const { engine } = this.node;
    this.outcome = undefined;
    engine.claim();
    engine.settle(TIMEOUT_MS, (outcome) => {
      this.outcome = outcome;
      if (outcome.beaten !== undefined) return;
      this.silent = false;
      engine.stand();
    });
  }

  #place(): void {
    const role = this.holds ? 'primary' : 'backup';
    this.node.engine.place({ role, holds: this.holds });
  }
}

/** So many nodes that have found each other. */
function cluster(count: number, seed = 1, options: NodeOptions[] = []): [World, ...Stander[]] {
  const world = new World(seed);
  const nodes = ['lb-a', 'lb-b', 'lb-c'].slice(0, count).map((name, index) => {
    const stander = new Stander(world.node(name, options[index] ?? {}));
    stander.node.engine.place({ role: 'backup', holds: false });
    return stander;
  });
  for (const { node } of nodes) node.engine.start();
  world.run(2500);
  return [world, ...nodes];
}

const typeOf = (datagram: Uint8Array): number => datagram[5];
const answering = (...nodes: Stander[]): string[] =>
  nodes.filter(({ answers }) => answers).map(({ node }) => node.name);
const counts = ({ node }: Stander) => node.engine.stats().ownership;

const fence = suite('fence');

fence(
  'the node that takes over asks, the other yields before it says so, and then one answers',
  () => {
    const [world, a, b] = cluster(2);
    a.come();
    world.run(5);
    assert.equal(answering(a, b), ['lb-a']);
    b.come();
    assert.equal(answering(a, b), ['lb-a'], 'until it has yielded');
    assert.ok(world.until(() => b.outcome !== undefined, TIMEOUT_MS - 10));
    assert.equal(
      b.outcome?.answered.map(({ name }) => name),
      ['lb-a'],
    );
    assert.equal(answering(a, b), ['lb-b']);
    assert.equal(a.yields, ['lb-b']);
    assert.ok(b.node.engine.epoch > 1);
    assert.equal(a.node.engine.fence(), {
      stands: false,
      epoch: 0,
      yieldedTo: { node: b.node.id, epoch: b.node.engine.fence().epoch },
      beatenBy: b.node.id,
    });
    world.run(20_000);
    assert.equal(answering(a, b), ['lb-b'], 'and it stays so, although both hold the address');
    assert.is(a.takeovers + b.takeovers, 2);
  },
);

fence('a node that has yielded stands again when the other one has lost the address', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  b.come();
  world.run(50);
  b.go();
  world.run(10);
  assert.equal(answering(a, b), ['lb-a']);
  assert.is(a.takeovers, 2);
  assert.is(b.node.engine.fence().yieldedTo, undefined, 'a backup has nothing to yield');
});

fence('... or is dead', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  b.come();
  world.run(50);
  b.node.down = true;
  world.run(3000);
  assert.is(a.answers, false, 'not before it is known to be dead');
  world.run(2000);
  assert.is(a.answers, true);
});

fence('... or when the address comes anew', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  b.come();
  world.run(50);
  a.go();
  a.come();
  world.run(50);
  assert.equal(answering(a, b), ['lb-a']);
  assert.equal(b.yields, ['lb-a']);
});

fence('a node that has yielded and has lost the address too does nothing', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  b.come();
  a.go();
  world.run(50);
  b.go();
  world.run(10_000);
  assert.equal([a.takeovers, b.takeovers], [1, 1]);
  assert.equal(answering(a, b), []);
});

fence('two that take over at the same moment settle by their claims', () => {
  const [world, a, b] = cluster(2);
  a.come();
  b.come();
  assert.is(a.node.engine.epoch, b.node.engine.epoch);
  world.run(100);
  const stronger = a.node.id > b.node.id ? a : b;
  const weaker = stronger === a ? b : a;
  assert.equal(answering(a, b), [stronger.node.name]);
  assert.is(weaker.outcome?.beaten, stronger.node.id);
  assert.is(stronger.outcome?.beaten, undefined);
});

fence('questions that are lost are asked again until one comes through', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  let lost = 0;
  world.lose = (datagram) => typeOf(datagram) !== Type.YIELDED && lost++ < 8;
  b.come();
  world.run(TIMEOUT_MS);
  assert.equal(answering(a, b), ['lb-b']);
  assert.is(b.outcome?.silent.length, 0);
  assert.ok(lost > 4, `${lost} lost`);
});

fence('answers that are lost are made good by any that comes', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  world.lose = (datagram) => typeOf(datagram) === Type.YIELDED;
  b.come();
  world.run(TIMEOUT_MS);
  assert.is(b.outcome?.answered.length, 1, 'its HELLO says the same');
});

fence('who does not answer is named after the time, and the taker goes on', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  world.lose = () => true;
  b.come();
  assert.not.ok(world.until(() => b.outcome !== undefined, TIMEOUT_MS - 2));
  world.run(4);
  assert.equal(
    b.outcome?.silent.map(({ name }) => name),
    ['lb-a'],
  );
  assert.is(counts(b).yields_unanswered, 1);
  assert.equal(answering(a, b), ['lb-a', 'lb-b'], 'as long as they do not hear each other');
  world.run(10_000);
  world.lose = () => false;
  world.run(2000);
  assert.equal(answering(a, b), ['lb-b']);
});

fence('a peer that is known to be dead is not waited for', () => {
  const [world, a, b] = cluster(2);
  a.node.down = true;
  world.run(5000);
  b.come();
  assert.equal(b.outcome, { beaten: undefined, answered: [], silent: [], unable: [] });
  assert.equal(answering(b), ['lb-b']);
});

fence('a peer of an older version cannot be asked: named, and not waited for', () => {
  const [world, a, b] = cluster(2, 1, [{ versionMax: 1 }]);
  a.come();
  world.run(50);
  world.recording = [];
  b.come();
  assert.equal(
    b.outcome?.unable.map(({ name }) => name),
    ['lb-a'],
  );
  assert.is(b.outcome?.silent.length, 0);
  assert.is(counts(b).yields_unable, 1);
  assert.is(world.recording.filter((sent) => typeOf(sent) === Type.YIELD).length, 0);
  const roles = world.recording.filter((sent) => {
    const read = parse(sent);
    return typeof read !== 'string' && read.segments.some(({ type }) => type === Segment.ROLE);
  });
  assert.ok(roles.length > 0, 'it says its role all the same, which the older one skips');
});

fence('a cut in one direction only: one of them answers, and the cut may turn round', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  b.come();
  world.run(50);
  for (const deaf of [a, b, a, b]) {
    world.lose = (_datagram, _from, to) => to === deaf.node;
    world.run(10_000);
    assert.is(answering(a, b).length, 1, `${deaf.node.name} hears nothing`);
  }
  world.lose = () => false;
  const before = a.takeovers + b.takeovers;
  world.run(10_000);
  assert.is(answering(a, b).length, 1);
  assert.ok(a.takeovers + b.takeovers - before <= 1);
});

fence('of three that hold the address one answers, and another when that one goes', () => {
  const [world, a, b, c] = cluster(3);
  for (const node of [a, b, c]) {
    node.come();
    world.run(50);
  }
  assert.equal(answering(a, b, c), ['lb-c']);
  c.node.down = true;
  world.run(5000);
  assert.is(answering(a, b).length, 1);
  c.node.down = false;
  world.run(2000);
  assert.is(answering(a, b, c).length, 1, 'the one that was away has yielded');
  assert.is(c.answers, false);
});

fence('a stale word of a peer does not undo a newer one', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  world.recording = [];
  b.come();
  world.run(50);
  const before = world.recording.filter((sent) => typeOf(sent) === Type.HELLO);
  a.go();
  world.run(50);
  b.go();
  a.come();
  world.run(50);
  assert.equal(answering(a, b), ['lb-a']);
  const takeovers = [a.takeovers, b.takeovers];
  for (const sent of before) a.node.sync.receive(sent.slice());
  world.run(5000);
  assert.equal(answering(a, b), ['lb-a']);
  assert.equal([a.takeovers, b.takeovers], takeovers);
});

fence('the address of a takeover may come later, but not for ever', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  // as a script does it that commits before it sets the address
  b.node.engine.place({ role: 'primary', holds: false });
  b.takeOver();
  world.run(1000);
  assert.is(a.answers, false);
  assert.is(a.takeovers, 1);
  b.holds = true;
  b.node.engine.place({ role: 'primary', holds: true });
  world.run(10_000);
  assert.equal(answering(a, b), ['lb-b']);
  a.go();
  a.come();
  world.run(100);
  b.go();
  b.node.engine.place({ role: 'primary', holds: false });
  b.takeOver();
  world.run(2000);
  assert.is(a.answers, false);
  world.run(2000);
  assert.equal(answering(a, b), ['lb-a'], 'whose address never came gives way');
});

fence('who was beaten before its address came takes over when it comes', () => {
  const [world, a, b] = cluster(2);
  b.node.engine.place({ role: 'primary', holds: false });
  b.takeOver();
  world.run(5);
  a.come();
  world.run(100);
  assert.equal(answering(a, b), ['lb-a']);
  assert.is(b.node.engine.fence().yieldedTo, undefined, 'it has no address to be silent about');
  assert.is(b.node.engine.fence().beatenBy, a.node.id);
  b.come();
  world.run(100);
  assert.equal(answering(a, b), ['lb-b']);
});

fence('a daemon that is started where its node had yielded does not answer', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  b.come();
  world.run(50);
  a.node.options = { yielded: true };
  a.node.restart();
  a.node.engine.place({ role: 'undecided', holds: true });
  a.node.engine.start();
  world.run(10_000);
  assert.equal(answering(a, b), ['lb-b']);
  assert.is(a.node.engine.fence().stands, false);
  b.go();
  world.run(100);
  assert.equal(answering(a, b), ['lb-a']);
});

fence('a daemon that is started on the node that answers goes on standing', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  b.come();
  world.run(50);
  b.node.restart();
  b.node.engine.place({ role: 'undecided', holds: true });
  b.node.engine.start();
  world.run(5000);
  assert.equal(answering(a, b), ['lb-b']);
  assert.is(a.takeovers, 1);
});

fence('a commit is said under the epoch of its claim', () => {
  const [world, a, b] = cluster(2);
  a.come();
  a.node.open(3);
  world.run(50);
  const epoch = b.node.engine.claim();
  assert.is(b.node.commit(), 3);
  assert.is(b.node.engine.epoch, epoch);
  assert.is(b.node.engine.fence().epoch, epoch);
  b.node.engine.stand();
  world.run(20);
  assert.is(a.node.engine.internal.size, 0);
});

fence('every question and every answer goes by a sealed link, and says what it shall', () => {
  const sealed = { keys: [key(1)] };
  const [world, a, b] = cluster(2, 1, [sealed, sealed]);
  a.come();
  world.run(50);
  b.come();
  world.run(TIMEOUT_MS);
  assert.equal(answering(a, b), ['lb-b']);
  assert.is(b.outcome?.answered.length, 1);
});

fence('a YIELD says the claim, a YIELDED the claim that it yields to', () => {
  const [world, a, b] = cluster(2);
  a.come();
  world.run(50);
  world.recording = [];
  b.come();
  world.run(TIMEOUT_MS);
  const role = (type: number) => {
    const sent = world.recording?.find((one) => typeOf(one) === type) as Uint8Array;
    const read = parse(sent);
    if (typeof read === 'string') throw new Error(read);
    return readRole(read.view, read.segments[0].at);
  };
  const { epoch } = b.node.engine.fence();
  const asked = role(Type.YIELD);
  assert.equal([asked.role, asked.stands, asked.epoch], ['primary', true, epoch]);
  const answered = role(Type.YIELDED);
  assert.equal([answered.stands, answered.yieldedTo], [false, { epoch, owner: b.node.id }]);
});

fence('whatever is lost and late, of those that hold the address one answers in the end', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const [world, ...nodes] = cluster(2 + (seed % 2), seed);
    world.faults = { loss: 0.4, duplication: 0.2, jitterMs: 40 };
    for (let step = 0; step < 12; step++) {
      const node = nodes[Math.floor(world.random() * nodes.length)];
      if (world.random() < 0.3) node.node.down = !node.node.down;
      else if (node.holds) node.go();
      else node.come();
      world.run(world.random() * 3000);
    }
    for (const { node } of nodes) node.down = false;
    world.faults = {};
    world.run(6000);
    const holders = nodes.filter(({ holds }) => holds).length;
    assert.is(answering(...nodes).length, Math.min(1, holders), `seed ${seed}`);
    const before = nodes.reduce((sum, { takeovers }) => sum + takeovers, 0);
    world.run(20_000);
    const after = nodes.reduce((sum, { takeovers }) => sum + takeovers, 0);
    assert.is(after, before, `seed ${seed}: nothing moves any more`);
  }
});

fence.run();
