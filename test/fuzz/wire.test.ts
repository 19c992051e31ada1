// What comes from the link, however it has been damaged or made up, is a datagram or a named rejection.
//
//   npm test -- fuzz/wire                                       100,000 datagrams, always the same ones
//   FUZZ_INPUTS=1000000 FUZZ_SEED=7 npm test -- fuzz/wire       more, and others
//
// A failure names its seed and shows the datagram in hexadecimal; one that taught something is kept
// in test/fuzz/corpus/wire.
//
// deadline: 600
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import {
  CONTEXTS_MAX,
  compressible,
  contextOf,
  type Datagram,
  parse,
  REJECTIONS,
  type Rejection,
  Segment,
  Type,
  unpack,
  Writer,
} from '../../sync/wire.js';
import { type Node, World } from '../sync/world.js';
import { corpus } from './corpus.js';
import { mutant } from './datagrams.js';
import { type Dice, fuzzRun } from './dice.js';

const wire = suite('wire');

const SPECIMENS = corpus('wire');
const SOUND = SPECIMENS.filter(({ name }) => !name.startsWith('rejected-'));
const { dice, inputs } = fuzzRun('wire', 100_000);
/** One in so many goes through an engine as well: that is slower. */
const ENGINE_SHARE = 40;

/** A peer, the stream or the addressee decides about these: a datagram that is sound by itself. */
const JUDGED: readonly Rejection[] = [
  'own',
  'twin',
  'old_incarnation',
  'other_start',
  'too_many_peers',
  'late',
  'duplicate',
  'ack_beyond',
];
/**
 * The datagram is the peer's: that it was heard, and how far its stream has come and can be repaired,
 * is known by it. That may complete a bulk, which takes away what the bulk has not listed.
 */
const HEARD: readonly Rejection[] = ['other_start', 'late', 'duplicate', 'ack_beyond'];

/** A buffer that is longer than any datagram, so that a step past its end finds something. */
const guarded = new Uint8Array(65_536);

function placed(octets: Uint8Array, at: number, guard: number): Uint8Array {
  guarded.fill(guard, 0, at + octets.length + 512);
  guarded.set(octets, at);
  return guarded.subarray(at, at + octets.length);
}

/** A compact record, in full. */
function expand(datagram: Datagram, type: number, item: number, words: Uint32Array): void {
  const { header, view, contexts } = datagram;
  const context = contexts[contextOf(view, item)];
  assert.ok(context > 0 && context < item, 'said before');
  unpack(view, item, type === Segment.RECORD4, context, header.sender, words);
}

/** All that a datagram says, comparable with another one: records in full, whatever their form. */
function told(datagram: Datagram): string[] {
  const { header, segments, bytes } = datagram;
  const { length: _, nonce: __, ...fields } = header;
  const said = [Object.values(fields).join()];
  const words = new Uint32Array(RECORD_SIZE / 4);
  for (const { type, at, count, size } of segments) {
    if (type === Segment.CONTEXT) continue;
    for (let item = at; item < at + count * size; item += size) {
      if (type === Segment.RECORD4 || type === Segment.RECORD6) {
        expand(datagram, type, item, words);
        said.push(`record ${words.join()}`);
      } else {
        said.push(`${type} ${bytes.subarray(item, item + size).join()}`);
      }
    }
  }
  return said;
}

const writer = new Writer(65_535, false);

/** The same, written by this program. */
function rewritten(datagram: Datagram): Uint8Array {
  const { header, segments, bytes } = datagram;
  const words = new Uint32Array(RECORD_SIZE / 4);
  for (const { type, at, count, size } of segments) {
    if (type === Segment.CONTEXT) continue;
    for (let item = at; item < at + count * size; item += size) {
      if (type === Segment.RECORD4 || type === Segment.RECORD6) {
        expand(datagram, type, item, words);
        assert.ok(compressible(words, 0, header.sender));
        assert.ok(writer.compact(words, 0, 0));
      } else {
        writer.bytes.set(bytes.subarray(item, item + size), writer.item(type));
      }
    }
  }
  return writer.finish(header);
}

const UNCHECKED = { versionMax: 2, checksums: false };

/** Does the parser keep what it promises of these octets? Returns what it says. */
function judged(octets: Uint8Array): Rejection | 'taken' {
  const first = parse(placed(octets, 3, 0x00));
  const verdict = typeof first === 'string' ? first : 'taken';
  const said = typeof first === 'string' ? first : told(first).join('\n');
  const second = parse(placed(octets, 8, 0xff));
  assert.is(typeof second === 'string' ? second : told(second).join('\n'), said);
  if (typeof second === 'string') {
    assert.ok(REJECTIONS.includes(second) && !JUDGED.includes(second));
    return verdict;
  }
  const { header, segments, contexts } = second;
  const old = header.version === 1 && header.type !== Type.HELLO;
  for (const { type, at, count, size } of segments) {
    assert.ok(at + count * size <= octets.length);
    assert.ok(type <= Segment.KNOWN || !old, 'version 1 has no such segment');
  }
  assert.ok(contexts.length <= CONTEXTS_MAX);
  const again = parse(rewritten(second), UNCHECKED);
  if (typeof again === 'string') assert.unreachable(`taken, but rejected when rewritten: ${again}`);
  else assert.is(told(again).join('\n'), said);
  const readByOld = parse(octets, { versionMax: 1, checksums: false });
  assert.is(typeof readByOld !== 'string', header.version === 1);
  return verdict;
}

for (const { name, octets } of SPECIMENS) {
  const rejection = /^rejected-([^-]+)-/.exec(name)?.[1];
  if (rejection !== undefined) {
    wire(`${name} is rejected as that`, () => assert.is(judged(octets), rejection));
    continue;
  }
  wire(`${name} is read, and written the same`, () => {
    const datagram = parse(octets);
    if (typeof datagram === 'string') throw new Error(`rejected as ${datagram}`);
    assert.is(datagram.header.version, name.includes('hello') ? 1 : Number(name[1]));
    assert.is(datagram.unknown, 0);
    assert.is(
      Buffer.from(rewritten(datagram)).toString('hex'),
      Buffer.from(octets).toString('hex'),
    );
    assert.is(judged(octets), 'taken');
  });
}

wire('the corpus has every segment', () => {
  const seen = SOUND.flatMap(({ octets }) => (parse(octets) as Datagram).segments);
  for (const [name, number] of Object.entries(Segment)) {
    assert.ok(
      seen.some(({ type, count }) => type === number && count > 0),
      name,
    );
  }
});

wire('the corpus has every rejection that the parser knows', () => {
  const seen = SPECIMENS.map(({ name }) => /^rejected-([^-]+)-/.exec(name)?.[1]);
  const parsers = REJECTIONS.filter((rejection) => !JUDGED.includes(rejection));
  assert.equal(
    parsers.filter((rejection) => !seen.includes(rejection)),
    [],
  );
});

wire(
  'changed in whatever way, it is a datagram or a named rejection, and nothing is read beyond',
  () => {
    const verdicts = new Map<string, number>();
    for (let input = 0; input < inputs; input++) {
      const octets = mutant(dice.pick(SOUND).octets, dice.pick(SOUND).octets, dice);
      try {
        const verdict = judged(octets);
        verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
      } catch (error) {
        throw blamed(error, input, octets);
      }
    }
    for (const rejection of REJECTIONS) {
      if (JUDGED.includes(rejection) || inputs < 50_000) continue;
      assert.ok(verdicts.has(rejection), `no input was rejected as ${rejection}`);
    }
    assert.ok((verdicts.get('taken') ?? 0) > inputs / 20, 'many get past every check');
  },
);

wire('an engine that rejects a datagram is as it was before', () => {
  for (let input = 0; input < inputs / ENGINE_SHARE; ) {
    const { world, b, octets } = scene(dice);
    let before = look(b);
    for (let left = 40; left > 0; left--, input++) {
      const datagram = mutant(dice.pick(octets), dice.pick(octets), dice);
      try {
        before = received(b, datagram, before);
      } catch (error) {
        throw blamed(error, input, datagram);
      }
    }
    world.run(100);
  }
});

/** A pair with some records, and datagrams of its that b has not seen. */
function scene(among: Dice): { world: World; b: Node; octets: Uint8Array[] } {
  const world = new World(among.below(1000));
  const options = { hashLimit: 64, resendQueueSize: 1024 };
  const [a, b] = [world.node('lb-a', options), world.node('lb-b', options)];
  a.engine.start();
  b.engine.start();
  const records = a.open(6);
  b.open(3);
  world.run(100);
  world.recording = [];
  world.lose = () => true;
  a.open(4);
  a.change(records[0]);
  a.close(records[1]);
  a.engine.bulk();
  world.run(60);
  const own = world.recording;
  world.recording = undefined;
  return { world, b, octets: [...own, ...own, ...SOUND.map((specimen) => specimen.octets)] };
}

/** What can be seen of an engine from outside. */
interface Look {
  readonly rejected: readonly number[];
  readonly epoch: number;
  readonly records: readonly string[];
  readonly peers: string;
}

function received(node: Node, datagram: Uint8Array, before: Look): Look {
  node.engine.receive(placed(datagram, 5, 0x55));
  const after = look(node);
  const name = REJECTIONS.find((_, index) => after.rejected[index] !== before.rejected[index]);
  if (name === undefined) return after;
  if (HEARD.includes(name)) {
    const known = new Set(before.records);
    assert.ok(
      after.records.every((record) => known.has(record)),
      `${name} has brought a record`,
    );
  } else {
    assert.equal(after.records, before.records, name);
    assert.is(after.peers, before.peers, name);
  }
  assert.is(after.epoch, before.epoch, name);
  return after;
}

const slot = new DataView(new ArrayBuffer(RECORD_SIZE));

function look({ engine }: Node): Look {
  const { network } = engine.stats();
  const records: string[] = [];
  for (const cache of [engine.internal, ...engine.external.values()]) {
    for (let at = 0; at < cache.top; at++) {
      if (!cache.holds(at)) continue;
      cache.render(at, slot, 0);
      records.push(Buffer.from(slot.buffer).toString('latin1'));
    }
  }
  const peers = engine.peers().map((peer) => Object.values(peer).join());
  return {
    rejected: REJECTIONS.map((name) => network[`rejected_${name}`]),
    epoch: engine.epoch,
    records,
    peers: [engine.inSync, engine.unacknowledged(), ...peers].join('\n'),
  };
}

/** The error, with the input that has brought it about. */
function blamed(error: unknown, input: number, octets: Uint8Array): Error {
  const hex = Buffer.from(octets).toString('hex');
  return new Error(
    `seed ${dice.seed}, input ${input}: ${error instanceof Error ? error.message : error}\n${hex}`,
    { cause: error },
  );
}

wire.run();
