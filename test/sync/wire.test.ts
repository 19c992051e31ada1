// What comes from the network is taken whole or rejected by name, and a rejection changes nothing.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RECORD_SIZE, RecordOffset } from '../../kernel/record/layout.js';
import { HEADER } from '../../sync/wire/header.js';
import { RULES } from '../../sync/wire/segments.js';
import {
  checksum,
  HEADER_SIZE,
  HeaderFlag,
  NONCE_AT,
  parse,
  REJECTIONS,
  SEGMENT_SIZE,
  Segment,
  Type,
  WIRE_VERSION,
  Writer,
  writeU64,
} from '../../sync/wire.js';
import { generator } from '../support/random.js';
import { content, type Node, World } from './world.js';

const wire = suite('wire');

/**
 * A running pair, and a sound DATA datagram of a's with two records, which b has not seen yet.
 * @param version that a speaks
 */
function scene(version = 2): { world: World; a: Node; b: Node; data: Uint8Array } {
  const world = new World(1);
  const a = world.node('lb-a', { versionMax: version });
  const b = world.node('lb-b');
  a.engine.start();
  b.engine.start();
  a.open(5);
  world.run(200);
  world.recording = [];
  world.lose = () => true;
  a.open(2);
  return { world, a, b, data: world.recording[0] };
}

/** Changed by somebody who knows how checksums are made. */
function patched(datagram: Uint8Array, patch: (view: DataView) => void): Uint8Array {
  const copy = datagram.slice();
  const view = new DataView(copy.buffer);
  patch(view);
  if (view.getUint32(NONCE_AT, true) !== 0) view.setUint32(NONCE_AT, checksum(copy), true);
  return copy;
}

/** Of version 1: the first record. Of version 2: the context, and the first record. */
const RECORD = HEADER_SIZE + SEGMENT_SIZE;
const CONTEXT = HEADER_SIZE + SEGMENT_SIZE;
const COMPACT = CONTEXT + 20 + SEGMENT_SIZE;
const COMPACT_SIZE = 72;

type Forgery = [string, (d: Uint8Array, b: Node) => Uint8Array];

const FORGERIES: Forgery[] = [
  ['short', (d) => d.slice(0, HEADER_SIZE - 1)],
  ['short', () => new Uint8Array(0)],
  ['magic', (d) => patched(d, (v) => v.setUint8(0, 0))],
  ['version', (d) => patched(d, (v) => v.setUint8(4, WIRE_VERSION + 1))],
  ['version', (d) => patched(d, (v) => v.setUint8(4, 0))],
  ['type', (d) => patched(d, (v) => v.setUint8(5, 200))],
  ['key', (d) => patched(d, (v) => v.setUint8(7, 1))],
  ['sender', (d) => patched(d, (v) => v.setUint32(8, 0, true))],
  ['length', (d) => d.slice(0, d.length - 1)],
  ['length', (d) => Uint8Array.from([...d, 0])],
  ['range', (d) => patched(d, (v) => v.setUint32(36, 0xffffffff, true))],
  ['range', (d) => patched(d, (v) => writeU64(v, 32, 0))],
  ['range', (d) => patched(d, (v) => writeU64(v, 40, 1000))],
  ['segment', (d) => patched(d, (v) => v.setUint16(HEADER_SIZE + 2, 60_000, true))],
  ['old_incarnation', (d) => patched(d, (v) => writeU64(v, 16, 1))],
];

/** Of the records as they are. */
const FORGERIES_1: Forgery[] = [
  ['segment', (d) => patched(d, (v) => v.setUint8(HEADER_SIZE + 1, 1))],
  ['segment_place', (d) => patched(d, (v) => v.setUint8(5, Type.HELLO))],
  ['record_version', (d) => patched(d, (v) => v.setUint8(RECORD + RecordOffset.version, 9))],
  ['record_owner', (d) => patched(d, (v) => v.setUint32(RECORD + RecordOffset.owner, 5, true))],
  ['record_origin', (d) => patched(d, (v) => v.setUint32(RECORD + RecordOffset.origin, 0, true))],
  ['record_state', (d) => patched(d, (v) => v.setUint8(RECORD + RecordOffset.state, 1))],
  [
    'record_state', // of the second record: the first one is not taken either
    (d) => patched(d, (v) => v.setUint8(RECORD + RECORD_SIZE + RecordOffset.state + 1, 7)),
  ],
  ['own', ownOf],
];

/** Of the compact ones, and of what came with them. */
const FORGERIES_2: Forgery[] = [
  ['crc', (d) => d.map((octet, at) => (at === COMPACT + 30 ? octet ^ 0x10 : octet))],
  ['crc', (d) => d.map((octet, at) => (at === 16 ? octet ^ 1 : octet))],
  ['crc', (d) => d.map((octet, at) => (at === NONCE_AT + 7 ? 1 : octet))],
  ['version', (d) => patched(d, (v) => v.setUint8(5, Type.HELLO))],
  ['segment', (d) => patched(d, (v) => v.setUint8(COMPACT - SEGMENT_SIZE + 1, 1))],
  ['segment_place', (d) => patched(d, (v) => v.setUint8(5, Type.REPORT))],
  ['record_origin', (d) => patched(d, (v) => v.setUint32(CONTEXT + 12, 0, true))],
  ['record_context', (d) => patched(d, (v) => v.setUint8(COMPACT + 19, 0x10))],
  [
    'record_context', // of the second record: the first one is not taken either
    (d) => patched(d, (v) => v.setUint8(COMPACT + COMPACT_SIZE + 19, 0xf0)),
  ],
  ['record_context', (d) => contexts(d, 17)],
];

const CASES: [number, Forgery][] = [
  ...[1, 2].flatMap((version) => FORGERIES.map((f): [number, Forgery] => [version, f])),
  ...FORGERIES_1.map((f): [number, Forgery] => [1, f]),
  ...FORGERIES_2.map((f): [number, Forgery] => [2, f]),
];

for (const [version, [name, forge]] of CASES) {
  wire(`a forged datagram of version ${version} is counted as ${name} and changes nothing`, () => {
    const { a, b, data } = scene(version);
    const before = content(b.external(a));
    b.engine.receive(forge(data, b));
    assert.is(b.engine.stats().network[`rejected_${name}`], 1);
    assert.equal(content(b.external(a)), before);
    b.engine.receive(data);
    assert.is(b.external(a)?.size, 7, 'the sound one is taken all the same');
  });
}

/** The same with so many contexts. */
function contexts(data: Uint8Array, count: number): Uint8Array {
  const context = data.subarray(CONTEXT, CONTEXT + 20);
  const rest = data.subarray(COMPACT - SEGMENT_SIZE);
  const longer = new Uint8Array(CONTEXT + 20 * count + rest.length);
  longer.set(data.subarray(0, CONTEXT));
  for (let index = 0; index < count; index++) longer.set(context, CONTEXT + 20 * index);
  longer.set(rest, CONTEXT + 20 * count);
  return patched(longer, (view) => {
    view.setUint8(CONTEXT - 3, count);
    view.setUint16(CONTEXT - 2, 20 * count, true);
    view.setUint16(60, longer.length - HEADER_SIZE, true);
  });
}

function ownOf(data: Uint8Array, b: Node): Uint8Array {
  return patched(data, (view) => {
    view.setUint32(8, b.id, true);
    for (let at = RECORD; at < data.length; at += RECORD_SIZE) {
      view.setUint32(at + RecordOffset.owner, b.id, true);
    }
  });
}

wire('a datagram cut off anywhere, or with any octet changed, is never misread', () => {
  const { a, b, data } = scene();
  const random = generator(5);
  for (let cut = 0; cut < data.length; cut++) {
    assert.type(parse(data.slice(0, cut)), 'string');
  }
  for (let i = 0; i < 20_000; i++) {
    const noise = data.slice(0, 1 + Math.floor(random() * data.length));
    for (let n = 0; n < 4; n++) {
      noise[Math.floor(random() * noise.length)] = Math.floor(random() * 256);
    }
    const parsed = parse(noise);
    if (typeof parsed === 'string') assert.ok(REJECTIONS.includes(parsed));
    else for (const s of parsed.segments) assert.ok(s.at + s.count * s.size <= noise.length);
  }
  for (let i = 0; i < 2000; i++) {
    const noise = Uint8Array.from({ length: Math.floor(random() * 1500) }, () => random() * 256);
    b.engine.receive(noise);
  }
  assert.is(b.external(a)?.size, 5);
});

wire('a forged acknowledgement of what was never sent is refused', () => {
  const { a, b } = scene();
  const writer = new Writer(1472);
  const report = writer.finish({
    type: Type.REPORT,
    sender: b.id,
    receiver: a.id,
    incarnation: Number(a.engine.peers()[0].incarnation),
    receiverIncarnation: Number(b.engine.peers()[0].incarnation),
    sequence: 1,
    oldest: 1,
    ack: 1_000_000,
  });
  a.engine.receive(report);
  assert.is(a.engine.stats().network.rejected_ack_beyond, 1);
  assert.is(a.engine.unacknowledged(), 2);
});

wire('segments that a later version may add are skipped and counted', () => {
  const { a, b, data } = scene();
  const longer = new Uint8Array(data.length + 7);
  longer.set(data);
  longer.set([200, 1, 3, 0, 1, 2, 3], data.length);
  b.engine.receive(patched(longer, (v) => v.setUint16(60, longer.length - HEADER_SIZE, true)));
  assert.is(b.external(a)?.size, 7);
  assert.is(b.engine.stats().network.rx_unknown_segments, 1);
});

wire('another node under the same name is told apart from an echo', () => {
  const world = new World(2);
  const a = world.node('lb-a');
  const twin = world.node('lb-a', { hashLimit: 16 });
  a.engine.start();
  world.run(10);
  twin.restart(1_900_000_000_000_000n);
  twin.engine.start();
  world.run(10);
  assert.ok(a.notices.includes('twin'));
  assert.ok(a.engine.stats().network.rejected_twin > 0);
  assert.ok(twin.engine.stats().network.rejected_own >= 0);
  assert.is(a.engine.peers().length, 0);
});

const DOCUMENT = readFileSync(new URL('../../docs/wire.md', import.meta.url), 'utf8');

/** The cells of each row of the document's tables that begins with this. */
function rows(begin: RegExp): string[][] {
  return DOCUMENT.split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .slice(2, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )
    .filter(([first]) => begin.test(first));
}

const named = (cell: string) => [...cell.matchAll(/`([A-Z0-9_]+)`/g)].map((found) => found[1]);

wire('the document draws the header as it is', () => {
  const drawing = DOCUMENT.split('```')[1];
  const drawn = [...drawing.matchAll(/\|\s+(\d+)$/gm)].map((found) => Number(found[1]));
  const begins = Object.values(HEADER).map(({ at }) => at - (at % 4));
  assert.equal(drawn, [...new Set([...begins, HEADER_SIZE])]);
});

wire('the document has each segment with its number and size, and no other', () => {
  const documented = rows(/^\d+$/).filter((row) => row.length === 4);
  const expected = Object.entries(Segment).map(([name, number]) => [
    number,
    name,
    RULES[number].size,
  ]);
  assert.equal(
    documented.map(([number, name, size]) => [Number(number), named(name)[0], Number(size)]),
    expected.sort(([a], [b]) => Number(a) - Number(b)),
  );
});

wire('the document says which datagram carries what, and since which version', () => {
  for (const [name, type] of Object.entries(Type)) {
    const [row] = rows(/^\d+$/).filter(
      ([number, what]) => Number(number) === type && named(what)[0] === name,
    );
    assert.ok(row, `no row for ${name}`);
    const carried = Object.entries(Segment).filter(([, number]) =>
      RULES[number].within.includes(type),
    );
    assert.equal(named(row[4]).sort(), carried.map(([segment]) => segment).sort(), name);
  }
  for (const number of Object.values(Segment)) {
    assert.is(RULES[number].since ?? 1, number < Segment.VERSIONS ? 1 : 2);
  }
  assert.equal(
    rows(/^\d$/)
      .filter((row) => row.length === 2)
      .map(([version]) => Number(version)),
    Array.from({ length: WIRE_VERSION }, (_, version) => version + 1),
  );
});

wire('the document has each flag and each rejection, and no other', () => {
  const flags = rows(/^0x/).map(([flag]) => Number(flag));
  assert.equal(flags, Object.values(HeaderFlag));
  const rejections = rows(/^`[a-z_]+`$/).map(([name]) => name.slice(1, -1));
  assert.equal(rejections.sort(), [...REJECTIONS].sort());
});

wire.run();
