// Nodes of both versions of the wire on one link: whoever reads less is spoken to as he reads.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { RecordView } from '../../kernel/record/record.js';
import { parse, Segment, Type, WIRE_VERSION, Writer } from '../../sync/wire.js';
import { converged, type Faults, type Node, World } from './world.js';

const versions = suite('versions');

const OLD = { versionMax: 1 };
const LINKS: [string, Faults][] = [
  ['a clean link', {}],
  ['a bad link', { loss: 0.1, duplication: 0.1, jitterMs: 6 }],
];

/** Births, changes and deaths for so many turns of 3 ms. */
function busy(world: World, turns: number, ...nodes: Node[]): void {
  for (const node of nodes) {
    const open: RecordView[] = [];
    for (let turn = 0; turn < turns; turn++) {
      world.after(turn * 3, () => {
        open.push(...node.open(4 + Math.floor(world.random() * 16)));
        for (let i = 0; i < 4; i++) {
          const at = Math.floor(world.random() * open.length);
          if (i % 2) node.change(open[at]);
          else node.close(...open.splice(at, 1));
        }
      });
    }
  }
  world.run(3 * turns);
}

/** The daemon stops as one does for an upgrade, and another version of it starts over the kernel. */
function replace(node: Node, options: { versionMax?: number }): void {
  node.engine.stop();
  node.options = options;
  node.restart();
  node.engine.start();
}

function settled(world: World, what: string, ...nodes: Node[]): void {
  const done = () =>
    nodes.every(({ engine }) => engine.unacknowledged() === 0 && engine.inSync) &&
    converged(...nodes);
  assert.ok(world.until(done, 5000), `${what}: not equal after 5 s`);
}

/** The versions of a node's DATA since the last time, without repetitions. */
function spoken(world: World, node: Node): string {
  let said = '';
  for (const datagram of world.recording ?? []) {
    const view = new DataView(datagram.buffer);
    if (datagram[5] !== Type.DATA || view.getUint32(8, true) !== node.id) continue;
    if (!said.endsWith(`${datagram[4]}`)) said += datagram[4];
  }
  world.recording = [];
  return said;
}

for (const [what, faults] of LINKS) {
  versions(`an old node joins a new pair over ${what}, and is upgraded later`, () => {
    const world = new World(3);
    world.faults = faults;
    world.recording = [];
    const [a, b] = [world.node('lb-a'), world.node('lb-b')];
    a.engine.start();
    b.engine.start();
    busy(world, 60, a, b);
    settled(world, 'the pair', a, b);
    assert.is(spoken(world, a), '2');
    const c = world.node('lb-c', OLD);
    c.engine.start();
    busy(world, 60, a, b, c);
    settled(world, 'with the old node', a, b, c);
    assert.ok(['1', '21'].includes(spoken(world, a)), 'all is said so that the old node reads it');
    busy(world, 20, a, b, c);
    assert.is(spoken(world, b), '1');
    replace(c, {});
    busy(world, 60, a, b, c);
    settled(world, 'upgraded', a, b, c);
    busy(world, 20, a, b, c);
    spoken(world, a);
    busy(world, 20, a);
    assert.is(spoken(world, a), '2', 'nobody is left who would not read it');
  });

  versions(`an old pair is upgraded node by node over ${what}, and goes back`, () => {
    const world = new World(4);
    world.faults = faults;
    world.recording = [];
    const a = world.node('lb-a', OLD);
    const b = world.node('lb-b', OLD);
    a.engine.start();
    b.engine.start();
    busy(world, 40, a, b);
    settled(world, 'old', a, b);
    for (const [node, options, both] of [
      [a, {}, '1'],
      [b, {}, '2'],
      [a, OLD, '1'],
    ] as [Node, { versionMax?: number }, string][]) {
      replace(node, options);
      busy(world, 40, a, b);
      settled(world, `${node.name} with ${JSON.stringify(options)}`, a, b);
      spoken(world, a);
      busy(world, 20, a);
      assert.is(spoken(world, a), both);
      settled(world, 'and on', a, b);
    }
    assert.not(a.notices.includes('versions-apart'));
  });
}

versions('a node that is to speak the first version says nothing that came later', () => {
  const world = new World(9);
  world.recording = [];
  const [a, b] = [world.node('lb-a', OLD), world.node('lb-b', OLD)];
  a.engine.start();
  b.engine.start();
  busy(world, 20, a, b);
  a.engine.bulk();
  world.run(1500);
  for (const datagram of world.recording) {
    const parsed = parse(datagram);
    if (typeof parsed === 'string') throw new Error(parsed);
    assert.is(parsed.header.version, 1);
    assert.is(parsed.header.nonce, 0);
    for (const { type } of parsed.segments) assert.ok(type <= Segment.KNOWN, `segment ${type}`);
  }
  assert.ok(world.recording.length > 50);
});

versions('an old node that falls silent and comes back has lost nothing', () => {
  const world = new World(5);
  const [a, b] = [world.node('lb-a'), world.node('lb-b', OLD)];
  a.engine.start();
  b.engine.start();
  world.run(200);
  a.open(50);
  world.run(100);
  world.lose = () => true;
  world.run(5000);
  assert.ok(a.changes.includes('dead'));
  world.recording = [];
  a.open(50);
  assert.is(spoken(world, a), '2', 'nobody alive is known');
  world.lose = () => false;
  settled(world, 'back again', a, b);
  assert.is(b.external(a)?.size, 100);
});

versions('a node of a later version is met at the highest that both speak', () => {
  const world = new World(6);
  const a = world.node('lb-a');
  const later = world.node('lb-z');
  later.down = true;
  a.engine.start();
  world.run(10);
  for (const [lowest, highest, spokenTo, notice] of [
    [1, 9, 2, false],
    [1, 1, 1, false],
    [3, 9, 2, true],
  ] as [number, number, number, boolean][]) {
    a.engine.receive(hello(later, lowest, highest));
    world.recording = [];
    a.open();
    assert.is(world.recording[0][4], spokenTo, `${lowest} to ${highest}`);
    assert.is(a.notices.includes('versions-apart'), notice);
  }
});

function hello(node: Node, lowest: number, highest: number): Uint8Array {
  const writer = new Writer(1472);
  const at = writer.item(Segment.VERSIONS);
  writer.bytes[at] = lowest;
  writer.bytes[at + 1] = highest;
  return writer.finish({ type: Type.HELLO, sender: node.id, incarnation: 7, oldest: 1 });
}

versions('a later version is told from noise, and its keep-alive is read', () => {
  const world = new World(7);
  const [a, b] = [world.node('lb-a'), world.node('lb-b')];
  world.recording = [];
  a.engine.start();
  b.engine.start();
  a.open(3);
  world.run(50);
  const before = b.engine.stats().network;
  const data = world.recording.find((d) => d[5] === Type.DATA) as Uint8Array;
  const later = data.slice();
  later[4] = WIRE_VERSION + 1;
  b.engine.receive(later);
  assert.is(b.engine.stats().network.rejected_version, before.rejected_version + 1);
  assert.is(b.engine.peers().length, 1);
});

versions('what was sent and received is counted by version', () => {
  const world = new World(8);
  const [a, b] = [world.node('lb-a'), world.node('lb-b')];
  a.engine.start();
  b.engine.start();
  world.run(50);
  a.open(3);
  world.run(50);
  const [said, heard] = [a.engine.stats().network, b.engine.stats().network];
  assert.ok(said.tx_version_1 > 0 && said.tx_version_2 > 0);
  assert.is(said.tx_version_1, said.tx_hello);
  assert.is(heard.rx_version_1 + heard.rx_version_2, heard.rx_datagrams);
});

versions.run();
