// Nodes with two paths between them, in simulated time. A path may be cut for one sender and one
// receiver, or be known to be down at a node.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SyncOptions } from '../../sync/api.js';
import type { Link } from '../../sync/ports.js';
import { Type } from '../../sync/wire.js';
import { converged, type Node, World } from './world.js';

const paths = suite('paths');

const TYPE_AT = 5;

class Cables {
  readonly world = new World(7);
  readonly nodes: Node[] = [];
  /** "a>b 0": what a sends to b by path 0 gets lost. */
  readonly cut = new Set<string>();
  /** "a 0": a knows that its path 0 is down. */
  readonly down = new Set<string>();
  /** Parts of one. */
  loss = 0;
  /** Datagrams sent, other than HELLO, by node and path. */
  readonly sent = new Map<string, number>();

  node(name: string, options: Partial<SyncOptions> = {}): Node {
    const node: Node = this.world.node(name, { link: this.#link(name), ...options });
    this.nodes.push(node);
    return node;
  }

  start(...names: string[]): Node[] {
    const nodes = names.map((name) => this.node(name));
    for (const { engine } of nodes) engine.start();
    this.world.run(2500);
    assert.ok(converged(...nodes));
    return nodes;
  }

  /** What a node has sent by each path since it was asked last. */
  taken({ name }: Node): [number, number] {
    const both = [0, 1].map((path) => this.sent.get(`${name} ${path}`) ?? 0) as [number, number];
    for (const path of [0, 1]) this.sent.delete(`${name} ${path}`);
    return both;
  }

  #link(name: string): Link {
    return {
      mtu: 1472,
      paths: 2,
      names: ['first', 'second'],
      send: (datagram, path) => this.#carry(name, datagram.slice(), path),
      fault: (path) => (this.down.has(`${name} ${path}`) ? 'the cable is out' : undefined),
      stats: () => ({}),
    };
  }

  #carry(from: string, datagram: Uint8Array, path: number): boolean {
    if (this.down.has(`${from} ${path}`)) return false;
    if (datagram[TYPE_AT] !== Type.HELLO) {
      const key = `${from} ${path}`;
      this.sent.set(key, (this.sent.get(key) ?? 0) + 1);
    }
    for (const to of this.nodes) {
      if (to.name === from || this.cut.has(`${from}>${to.name} ${path}`)) continue;
      if (this.down.has(`${to.name} ${path}`) || this.world.random() < this.loss) continue;
      this.world.after(0.1 + path, () => to.engine.receive(datagram, path));
    }
    return true;
  }
}

/** A splice is born every 10 ms. */
function traffic({ world }: Cables, node: Node, ms: number): void {
  for (let at = 0; at < ms; at += 10) {
    node.open();
    world.run(10);
  }
}

const inUse = (node: Node): string[] =>
  node.engine
    .paths()
    .filter((path) => path.inUse)
    .map(({ name }) => name);

const changes = (node: Node): number => node.notices.filter((n) => n === 'path-changed').length;

paths('everything goes by the preferred path while it is good', () => {
  const cables = new Cables();
  const [a, b] = cables.start('a', 'b');
  traffic(cables, a, 500);
  const [first, second] = cables.taken(a);
  assert.ok(first > 50);
  assert.is(second, 0);
  assert.ok(converged(a, b));
  assert.is(changes(a) + changes(b), 0);
});

paths(
  'a path that fails one way is left within half a second of traffic, nothing is missing',
  () => {
    const cables = new Cables();
    const [a, b] = cables.start('a', 'b');
    cables.cut.add('a>b 0');
    traffic(cables, a, 500);
    assert.equal(inUse(a), ['second']);
    assert.equal(inUse(b), ['first'], 'a still hears b there');
    assert.equal(a.engine.paths()[0].unheardBy, ['b']);
    cables.world.run(100);
    assert.ok(converged(a, b));
    assert.is(a.notices.includes('lost-for-good'), false);
  },
);

paths('a path that fails the other way is left as fast by who only acknowledges', () => {
  const cables = new Cables();
  const [a, b] = cables.start('a', 'b');
  cables.cut.add('b>a 0');
  traffic(cables, a, 700);
  assert.equal(inUse(b), ['second']);
  assert.equal(inUse(a), ['first'], 'b still hears a there');
  cables.world.run(100);
  assert.is(a.engine.unacknowledged(), 0);
});

paths('without traffic the keep-alives find it', () => {
  const cables = new Cables();
  const [a, b] = cables.start('a', 'b');
  cables.cut.add('a>b 0');
  cables.world.run(4000);
  assert.equal(inUse(a), ['second']);
  assert.equal(inUse(b), ['first']);
});

paths('a path that is known to be down is left before anything is lost', () => {
  const cables = new Cables();
  const [a, b] = cables.start('a', 'b');
  cables.down.add('a 0');
  const refused = a.engine.stats().network.tx_refused;
  a.open(100);
  assert.equal(inUse(a), ['second']);
  cables.world.run(20);
  assert.ok(converged(a, b), 'no repair was needed');
  assert.is(a.engine.stats().network.tx_refused, refused);
});

paths('both ways cut: both leave it; healed, both go back after some seconds, not at once', () => {
  const cables = new Cables();
  const [a, b] = cables.start('a', 'b');
  for (const way of ['a>b 0', 'b>a 0']) cables.cut.add(way);
  traffic(cables, a, 1000);
  cables.world.run(3000);
  assert.equal([inUse(a), inUse(b)], [['second'], ['second']]);
  cables.cut.clear();
  traffic(cables, a, 2000);
  assert.equal(inUse(a), ['second'], 'it has to prove itself');
  traffic(cables, a, 6000);
  assert.equal([inUse(a), inUse(b)], [['first'], ['first']]);
  assert.ok(converged(a, b));
  assert.is(changes(a), 2);
});

paths('a path that fails again and again is gone back to less and less often', () => {
  const cables = new Cables();
  const [a] = cables.start('a', 'b');
  for (let round = 0; round < 12; round++) {
    cables.cut.add('a>b 0');
    traffic(cables, a, 500);
    cables.world.run(3500);
    cables.cut.clear();
    cables.world.run(8000);
  }
  assert.ok(changes(a) <= 5, `${changes(a)} changes in 12 failures`);
  cables.world.run(90_000);
  assert.equal(inUse(a), ['first']);
});

paths('when no path reaches all, what is said goes by as many as it takes', () => {
  const cables = new Cables();
  const [a, b, c] = cables.start('a', 'b', 'c');
  cables.cut.add('a>b 0').add('a>c 1');
  traffic(cables, a, 1000);
  assert.equal(inUse(a).sort(), ['first', 'second']);
  cables.world.run(500);
  assert.ok(converged(a, b, c));
  cables.cut.delete('a>c 1');
  traffic(cables, a, 5000);
  assert.equal(inUse(a), ['second']);
});

paths('a dead node holds nobody to a path', () => {
  const cables = new Cables();
  const [a, , c] = cables.start('a', 'b', 'c');
  cables.cut.add('a>c 0').add('c>a 0').add('c>a 1');
  traffic(cables, a, 5000);
  assert.equal(inUse(a), ['first']);
  assert.is(a.engine.peers().find(({ name }) => name === 'c')?.alive, false);
  assert.ok(c);
});

paths('some loss on every path is no reason to change', () => {
  const cables = new Cables();
  const [a, b] = cables.start('a', 'b');
  cables.loss = 0.05;
  traffic(cables, a, 5000);
  assert.ok(changes(a) <= 2, `${changes(a)} changes`);
  cables.loss = 0;
  cables.world.run(1000);
  assert.ok(converged(a, b));
});

paths(
  'a node of the first version, which says nothing of paths, is sent by the preferred one',
  () => {
    const cables = new Cables();
    const a = cables.node('a');
    const b = cables.node('b', { versionMax: 1 });
    for (const { engine } of [a, b]) engine.start();
    traffic(cables, a, 3000);
    assert.equal(inUse(a), ['first']);
    assert.is(changes(a), 0);
    assert.ok(converged(a, b));
  },
);

paths('a node that leaves is gone once, though its good-bye comes by two paths', () => {
  const cables = new Cables();
  const [a, b] = cables.start('a', 'b');
  b.changes.length = 0;
  a.engine.stop();
  cables.world.run(1000);
  assert.equal(b.changes, ['dead']);
});

paths('a HELLO that comes by two paths is answered once', () => {
  const cables = new Cables();
  const [a, b] = cables.start('a', 'b');
  const before = b.engine.stats().network.tx_report;
  cables.cut.add('a>b 0'); // the record itself is lost: a probe must tell b of it
  a.open();
  cables.world.run(30);
  assert.is(b.engine.stats().network.tx_report - before, 1);
});

paths.run();
