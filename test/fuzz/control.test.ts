// The control socket under whatever bytes: a clear answer or the end of the connection, nothing done
// that was not asked for, no memory kept, and the next good client is served.
//
//   FUZZ_INPUTS=1000000 FUZZ_SEED=7 npm test -- fuzz/control       longer, otherwise
import { connect, createServer, type Server, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isControlCode } from '../../daemon/control/error.js';
import {
  type Frame,
  FrameReader,
  type JsonObject,
  jsonFrame,
  parseJson,
  RECORD_SIZES,
} from '../../daemon/control/frame.js';
import {
  type CallOptions,
  ControlError,
  type ControlServer,
  call,
  type Reply,
  VERBS,
} from '../../daemon/control/index.js';
import { checkRequest } from '../../daemon/control/protocol.js';
import { noting, type Place, place, records, serve } from '../cli/support.js';
import { within } from '../support/within.js';
import { corpus } from './corpus.js';
import { fuzzRun } from './dice.js';
import { mutated } from './mutate.js';

const INPUTS = 30_000;
/** Of the inputs, those that go through a socket: a connection costs as much as ten parsed requests. */
const CONNECTIONS = 0.05;
const LANES = 12;
/** Short, since some clients never say all; the golden ones do, however busy the machine is. */
const REQUEST_MS = 60;
const PATIENT_MS = 2000;
const FRAME_MAX = 65_536;

const { inputs, dice } = fuzzRun('control socket', INPUTS);
const { seed } = dice;
const SAMPLES = corpus('control', '.hex');
const BYTES = SAMPLES.map(({ octets }) => octets);

function damaged(i: number): Buffer {
  return Buffer.from(mutated(BYTES[i % BYTES.length], dice, BYTES));
}

/** Runs a check of each input, and says which one it was that failed. */
function eachInput(count: number, check: (bytes: Buffer) => void): void {
  for (let i = 0; i < count; i++) {
    const bytes = damaged(i);
    try {
      check(bytes);
    } catch (error) {
      (error as Error).message += `\nseed ${seed}, input ${i}: ${bytes.toString('hex')}`;
      throw error;
    }
  }
}

const parser = suite('frames and requests, mutated');

/** What a reader makes of a stream that comes in pieces: frames, and the error that ended it. */
function read(pieces: Iterable<Uint8Array>): { frames: string[]; error: string; pending: number } {
  const reader = new FrameReader(FRAME_MAX);
  const frames: string[] = [];
  try {
    for (const piece of pieces) {
      for (const { kind, payload } of reader.push(piece)) {
        assert.ok(payload.length <= FRAME_MAX);
        frames.push(`${kind} ${Buffer.from(payload).toString('hex')}`);
      }
      assert.ok(reader.pending <= FRAME_MAX + piece.length + 5, 'more is held than a frame');
    }
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    assert.is(error.code, 'bad_frame');
    return { frames, error: error.message, pending: 0 };
  }
  return { frames, error: '', pending: reader.pending };
}

/** The same by the drawing of frame.ts, slowly. */
function model(bytes: Buffer): { frames: string[]; wrong: boolean; pending: number } {
  const frames: string[] = [];
  for (let at = 0; ; ) {
    if (bytes.length - at < 5) return { frames, wrong: false, pending: bytes.length - at };
    const length = bytes.readUInt32LE(at);
    const kind = bytes[at + 4];
    const unit = kind === 1 ? 1 : RECORD_SIZES[kind as 2 | 3];
    if (unit === undefined || length > FRAME_MAX || length % unit !== 0) {
      return { frames, wrong: true, pending: 0 };
    }
    if (bytes.length - at - 5 < length) return { frames, wrong: false, pending: bytes.length - at };
    frames.push(`${kind} ${bytes.subarray(at + 5, at + 5 + length).toString('hex')}`);
    at += 5 + length;
  }
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + dice.below(dice.chance(0.25) ? 4 : 200);
    yield bytes.subarray(at, end);
    at = end;
  }
}

parser('frames come out as they are drawn, however the stream is cut', () => {
  eachInput(inputs / 2, (bytes) => {
    const stream = Buffer.concat([bytes, dice.chance(0.3) ? dice.pick(BYTES) : new Uint8Array()]);
    const expected = model(stream);
    for (const way of [[stream], pieces(stream)]) {
      const { frames, error, pending } = read(way);
      assert.equal(frames, expected.frames);
      assert.is(error !== '', expected.wrong, error);
      assert.is(pending, expected.pending);
    }
  });
});

/** A request is whole and known, or refused under a code, in a sentence for a terminal. */
function request(payload: Uint8Array): string {
  try {
    const { verb, args } = checkRequest(parseJson(payload));
    assert.ok(VERBS.includes(verb));
    for (const [name, value] of Object.entries(args)) {
      assert.match(name, /^(node|cache|what|role|repair)$/);
      assert.match(String(value), /^[A-Za-z0-9._-]{1,63}$/);
    }
    return 'runs';
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    assert.match(error.code, /^bad_(json|version|verb|args)$/);
    assert.match(error.message, /^[ -~\u00a0-\uffff]{10,600}$/);
    return error.code;
  }
}

parser('a request is taken whole or refused by name', () => {
  const ends = new Map<string, number>();
  eachInput(inputs, (bytes) => {
    const end = request(bytes.subarray(5));
    ends.set(end, (ends.get(end) ?? 0) + 1);
  });
  if (inputs < 10_000) return;
  for (const end of ['runs', 'bad_json', 'bad_version', 'bad_verb', 'bad_args']) {
    assert.ok((ends.get(end) ?? 0) > inputs / 200, `only ${ends.get(end)} times ${end}: too wild`);
  }
});

interface Served {
  at: Place;
  ran: string[];
  control: ControlServer;
}

/** A suite with a server of its own. */
function served(name: string, requestMs: number) {
  const tests = suite<Served>(name);
  tests.before(async (context) => {
    context.at = place();
    context.ran = [];
    const dump = async (_: unknown, reply: Reply) => {
      context.ran.push('dump');
      for (let i = 0; i < 20; i++) await reply.records(records(500));
      return { records: 10_000 };
    };
    const limits = { requestMs, stallMs: PATIENT_MS, requestBytes: FRAME_MAX };
    context.control = await serve(context.at.path, noting(context.ran, { dump }), limits);
  });
  tests.after(async ({ at, control }) => {
    await control.close(0);
    at.remove();
  });
  return tests;
}

const golden = served('golden requests', PATIENT_MS);
const server = served('a server under fire', REQUEST_MS);

/** One request, and nothing else. */
function isGood(bytes: Buffer): boolean {
  const { frames, pending } = model(bytes);
  return frames.length === 1 && pending === 0 && request(bytes.subarray(5)) === 'runs';
}

/** The last frame of a reply, if it came to that. */
function last(reply: Buffer): JsonObject | undefined {
  const frames: JsonObject[] = [];
  for (const { kind, payload } of new FrameReader().push(reply) as Iterable<Frame>) {
    if (kind === 1) frames.push(parseJson(payload));
  }
  return frames.at(-1);
}

interface Way {
  /** The client says that it has said all. */
  readonly half: boolean;
  /** It is gone at once. */
  readonly gone: boolean;
  /** It does not read for so long. */
  readonly deafMs: number;
  readonly pieces: readonly Buffer[];
}

const READING: Way = { half: true, gone: false, deafMs: 0, pieces: [] };

/** One connection; resolves with all that came when it has ended. */
function talk(path: string, { half, gone, deafMs, pieces }: Way): Promise<Buffer> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    const socket: Socket = connect(path, () => {
      for (const piece of pieces) socket.write(piece);
      if (half) socket.end();
      if (gone) setImmediate(() => socket.destroy());
      if (deafMs > 0) {
        socket.pause();
        setTimeout(() => socket.resume(), deafMs);
      }
    });
    socket.on('data', (part) => parts.push(part));
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(Buffer.concat(parts)));
  });
}

for (const { name, octets } of SAMPLES) {
  const expected = name.split('-')[0];
  golden(name, async ({ at, ran, control }) => {
    ran.length = 0;
    const before = { ...control.counters };
    const reply = await within(
      2 * PATIENT_MS,
      name,
      talk(at.path, { ...READING, pieces: [Buffer.from(octets)] }),
    );
    const end = last(reply);
    if (expected === 'runs') {
      assert.is(end?.ok, true);
      assert.is(ran.length, 1);
      return;
    }
    assert.equal(ran, []);
    assert.is(control.counters[expected as 'closed'], before[expected as 'closed'] + 1);
    assert.is(end?.code, expected === 'closed' ? undefined : expected);
  });
}

/** Comes through: at once, or where the last of a crowd has not left yet, or time is short, soon. */
async function goodClient({ path }: Place): Promise<void> {
  for (let left = 100; ; left--) {
    try {
      await within(PATIENT_MS, 'a good client', call(path, 'status', {}));
      return;
    } catch (error) {
      const { code } = error as ControlError;
      if ((code !== 'busy' && code !== 'timeout') || left === 0) throw error;
    }
  }
}

/** What a client may do besides sending bytes. */
function someWay(bytes: Buffer): Way {
  const how = dice.below(12);
  return {
    pieces: how < 3 ? [...pieces(bytes)] : [bytes],
    half: how !== 3,
    gone: how === 4,
    deafMs: how === 5 ? dice.below(2 * REQUEST_MS) : 0,
  };
}

server('answers each client or lets it go, and the next good one too', async (context) => {
  const { at, ran, control } = context;
  const count = Math.ceil(inputs * CONNECTIONS);
  const before = { ...control.counters };
  ran.length = 0;
  let next = 0;
  let answered = 0;
  let good = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      const i = next++;
      const bytes = damaged(i);
      const way = someWay(bytes);
      if (isGood(bytes)) good++;
      const what = `seed ${seed}, connection ${i}: ${bytes.toString('hex')}`;
      const end = last(await within(5000, what, talk(at.path, way)));
      if (end?.end !== true) {
        assert.ok(way.gone || bytes.length === 0 || way.deafMs > 0, `no answer: ${what}`);
        continue;
      }
      answered++;
      assert.ok(end.ok === true || isControlCode(end.code), what);
      assert.ok(end.ok === true || end.code !== 'failed', `${end.message}: ${what}`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const { connections, requests, ...refused } = control.counters;
  const sum = (counters: object): number =>
    Object.values(counters).reduce((all: number, one: number) => all + one, 0);
  const { connections: c, requests: r, ...refusedBefore } = before;
  assert.is(connections - c, count);
  assert.ok(ran.length <= Math.min(requests - r, good), 'something ran that nobody asked for');
  // each has one end, but for those that ask well and are then gone or deaf
  assert.ok(requests - r + sum(refused) - sum(refusedBefore) >= count);
  assert.ok(count < 100 || answered > count / 2);
  await goodClient(at);
});

server(
  'a crowd is told that it is one, and a good client comes through afterwards',
  async ({ at, control }) => {
    const before = control.counters.busy;
    const silent = { ...READING, half: false };
    const crowd = Array.from({ length: 200 }, () => talk(at.path, silent));
    const replies = (await within(5000, 'the crowd', Promise.all(crowd))).map(last);
    const codes = replies.map((end) => end?.code);
    assert.ok(codes.every((code) => code === 'busy' || code === 'timeout'));
    assert.ok(control.counters.busy > before);
    await goodClient(at);
  },
);

server('none of it is kept', async ({ at, control }) => {
  // what one crowd may leave in the heap, the next one would leave again
  const rest = async (): Promise<number> => {
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      globalThis.gc?.();
    }
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const huge = Buffer.concat([jsonFrame({}).subarray(0, 0), Buffer.from('0000010001', 'hex')]);
  const half = Buffer.concat([huge, Buffer.alloc(60_000, 0x20)]);
  const round = (): Promise<Buffer[]> =>
    Promise.all(
      Array.from({ length: 24 }, (_, i) =>
        talk(at.path, { ...READING, gone: i % 2 === 0, pieces: [half] }),
      ),
    );
  for (let i = 0; i < 3; i++) await round();
  const before = await rest();
  for (let i = 0; i < 15; i++) await round();
  const grown = (await rest()) - before;
  assert.ok(grown < 16 << 20, `${(grown / (1 << 20)).toFixed(1)} MB more after 360 clients`);
  assert.ok(control.counters.bad_frame + control.counters.closed >= 360);
});

const client = suite<{ at: Place; liar: Server; answer: Buffer }>(
  'a client and a server that lies',
);

client.before(async (context) => {
  context.at = place();
  context.answer = Buffer.alloc(0);
  context.liar = createServer((socket) => {
    socket.on('error', () => {}).resume();
    socket.end(context.answer);
  });
  await new Promise<void>((resolve) => context.liar.listen(context.at.path, resolve));
});
client.after(async ({ at, liar }) => {
  await new Promise((resolve) => liar.close(resolve));
  at.remove();
});

client('gets a result or an error of this layer, and never waits for ever', async (context) => {
  const { at } = context;
  const whole = [
    jsonFrame({ hello: true, node: 'lb-a', nodes: { 1: 'lb-a' } }),
    jsonFrame({ progress: 'half' }),
    jsonFrame({ end: true, ok: true, result: { records: 2 } }),
    jsonFrame({ end: true, ok: false, code: 'failed', message: 'it did not' }),
  ];
  const frames = [...whole.map((frame) => Uint8Array.from(frame)), ...BYTES];
  const options: CallOptions = { idleMs: 2000 };
  let results = 0;
  const count = Math.ceil((inputs * CONNECTIONS) / 3);
  for (let i = 0; i < count; i++) {
    const good = Buffer.concat([whole[0], dice.pick(whole), whole[2 + dice.below(2)]]);
    context.answer = Buffer.from(mutated(Uint8Array.from(good), dice, frames));
    const what = `seed ${seed}, answer ${i}: ${context.answer.toString('hex')}`;
    const listener = { records: () => {}, counted: () => {}, json: () => {}, hello: () => {} };
    try {
      await within(5000, what, call(at.path, 'dump', { what: 'kernel' }, listener, options));
      results++;
    } catch (error) {
      assert.instance(error, ControlError, what);
    }
  }
  assert.ok(count < 100 || (results > 0 && results < count));
});

parser.run();
golden.run();
server.run();
client.run();
