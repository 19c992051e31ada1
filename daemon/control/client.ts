// The other end of the control socket, for splicectl and for tests.
import { connect, type Socket } from 'node:net';
import { ControlError, isControlCode } from './error.js';
import {
  type Frame,
  FrameReader,
  type JsonObject,
  jsonFrame,
  KIND_COUNTED,
  KIND_RECORDS,
  parseJson,
} from './frame.js';
import { assertPath } from './path.js';
import { type Args, type Hello, PROTOCOL_VERSION, type Result, type Verb } from './protocol.js';

/** What comes before the result. Nothing more is read while one of these is pending. */
export interface Listener {
  hello?(hello: Hello): void | Promise<void>;
  /** n * RECORD_SIZE bytes, good until the promise settles. */
  records?(bytes: Uint8Array): void | Promise<void>;
  /** n * COUNTED_SIZE bytes, likewise: records of the kernel's table, with their counters. */
  counted?(bytes: Uint8Array): void | Promise<void>;
  /** Other frames, such as a hand-over's progress. */
  json?(object: JsonObject): void | Promise<void>;
}

export interface CallOptions {
  /** Silence after which the daemon counts as gone. */
  readonly idleMs?: number;
}

const CONNECT_MS = 5000;
const IDLE_MS = 60_000;

/** Asks the daemon at `path`; throws what it answers, or why it cannot be asked, as ControlError. */
export async function call<V extends Verb>(
  path: string,
  verb: V,
  args: Args<V>,
  listener: Listener = {},
  options: CallOptions = {},
): Promise<Result<V>> {
  const socket = await open(path);
  try {
    socket.write(jsonFrame({ v: PROTOCOL_VERSION, verb, args }));
    const idle = options.idleMs ?? IDLE_MS;
    socket.setTimeout(idle, () => {
      const message = `spliced has sent nothing for ${idle} ms: look at its log`;
      socket.destroy(new ControlError('no_answer', message));
    });
    return (await read(socket, listener)) as Result<V>;
  } finally {
    socket.destroy();
  }
}

async function read(socket: Socket, listener: Listener): Promise<unknown> {
  const reader = new FrameReader();
  try {
    for await (const chunk of socket) {
      for (const frame of reader.push(chunk as Buffer)) {
        const end = await take(frame, listener);
        if (end) return ended(end);
      }
    }
  } catch (error) {
    if (!(error as NodeJS.ErrnoException).syscall) throw error;
    throw new ControlError('no_answer', cutOff(), { cause: error });
  }
  throw new ControlError('no_answer', cutOff());
}

function cutOff(): string {
  return 'spliced closed the connection before its answer was complete: look at its log';
}

/** The last frame when this is it. */
async function take(frame: Frame, listener: Listener): Promise<JsonObject | undefined> {
  if (frame.kind === KIND_RECORDS) {
    await listener.records?.(frame.payload);
    return undefined;
  }
  if (frame.kind === KIND_COUNTED) {
    await listener.counted?.(frame.payload);
    return undefined;
  }
  const object = parseJson(frame.payload);
  if (object.end === true) return object;
  if (object.hello === true) await listener.hello?.(object as unknown as Hello);
  else await listener.json?.(object);
  return undefined;
}

function ended(end: JsonObject): unknown {
  if (end.ok === true) return end.result;
  const code = isControlCode(end.code) ? end.code : 'failed';
  throw new ControlError(code, typeof end.message === 'string' ? end.message : 'it failed');
}

function open(path: string): Promise<Socket> {
  assertPath(path);
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const timer = setTimeout(() => {
      const message = `spliced does not accept on ${path}: look at its log`;
      socket.destroy(new ControlError('no_answer', message));
    }, CONNECT_MS);
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error instanceof ControlError ? error : cannotConnect(path, error));
    });
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}

function cannotConnect(path: string, cause: NodeJS.ErrnoException): ControlError {
  if (cause.code === 'EACCES' || cause.code === 'EPERM') {
    const message = `the control socket ${path} is not for this user: run splicectl as root`;
    return new ControlError('not_permitted', message, { cause });
  }
  const why = cause.code === 'ENOENT' ? 'there is no such socket' : 'nobody listens';
  return new ControlError(
    'no_daemon',
    `no spliced answers on ${path} (${why}): start it, or name its socket with -S or its file with -C`,
    { cause },
  );
}
