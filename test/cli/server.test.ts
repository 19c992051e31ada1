// The control socket's life: whose it is, how many may use it, and what a slow or lost client costs.

import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FRAME_PAYLOAD_MAX, jsonFrame } from '../../daemon/control/frame.js';
import { ControlError, ControlServer, call } from '../../daemon/control/index.js';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import { within } from '../support/within.js';
import { NODES, noting, type Place, place, records, serve } from './support.js';

async function refusal(promise: Promise<unknown>): Promise<ControlError> {
  try {
    await within(3000, 'a refusal', promise);
  } catch (error) {
    assert.instance(error, ControlError);
    return error as ControlError;
  }
  throw new Error('expected a ControlError');
}

const sockets = suite<{ at: Place }>('control socket');
const test = (name: string, run: (context: { at: Place }) => Promise<void>): void =>
  sockets(name, (context) => within(5000, name, run(context)));

sockets.before.each((context) => {
  context.at = place();
});
sockets.after.each(({ at }) => at.remove());

test('is for its owner alone unless a mode says more', async ({ at }) => {
  const own = await serve(at.path, noting([]));
  assert.is(statSync(at.path).mode & 0o777, 0o600);
  await own.close();
  const hello = () => ({ node: 'lb-a', nodes: NODES });
  const shared = await ControlServer.listen({
    path: at.path,
    handlers: noting([]),
    hello,
    mode: 0o660,
  });
  assert.is(statSync(at.path).mode & 0o777, 0o660);
  await shared.close();
  assert.not(existsSync(at.path));
});

test('makes its directory', async ({ at }) => {
  const path = `${at.dir}/run/spliced/x.ctl`;
  const control = await serve(path, noting([]));
  assert.ok(lstatSync(path).isSocket());
  await control.close();
});

test('of a dead daemon is taken over', async ({ at }) => {
  const die = `require('net').createServer().listen(${JSON.stringify(at.path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', die]);
  assert.ok(lstatSync(at.path).isSocket(), 'the dead daemon left its socket');
  const ran: string[] = [];
  const control = await serve(at.path, noting(ran));
  await call(at.path, 'resync', {});
  assert.equal(ran, ['resync']);
  await control.close();
});

test('of a live daemon is left alone', async ({ at }) => {
  const first = await serve(at.path, noting([]));
  const error = await refusal(serve(at.path, noting([])));
  assert.is(error.code, 'running');
  assert.match(error.message, /stop it first \(splicectl -S .* -k\)/);
  await call(at.path, 'bulk', {});
  await first.close();
});

test('does not replace a file, and says when its path is impossible', async ({ at }) => {
  writeFileSync(at.path, 'precious');
  const file = await refusal(serve(at.path, noting([])));
  assert.is(file.code, 'bad_path');
  assert.match(file.message, /is no socket/);
  assert.is((await refusal(serve(`/${'x'.repeat(107)}`, noting([])))).code, 'bad_path');
  assert.is((await refusal(serve(`${at.path}/below/a/file`, noting([])))).code, 'bad_path');
  assert.is((await refusal(call(`/${'x'.repeat(107)}`, 'stop', {}))).code, 'bad_path');
});

test('without a daemon: no_daemon, with what to do', async ({ at }) => {
  const missing = await refusal(call(at.path, 'status', {}));
  assert.is(missing.code, 'no_daemon');
  assert.match(missing.message, /there is no such socket\): start it, or name/);
});

test('hands names, records and other frames through, then the result', async ({ at }) => {
  const sent = records(20_000); // over two frames
  const control = await serve(
    at.path,
    noting([], {
      dump: async (args, reply) => {
        assert.equal(args, { what: 'kernel' });
        await reply.records(sent);
        await reply.json({ progress: 'half of it' });
        await reply.records(sent.subarray(0, RECORD_SIZE));
        return { records: 20_001 };
      },
    }),
  );
  const seen: string[] = [];
  const parts: Uint8Array[] = [];
  const result = await call(
    at.path,
    'dump',
    { what: 'kernel' },
    {
      hello: (hello) => void seen.push(hello.node, ...Object.values(hello.nodes)),
      json: ({ progress }) => void seen.push(String(progress)),
      records: (bytes) => {
        assert.ok(bytes.length <= FRAME_PAYLOAD_MAX);
        parts.push(bytes.slice());
      },
    },
  );
  assert.equal(result, { records: 20_001 });
  assert.equal(seen, ['lb-a', 'lb-a', 'lb-b', 'half of it']);
  assert.ok(Buffer.concat([sent, sent.subarray(0, RECORD_SIZE)]).equals(Buffer.concat(parts)));
  await control.close();
});

test('tells a failure with its code and sentence', async ({ at }) => {
  const control = await serve(
    at.path,
    noting([], {
      commit: async () => {
        throw new ControlError('failed', 'the kernel table is full: raise TableSize');
      },
      bulk: async () => {
        throw new RangeError('of another layer');
      },
    }),
  );
  const full = await refusal(call(at.path, 'commit', {}));
  assert.is(full.message, 'the kernel table is full: raise TableSize');
  const other = await refusal(call(at.path, 'bulk', {}));
  assert.equal([other.code, other.message], ['failed', 'of another layer']);
  assert.is(control.counters.failed, 2);
  await control.close();
});

test('serves a bounded number of clients, and the next one when one has left', async ({ at }) => {
  const control = await serve(at.path, noting([]), { clients: 2, requestMs: 5000 });
  const idle = await Promise.all([silent(at.path), silent(at.path)]);
  const error = await refusal(call(at.path, 'resync', {}));
  assert.is(error.code, 'busy');
  assert.is(control.counters.busy, 1);
  for (const socket of idle) socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 30));
  await call(at.path, 'resync', {});
  await control.close();
});

test('waits for a slow reader without piling up, then gives it up', async ({ at }) => {
  let chunks = 0;
  let ended: unknown;
  const chunk = records(512);
  const control = await serve(
    at.path,
    noting([], {
      dump: async (_, reply) => {
        try {
          for (; chunks < 10_000; chunks++) await reply.records(chunk);
        } catch (error) {
          ended = error;
          throw error;
        }
        return { records: chunks };
      },
    }),
    { stallMs: 200 },
  );
  const socket = await silent(at.path);
  socket.pause();
  socket.write(jsonFrame({ v: 1, verb: 'dump', args: { what: 'kernel' } }));
  while (ended === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
  socket.destroy();
  assert.is((ended as ControlError).code, 'slow_reader');
  assert.ok(chunks * chunk.length < 8 << 20, `${chunks} chunks went into the socket`);
  assert.is(control.counters.slow_reader, 1);
  await control.close();
});

test('tells the handler when its client leaves, whose loss the daemon survives', async ({ at }) => {
  let left: () => void;
  const leaving = new Promise<void>((resolve) => {
    left = resolve;
  });
  const control = await serve(
    at.path,
    noting([], {
      handover: async (_, reply): Promise<never> => {
        await reply.json({ progress: 'waiting' });
        reply.signal.addEventListener('abort', () => left());
        await leaving;
        throw new Error('the client has left');
      },
    }),
  );
  const socket = await silent(at.path);
  socket.write(jsonFrame({ v: 1, verb: 'handover' }));
  socket.once('data', () => socket.destroy());
  await within(2000, 'the signal', leaving);
  await call(at.path, 'resync', {});
  await control.close();
});

test('answers a stop that closes the server', async ({ at }) => {
  let closing: Promise<void> | undefined;
  const control: ControlServer = await serve(
    at.path,
    noting([], {
      stop: async () => {
        setImmediate(() => {
          closing = control.close();
        });
        return {};
      },
    }),
  );
  assert.equal(await call(at.path, 'stop', {}), {});
  await within(2000, 'closing', (async () => closing)());
  assert.is((await refusal(call(at.path, 'stop', {}))).code, 'no_daemon');
});

test('the client names a daemon that hangs, breaks off or talks nonsense', async ({ at }) => {
  const answers: Buffer[] = [Buffer.alloc(0), jsonFrame({ hello: true }), Buffer.from('nonsense')];
  let hang = true;
  const liar = createServer((socket) => {
    socket.on('error', () => {}).resume();
    if (!hang) socket.end(answers.shift() ?? Buffer.alloc(0));
  });
  await new Promise<void>((resolve) => liar.listen(at.path, resolve));
  const hung = await refusal(call(at.path, 'status', {}, {}, { idleMs: 100 }));
  assert.is(hung.code, 'no_answer');
  assert.match(hung.message, /nothing for 100 ms/);
  hang = false;
  assert.is((await refusal(call(at.path, 'status', {}))).code, 'no_answer');
  assert.is((await refusal(call(at.path, 'status', {}))).code, 'no_answer');
  assert.is((await refusal(call(at.path, 'status', {}))).code, 'bad_frame');
  await new Promise((resolve) => liar.close(resolve));
});

/** A connection that says nothing by itself. */
function silent(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => resolve(socket));
    socket.once('error', reject);
  });
}

sockets.run();
