// Whatever bytes come to the control socket: a clear answer, nothing done, and the daemon goes on.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  FRAME_PAYLOAD_MAX,
  FrameReader,
  frameHeader,
  type JsonObject,
  jsonFrame,
  KIND_COUNTED,
  KIND_JSON,
  KIND_RECORDS,
} from '../../daemon/control/frame.js';
import { type ControlServer, call } from '../../daemon/control/index.js';
import { within } from '../support/within.js';
import { noting, type Place, place, raw, records, serve } from './support.js';

/** xorshift32, so that a failure can be told by its seed. */
function random(seed: number): (below: number) => number {
  let x = seed >>> 0 || 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

function frames(bytes: Uint8Array): { kind: number; payload: Buffer }[] {
  return [...new FrameReader().push(bytes)].map(({ kind, payload }) => ({
    kind,
    payload: Buffer.from(payload),
  }));
}

/** The code and message of the last frame of a reply. */
function end(reply: Buffer): JsonObject {
  const last = frames(reply).at(-1);
  if (!last) return {};
  return JSON.parse(last.payload.toString('utf8')) as JsonObject;
}

const reader = suite('frames');

reader('come out the same however the stream is cut', () => {
  const sent = [jsonFrame({ a: 1 }), Buffer.concat([frameHeader(KIND_RECORDS, 304), records(2)])];
  const stream = Buffer.concat([
    ...sent,
    jsonFrame({}),
    frameHeader(KIND_RECORDS, 0),
    jsonFrame({ z: 'ü' }),
  ]);
  const whole = frames(stream);
  assert.is(whole.length, 5);
  for (let step = 1; step < 40; step++) {
    const cut = new FrameReader();
    const got: { kind: number; payload: Buffer }[] = [];
    for (let at = 0; at < stream.length; at += step) {
      for (const { kind, payload } of cut.push(stream.subarray(at, at + step))) {
        got.push({ kind, payload: Buffer.from(payload) });
      }
    }
    assert.equal(got, whole);
    assert.is(cut.pending, 0);
  }
});

reader('over the bound or of unknown kind are refused by their header alone', () => {
  const header = (length: number, kind: number): Buffer => {
    const bytes = Buffer.alloc(5);
    bytes.writeUInt32LE(length);
    bytes[4] = kind;
    return bytes;
  };
  const refused = (bytes: Buffer): void =>
    assert.throws(
      () => [...new FrameReader().push(bytes)],
      (error: { code?: string }) => error.code === 'bad_frame',
    );
  refused(header(FRAME_PAYLOAD_MAX + 1, KIND_JSON));
  refused(header(0xffffffff, KIND_RECORDS));
  refused(header(10, 0));
  refused(header(10, 4));
  refused(header(151, KIND_RECORDS));
  refused(header(152, KIND_COUNTED));
  assert.equal([...new FrameReader().push(header(FRAME_PAYLOAD_MAX, KIND_JSON))], []);
});

reader('in a byte-wise trickle cost no copy per byte', () => {
  const cut = new FrameReader();
  const payload = Buffer.alloc(FRAME_PAYLOAD_MAX, 0x20);
  const stream = Buffer.concat([frameHeader(KIND_JSON, payload.length), payload]);
  const started = performance.now();
  let got = 0;
  for (let at = 0; at < stream.length; at += 16) {
    for (const frame of cut.push(stream.subarray(at, at + 16))) got = frame.payload.length;
  }
  assert.is(got, FRAME_PAYLOAD_MAX);
  assert.ok(performance.now() - started < 2000, 'quadratic work');
});

const server = suite<{ at: Place; ran: string[]; control: ControlServer }>('bad requests');

server.before(async (context) => {
  context.at = place();
  context.ran = [];
  context.control = await serve(context.at.path, noting(context.ran), { requestMs: 300 });
});
server.after(async ({ at, control }) => {
  await control.close(0);
  at.remove();
});

const request = (object: object): Buffer => jsonFrame(object as JsonObject);
const json = (text: string): Buffer =>
  Buffer.concat([frameHeader(KIND_JSON, Buffer.byteLength(text)), Buffer.from(text)]);

const BAD: readonly [string, Buffer, string, RegExp][] = [
  ['text instead of frames', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'bad_frame', /kind 47/],
  ['a frame over the bound', Buffer.from('ffffffff01', 'hex'), 'bad_frame', /too large/],
  ['a request over its bound', frameHeader(KIND_JSON, 65537), 'bad_frame', /at most 65536/],
  [
    'records instead of a request',
    Buffer.concat([frameHeader(2, 152), records(1)]),
    'bad_frame',
    /one JSON frame/,
  ],
  [
    'two requests',
    Buffer.concat([request({ v: 1, verb: 'flush' }), request({ v: 1, verb: 'stop' })]),
    'bad_frame',
    /one request/,
  ],
  [
    'a request and a half',
    Buffer.concat([request({ v: 1, verb: 'flush' }), Buffer.from([1])]),
    'bad_frame',
    /one request/,
  ],
  ['no JSON', json('{"v":1,'), 'bad_json', /valid JSON/],
  ['an empty frame', json(''), 'bad_json', /valid JSON/],
  [
    'broken UTF-8',
    Buffer.concat([frameHeader(KIND_JSON, 2), Buffer.from([0xc3, 0x28])]),
    'bad_json',
    /valid JSON/,
  ],
  ['an array', json('[]'), 'bad_json', /one JSON object/],
  ['null', json('null'), 'bad_json', /one JSON object/],
  ['no version', request({ verb: 'stop' }), 'bad_version', /missing/],
  ['a later version', request({ v: 2, verb: 'stop' }), 'bad_version', /version 2 .* version 1/],
  ['no verb', request({ v: 1 }), 'bad_verb', /missing is no verb/],
  ['an unknown verb', request({ v: 1, verb: 'explode' }), 'bad_verb', /"explode".*status/],
  ['a verb of Object', request({ v: 1, verb: 'constructor' }), 'bad_verb', /no verb/],
  [
    'a verb with control characters',
    request({ v: 1, verb: '\x1b[2J\x9b' }),
    'bad_verb',
    /^[ -~]*$/,
  ],
  [
    'arguments that are a list',
    request({ v: 1, verb: 'stop', args: [] }),
    'bad_args',
    /no JSON object/,
  ],
  [
    'an unknown argument',
    request({ v: 1, verb: 'stop', args: { now: 'yes' } }),
    'bad_args',
    /"now".*expected none/,
  ],
  [
    'an argument of Object',
    json('{"v":1,"verb":"stop","args":{"__proto__":"x"}}'),
    'bad_args',
    /__proto__/,
  ],
  ['a missing argument', request({ v: 1, verb: 'dump' }), 'bad_args', /expected one of internal/],
  ['a wrong choice', request({ v: 1, verb: 'flush', args: { cache: 'all' } }), 'bad_args', /"all"/],
  [
    'a wrong type',
    request({ v: 1, verb: 'commit', args: { node: 7 } }),
    'bad_args',
    /name of a node/,
  ],
  [
    'a name that is none',
    request({ v: 1, verb: 'commit', args: { node: '../x' } }),
    'bad_args',
    /name of a node/,
  ],
];
for (const [name, bytes, code, message] of BAD) {
  server(`${name}: ${code}`, async ({ at, ran, control }) => {
    const before = control.counters[code as 'bad_frame'];
    const answer = end(await within(2000, name, raw(at.path, bytes)));
    assert.is(answer.ok, false);
    assert.is(answer.code, code);
    assert.match(answer.message as string, message);
    assert.is(control.counters[code as 'bad_frame'], before + 1);
    assert.equal(ran, []);
  });
}

server('a connection that ends within a frame: bad_frame', async ({ at, ran }) => {
  const whole = request({ v: 1, verb: 'flush' });
  const answer = end(await within(2000, 'cut', raw(at.path, whole.subarray(0, 9), true)));
  assert.is(answer.code, 'bad_frame');
  assert.equal(ran, []);
});

server('silence: timeout', async ({ at, control }) => {
  const answer = end(await within(2000, 'silence', raw(at.path, Buffer.alloc(0))));
  assert.is(answer.code, 'timeout');
  assert.is(control.counters.timeout, 1);
});

server('600 mutilated requests run nothing, and the next good one is served', async (context) => {
  const { at, ran, control } = context;
  const seed = Date.now() >>> 0;
  const below = random(seed);
  const valid = request({ v: 1, verb: 'flush-kernel', args: {} });
  const before = control.counters.requests;
  // One at a time beside seven others: enough to be quick, within the bound of clients.
  const lane = async (): Promise<void> => {
    for (let i = 0; i < 75; i++) {
      const bytes = mutilated(valid, below);
      const reply = await within(3000, `seed ${seed}`, raw(at.path, bytes, true));
      assert.is(end(reply).ok, false, `seed ${seed}: ${bytes.toString('hex')}`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  assert.equal(ran, [], `seed ${seed}`);
  assert.is(control.counters.requests, before);
  await call(at.path, 'flush-kernel', {});
  assert.equal(ran, ['flush-kernel']);
});

/** Never a valid request: every change hits the header, the syntax or a key. */
function mutilated(valid: Buffer, below: (n: number) => number): Buffer {
  const bytes = Buffer.from(valid);
  switch (below(5)) {
    case 0: // cut short
      return bytes.subarray(0, 1 + below(bytes.length - 1));
    case 1: // noise
      return Buffer.from(Array.from({ length: 6 + below(200) }, () => below(256)));
    case 2: {
      // a bit of the length or of the kind
      const bit = below(40);
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      return bytes;
    }
    case 3: // a byte of the payload that no JSON text has outside its strings, or inside
      bytes[5 + below(bytes.length - 5)] = below(32) === 9 ? 1 : 0;
      return bytes;
    default: // more behind it
      return Buffer.concat([bytes, Buffer.alloc(1 + below(50), below(256))]);
  }
}

reader.run();
server.run();
