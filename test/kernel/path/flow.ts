// SPDX-License-Identifier: MIT
/** Connections from end to end, with the proxy of this process in between, and what is sent over them. */
import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import { connect } from '../../../kernel/connect.js';
import { type Endpoint, type Family, socketAddress } from '../../../kernel/endpoint.js';
import { errnoName } from '../../../kernel/error.js';
import { listen } from '../../../kernel/listen.js';
import { errno, libc } from '../../../kernel/native.js';
import { boundSocket, Errno } from '../../../kernel/socket.js';
import { type RefusalReason, type SpliceOutcome, splice } from '../../../kernel/splice.js';
import { relay } from '../../../proxy/relay.js';
import { within } from '../../support/within.js';
import { ADDRESS, type Network, SERVED } from './network.js';

const VIRTUAL_PORT = 80;
const SERVER_PORT = 9000;
const OPEN_MS = 5000;

/** Families of the client's leg and of the server's. */
export type Families = [Family, Family];
export const EVERY: Families[] = SERVED.flatMap((a) => SERVED.map((b): Families => [a, b]));
export const SAME = EVERY.filter(([client, server]) => client === server);
export const MIXED = EVERY.filter(([client, server]) => client !== server);
export const nameOf = ([client, server]: Families): string => `IPv${client} to IPv${server}`;

export interface Opening {
  families?: Families;
  /** The client's port; 0 lets the kernel choose. */
  port?: number;
  /** On the client's socket, before it connects. */
  prepare?: (fd: number) => void;
  /** In the proxy, when it has both connections; comes back with what is to go to the server first. */
  before?: (greeting: Buffer, server: Socket) => Promise<Buffer> | Buffer;
}

/** One connection from end to end. */
export interface Flow {
  /** The client's own socket, and the one that the server has accepted. */
  client: Socket;
  server: Socket;
  /** Why it is relayed; undefined when it is spliced. */
  refusal?: RefusalReason;
  /** Of the splice, once its sockets are closed. */
  committed: Promise<SpliceOutcome | 'relayed'>;
}

/** What the proxy has made of it. */
type Made = Pick<Flow, 'refusal' | 'committed'>;

export interface Begun {
  client: Socket;
  server: Promise<Socket>;
  made: Promise<Made>;
}

interface Pending {
  opening: Opening;
  server: (socket: Socket) => void;
  proxy: (made: Made) => void;
}

function deferred<T>() {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** Both ends and the proxy: opens flows one after the other or side by side. */
export class Flows {
  readonly #network: Network;
  readonly #pending = new Map<string, Pending>();
  readonly #sockets = new Set<Socket>();
  #opened = 0;

  constructor(network: Network) {
    this.#network = network;
  }

  async start(): Promise<void> {
    for (const family of SERVED) {
      const proxy = createServer({ allowHalfOpen: true }, (client) => {
        this.#proxy(client).catch((error) => client.destroy(error));
      });
      await listen(proxy, { address: ADDRESS.virtual[family], port: VIRTUAL_PORT, backlog: 128 });
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        this.#serve(socket).catch((error) => socket.destroy(error));
      });
      await this.#network.end.server.run(() =>
        listen(server, { address: ADDRESS.server[family], port: SERVER_PORT, backlog: 128 }),
      );
      proxy.unref();
      server.unref();
    }
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
  }

  /** The first line of a flow, which names it. */
  async #greeting(socket: Socket): Promise<[Pending, Buffer]> {
    this.#keep(socket);
    const [head] = (await once(socket, 'data')) as [Buffer];
    socket.pause();
    const pending = this.#pending.get(head.toString());
    if (!pending) throw new Error(`nobody opened '${head}'`);
    return [pending, head];
  }

  async #serve(socket: Socket): Promise<void> {
    const [pending] = await this.#greeting(socket);
    pending.server(socket);
  }

  async #proxy(client: Socket): Promise<void> {
    const [{ opening, proxy }, head] = await this.#greeting(client);
    const family = (opening.families ?? [4, 4])[1];
    const server = await connect({
      address: ADDRESS.server[family],
      port: SERVER_PORT,
      source: ADDRESS.source[family],
      client,
      timeoutMs: 3000,
    });
    this.#keep(server);
    const toServer = (await opening.before?.(head, server)) ?? head;
    const result = await splice(client, server, { toServer });
    if (result.spliced) {
      proxy({ committed: result.committed });
      return;
    }
    void relay(client, server, result);
    proxy({ refusal: result.reason, committed: Promise.resolve('relayed') });
  }

  /** The client's socket, connecting. */
  #connect({ families = [4, 4], port = 0, prepare }: Opening): Socket {
    const here: Endpoint = { address: ADDRESS.client[families[0]], port };
    const there: Endpoint = { address: ADDRESS.virtual[families[0]], port: VIRTUAL_PORT };
    const fd = this.#network.end.client.run(() => {
      const made = boundSocket(here);
      if (made === undefined) throw new Error(`port ${port} is in use`);
      prepare?.(made);
      const to = socketAddress(there);
      if (libc.connect(made, to, to.length) && errno() !== Errno.EINPROGRESS) {
        throw new Error(`connect: ${errnoName(errno())}`);
      }
      return made;
    });
    const how = { fd, allowHalfOpen: true, readable: true, writable: true, pauseOnCreate: true };
    const socket = new Socket(how);
    this.#keep(socket);
    socket.setNoDelay(true);
    return socket;
  }

  /** Begin a flow. What has become of it comes piece by piece, or, where it ends early, never. */
  begin(opening: Opening = {}): Begun {
    const greeting = `flow ${++this.#opened}\n`;
    const server = deferred<Socket>();
    const proxy = deferred<Made>();
    this.#pending.set(greeting, { opening, server: server.resolve, proxy: proxy.resolve });
    const client = this.#connect(opening);
    client.write(greeting);
    return { client, server: server.promise, made: proxy.promise };
  }

  /** Open a flow, which is spliced, or relayed, when this returns. */
  async open(opening: Opening = {}): Promise<Flow> {
    const { client, server, made } = this.begin(opening);
    const [other, what] = await within(OPEN_MS, 'opening a flow', Promise.all([server, made]));
    return { client, server: other, ...what };
  }

  /** End every connection that is still there, without ceremony. */
  closeAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }
}
