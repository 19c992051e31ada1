// A compact record says all that the full one says, and a full datagram costs less than conntrackd's.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  EventType,
  RECORD_SIZE,
  RECORD_VERSION,
  RecordOffset,
} from '../../kernel/record/layout.js';
import { newRecord, RecordView } from '../../kernel/record/record.js';
import {
  compressible,
  contextOf,
  type Datagram,
  HEADER_SIZE,
  parse,
  Segment,
  Type,
  unpack,
  Writer,
} from '../../sync/wire.js';
import { generator } from '../support/random.js';
import { content, type Node, World } from './world.js';

const compact = suite('compact');

const OWNER = 0x0a0b0c0d;
/** Ethernet, IPv4 and UDP headers of a datagram, and what a seal adds to it. */
const LINK_OCTETS = 14 + 20 + 8;
const SEAL_OCTETS = 32;
/** What conntrackd's message about a TCP flow over IPv4 costs. */
const CONNTRACKD_OCTETS = 94;

function wordsOf(record: RecordView): Uint32Array {
  return new Uint32Array(record.slice.slice().buffer);
}

/** The record as a reader has it of a datagram with nothing but this. */
function carried(words: Uint32Array, elapsed = 0): Uint8Array {
  const writer = new Writer(1472);
  assert.ok(writer.compact(words, 0, elapsed));
  const header = { type: Type.DATA, sender: OWNER, sequence: 1, oldest: 1 };
  const datagram = parse(writer.finish(header)) as Datagram;
  const [context, { type, at }] = datagram.segments;
  assert.is(context.type, Segment.CONTEXT);
  const read = new Uint32Array(RECORD_SIZE / 4);
  const from = datagram.contexts[contextOf(datagram.view, at)];
  unpack(datagram.view, at, type === Segment.RECORD4, from, OWNER, read);
  return new Uint8Array(read.buffer);
}

/** A record in which every octet that may differ does. */
function vivid(): RecordView {
  const record = newRecord();
  record.slice.forEach((_, at) => {
    record.slice[at] = at + 1;
  });
  const view = new DataView(record.slice.buffer, record.slice.byteOffset, RECORD_SIZE);
  record.owner = OWNER;
  record.generation = 0xbeef;
  record.setState(0, 3);
  record.setState(1, 6);
  record.tuple(0).source = '198.51.100.7';
  record.tuple(0).destination = '192.0.2.100';
  record.tuple(1).source = '10.0.0.21';
  record.tuple(1).destination = '10.0.0.1';
  view.setUint32(RecordOffset.wscaleIn, 0x0e070a01, true);
  view.setUint8(RecordOffset.version, RECORD_VERSION);
  view.setUint16(RecordOffset.reserved, 0);
  return record;
}

compact('an item of 72 octets is as docs/wire.md draws it', () => {
  const writer = new Writer(1472, false);
  assert.ok(writer.compact(wordsOf(vivid()), 0, 0));
  const datagram = writer.finish({ type: Type.DATA, sender: OWNER, sequence: 1, oldest: 1 });
  const hex = (from: number, octets: number) =>
    Buffer.from(datagram.subarray(from, from + octets)).toString('hex');
  assert.is(
    hex(HEADER_SIZE, 24),
    `0d011400${'05060708'}${'090a0b0c0d0e0f10'}${'11121314'}${'191a1b1c'}`,
  );
  assert.is(
    hex(HEADER_SIZE + 24, 76),
    [
      '0e014800',
      '01020304', // id, low half
      '1d1e1f20', // remaining_ms
      '8d8e8f90', // idle_ms
      'efbe2526', // generation, flags
      'a1e7950c', // window shifts, options, states and context
      '91929394', // mss
      'c6336407c0000264494a4b4c', // leg 0
      '0a0000150a0000016d6e6f70', // leg 1
      '7172737475767778', // seq_d
      '797a7b7c7d7e7f80', // tsval_d
      '8182838485868788', // base
    ].join(''),
  );
});

compact('whatever a record says, the compact form says it, or is not used', () => {
  const random = generator(11);
  const dice = (n: number) => Math.floor(random() * n);
  const forms = { compact: 0, full: 0 };
  for (let round = 0; round < 20_000; round++) {
    const record = vivid();
    const words = wordsOf(record);
    const view = new DataView(words.buffer);
    // some fields are anything at all; addresses, states and shifts more often what they can be
    for (let changes = dice(6); changes > 0; changes--) {
      words[dice(words.length)] = dice(2) ? dice(2 ** 32) : (dice(3) - 1) >>> 0;
    }
    if (dice(3) === 0) view.setUint8(RecordOffset.state + dice(2), dice(9));
    if (dice(3) === 0) view.setUint8(RecordOffset.wscaleIn + dice(4), dice(17));
    if (!compressible(words, 0, OWNER)) {
      forms.full++;
      continue;
    }
    forms.compact++;
    assert.equal(carried(words), new Uint8Array(words.buffer));
  }
  assert.ok(forms.compact > 4000 && forms.full > 4000, JSON.stringify(forms));
});

compact('the times of a record are as of its sending', () => {
  const record = vivid();
  record.remainingMs = 5000;
  record.idleMs = 10;
  const later = new RecordView(carried(wordsOf(record), 700));
  assert.is(later.remainingMs, 4300);
  assert.is(later.idleMs, 710);
  const late = new RecordView(carried(wordsOf(record), 6000));
  assert.is(late.remainingMs, 0);
});

function pair(mtu = 1472): { world: World; a: Node; b: Node; sent: () => Uint8Array[] } {
  const world = new World(1);
  const a = world.node('lb-a', { resendQueueSize: 131_072 });
  const b = world.node('lb-b');
  a.options = { ...a.options, link: { ...linkOf(a, world), mtu } };
  a.restart();
  a.engine.start();
  b.engine.start();
  world.run(200);
  world.recording = [];
  const sent = () => (world.recording ?? []).filter((datagram) => datagram[5] === Type.DATA);
  return { world, a, b, sent };
}

function linkOf(node: Node, world: World) {
  const send = (datagram: Uint8Array) => {
    world.carry(node, datagram);
    return true;
  };
  return { mtu: 1472, paths: 1, send, stats: () => ({}) };
}

function born(node: Node, count: number, change: (record: RecordView, index: number) => void) {
  const records = Array.from({ length: count }, () => node.record());
  for (const [index, record] of records.entries()) change(record, index);
  node.emit(EventType.NEW, ...records);
}

const onEthernet = (datagrams: Uint8Array[], seal: number) =>
  datagrams.reduce((sum, { length }) => sum + length + LINK_OCTETS + seal, 0);

const MIXTURES: [string, (record: RecordView, index: number) => void][] = [
  ['of one birth', () => {}],
  [
    'another epoch now and then',
    (record, index) => {
      record.epoch = 1 + (index >> 4);
    },
  ],
  [
    'half of them taken over',
    (record, index) => {
      if (index % 2) record.incarnation = 1_690_000_000_000_000n;
      if (index % 3) record.epoch = 7;
    },
  ],
];

for (const [what, change] of MIXTURES) {
  for (const seal of [0, SEAL_OCTETS]) {
    compact(`an entry over IPv4 costs ${seal ? 'sealed ' : ''}at most 94 octets: ${what}`, () => {
      const { world, a, b, sent } = pair(1472 - seal);
      born(a, 4096, change);
      world.run(50);
      const octets = onEthernet(sent(), seal) / 4096;
      assert.ok(octets <= CONNTRACKD_OCTETS, `${octets}`);
      assert.equal(content(b.external(a)), content(a.engine.internal));
    });
  }
}

compact('what can be said in no compact form goes as it is, between the others', () => {
  const { world, a, b, sent } = pair();
  born(a, 300, (record, index) => {
    if (index % 3 === 0) record.generation = 70_000 + index;
    if (index % 5 === 0) record.tuple(1).destination = '2001:db8::1';
    if (index % 7 === 0) record.origin = 1 + index;
  });
  world.run(100);
  const types = new Set(
    sent().flatMap((datagram) => (parse(datagram) as Datagram).segments.map(({ type }) => type)),
  );
  for (const type of [Segment.RECORD, Segment.RECORD4, Segment.RECORD6]) assert.ok(types.has(type));
  assert.equal(content(b.external(a)), content(a.engine.internal));
});

for (const [mtu, records] of [
  [548, 6],
  [1232, 15],
  [1472, 19],
  [8972, 123],
  [65_507, 908],
]) {
  compact(
    `records fill a datagram of ${mtu} octets, and only the last one of a turn is not full`,
    () => {
      const { world, a, b, sent } = pair(mtu);
      a.open(4096);
      const lengths = sent().map(({ length }) => length);
      const last = lengths.pop() as number;
      assert.is(lengths.length, Math.floor((4096 - 1) / records));
      assert.ok(last <= mtu);
      for (const length of lengths) assert.ok(length <= mtu && mtu - length < 72 + 4, `${length}`);
      world.run(50);
      assert.is(b.external(a)?.size, 4096);
    },
  );
}

compact('a record alone is sent alone, at once, without padding', () => {
  const { a, sent } = pair();
  a.open();
  assert.equal(
    sent().map(({ length }) => length),
    [HEADER_SIZE + 24 + 76],
  );
});

compact.run();
