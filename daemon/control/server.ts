// The daemon's end of the control socket: one request a connection, checked whole before its
// handler runs. Whatever is wrong with it gets a last frame that says so and a counter of its own.
import { chmodSync, mkdirSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { ControlError, toControlError } from './error.js';
import { FrameReader, type JsonObject, jsonFrame, KIND_JSON, parseJson } from './frame.js';
import { assertPath, clearStale } from './path.js';
import {
  type Args,
  checkRequest,
  type Hello,
  type Request,
  type Result,
  type Verb,
} from './protocol.js';
import { Reply } from './reply.js';

export type Handler<V extends Verb> = (args: Args<V>, reply: Reply) => Promise<Result<V>>;
export type Handlers = { readonly [V in Verb]: Handler<V> };

export interface ControlServerOptions {
  readonly path: string;
  readonly handlers: Handlers;
  /** Asked anew for each reply. */
  readonly hello: () => Hello;
  /** Of the socket: 0600, or 0660 for the group of the daemon. */
  readonly mode?: number;
  readonly limits?: Partial<ControlLimits>;
}

export interface ControlLimits {
  readonly clients: number;
  readonly requestBytes: number;
  /** From connecting to the whole request. */
  readonly requestMs: number;
  /** Without a byte read by a client that has data waiting. */
  readonly stallMs: number;
}

/** A pager may stand still for long, so a client is given up late; its memory is one chunk. */
const LIMITS: ControlLimits = {
  clients: 32,
  requestBytes: 65536,
  requestMs: 5000,
  stallMs: 300_000,
};

export class ControlServer {
  /** For statistics: how requests ended, and why connections were refused or dropped. */
  readonly counters = {
    connections: 0,
    requests: 0,
    failed: 0,
    bad_frame: 0,
    bad_json: 0,
    bad_version: 0,
    bad_verb: 0,
    bad_args: 0,
    busy: 0,
    timeout: 0,
    slow_reader: 0,
    closed: 0,
  };

  private readonly clients = new Set<Socket>();
  private readonly limits: ControlLimits;
  private readonly server: Server;

  private constructor(private readonly options: ControlServerOptions) {
    this.limits = { ...LIMITS, ...options.limits };
    this.server = createServer({ allowHalfOpen: true }, (socket) => this.accept(socket));
  }

  /** Takes over the socket of a dead daemon; throws `running` when a live one answers there. */
  static async listen(options: ControlServerOptions): Promise<ControlServer> {
    const { path } = options;
    assertPath(path);
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    } catch (error) {
      throw cannotListen(path, error);
    }
    await clearStale(path);
    const control = new ControlServer(options);
    await control.bind(path, options.mode ?? 0o600);
    return control;
  }

  /** Takes no more requests, lets those under way end for at most `graceMs`, removes the socket. */
  async close(graceMs = 1000): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    const timer = setTimeout(() => {
      for (const socket of this.clients) socket.destroy();
    }, graceMs);
    await closed;
    clearTimeout(timer);
  }

  private async bind(path: string, mode: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', (error) => reject(cannotListen(path, error)));
      // The socket is made inside listen(), so nobody else can connect before the chmod.
      const mask = process.umask(0o177);
      try {
        this.server.listen(path, () => resolve());
      } finally {
        process.umask(mask);
      }
    });
    this.server.removeAllListeners('error');
    // EMFILE and the like: that client is lost, the daemon goes on.
    this.server.on('error', () => this.counters.failed++);
    chmodSync(path, mode);
  }

  private accept(socket: Socket): void {
    this.counters.connections++;
    // Every path below ends in destroy(); what happened is known from there.
    socket.on('error', () => {});
    if (this.clients.size >= this.limits.clients) {
      this.counters.busy++;
      const message = `${this.limits.clients} clients are being served already: try again later`;
      socket.end(endFrame(new ControlError('busy', message)), () => socket.destroy());
      return;
    }
    this.clients.add(socket);
    socket.once('close', () => this.clients.delete(socket));
    void this.serve(socket);
  }

  private async serve(socket: Socket): Promise<void> {
    try {
      const request = await readRequest(socket, this.limits);
      await this.answer(socket, request);
    } catch (error) {
      this.refuse(socket, toControlError(error));
    }
  }

  private async answer(socket: Socket, request: Request): Promise<void> {
    this.counters.requests++;
    const reply = new Reply(socket, this.limits.stallMs);
    try {
      await reply.json({ hello: true, ...this.options.hello() });
      const handler = this.options.handlers[request.verb] as Handler<Verb>;
      const result = await handler(request.args as Args<Verb>, reply);
      finish(socket, jsonFrame({ end: true, ok: true, result }));
    } finally {
      reply.dispose();
    }
  }

  private refuse(socket: Socket, error: ControlError): void {
    const { code } = error;
    if (code in this.counters) this.counters[code as keyof typeof this.counters]++;
    else this.counters.failed++;
    // It would not read this frame either.
    if (code === 'slow_reader' || code === 'closed') socket.destroy();
    else finish(socket, endFrame(error));
  }
}

function endFrame({ code, message }: ControlError): Buffer {
  return jsonFrame({ end: true, ok: false, code, message } satisfies JsonObject);
}

/** Time for a client to read the last frame and close, after which the connection goes. */
const FINISH_MS = 5000;

/** What the client still sends is thrown away: it would lose this frame to an EPIPE otherwise. */
function finish(socket: Socket, last: Buffer): void {
  socket.resume();
  socket.end(last);
  const timer = setTimeout(() => socket.destroy(), FINISH_MS).unref();
  socket.once('close', () => clearTimeout(timer));
}

/** The connection's one request; what follows it in the same breath spoils it. */
function readRequest(socket: Socket, limits: ControlLimits): Promise<Request> {
  return new Promise((resolve, reject) => {
    const reader = new FrameReader(limits.requestBytes);
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      socket.off('data', onData).off('end', onEnd).off('close', onEnd).pause();
      act();
    };
    const fail = (error: unknown): void => settle(() => reject(error));
    const timer = setTimeout(() => {
      const message = `no request came within ${limits.requestMs} ms`;
      fail(new ControlError('timeout', message));
    }, limits.requestMs);
    const onEnd = (): void => {
      fail(
        reader.pending > 0
          ? new ControlError('bad_frame', 'the connection ended within a frame')
          : new ControlError('closed', 'the client left without a request'),
      );
    };
    const onData = (chunk: Buffer): void => {
      try {
        const frames = [...reader.push(chunk)];
        const [first] = frames;
        if (!first) return;
        if (first.kind !== KIND_JSON || frames.length > 1 || reader.pending > 0) {
          throw new ControlError('bad_frame', 'expected one request, as one JSON frame');
        }
        const request = checkRequest(parseJson(first.payload));
        settle(() => resolve(request));
      } catch (error) {
        fail(error);
      }
    };
    socket.on('data', onData).on('end', onEnd).on('close', onEnd);
  });
}

function cannotListen(path: string, cause: unknown): ControlError {
  const { code } = cause as NodeJS.ErrnoException;
  return new ControlError(
    code === 'EACCES' || code === 'EPERM' ? 'not_permitted' : 'bad_path',
    `the control socket ${path} cannot be made (${code}): expected a directory that spliced may write to`,
    { cause },
  );
}
