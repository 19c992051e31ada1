/**
 * The connection to one peer, which carries datagrams one way. States:
 *
 *   connecting ── connected ──> open ── ended, silent ──> waiting ── back-off ──> connecting
 *        └────── refused, no answer in CONNECT_MS ────────────^
 *
 * What is sent while it is not open, or does not fit into the queue, is as good as lost.
 */
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net';
import { fdOf, setInteger } from '../../kernel/socket.js';
import { LENGTH_SIZE } from './frames.js';
import { setBuffer } from './socket.js';

const CONNECT_MS = 2000;
const BACKOFF_MS = 100;
const BACKOFF_MS_MAX = 2000;
/** What is not acknowledged by the far end's kernel for so long never will be. */
const SILENT_MS = 3500;
/** Octets that wait for the far end, beside the socket's own buffer. */
const QUEUE_MAX = 8 << 20;
/** Octets written by one call. */
const STAGE_SIZE = 65_536;
/** For the last words of a stream that is closed. */
const LINGER_MS = 200;

const IPPROTO_TCP = 6;
const TCP_USER_TIMEOUT = 18;

export type StreamOutcome = 'sent' | 'queue_full' | 'not_sent_down';

export interface StreamHost {
  readonly where: TcpNetConnectOpts;
  /** Undefined: as the system grows it. */
  readonly sendBuffer: number | undefined;
  /** It has come to be open, or is not any more. */
  changed(open: boolean): void;
}

export class Stream {
  readonly #host: StreamHost;
  #socket: Socket | undefined;
  #open = false;
  #closed = false;
  #backoffMs = BACKOFF_MS;
  #timer: NodeJS.Timeout | undefined;
  readonly #stage = Buffer.allocUnsafe(STAGE_SIZE);
  #staged = 0;

  constructor(host: StreamHost) {
    this.#host = host;
    this.#connect();
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Octets that wait. */
  get pending(): number {
    return this.#staged + (this.#socket?.writableLength ?? 0);
  }

  /** Many datagrams of one turn leave by one write, at its end. */
  send(datagram: Uint8Array): StreamOutcome {
    if (!this.#open) return 'not_sent_down';
    const size = LENGTH_SIZE + datagram.length;
    if (this.pending + size > QUEUE_MAX) return 'queue_full';
    if (this.#staged + size > STAGE_SIZE) this.#flush();
    if (this.#staged === 0) setImmediate(() => this.#flush());
    this.#stage.writeUInt32LE(datagram.length, this.#staged);
    this.#stage.set(datagram, this.#staged + LENGTH_SIZE);
    this.#staged += size;
    return 'sent';
  }

  close(): void {
    this.#flush();
    this.#closed = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    socket?.end();
    setTimeout(() => socket?.destroy(), LINGER_MS).unref();
  }

  /** At once: the interface has gone. */
  cut(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
  }

  #connect(): void {
    const socket = connect({ ...this.#host.where, noDelay: true });
    this.#socket = socket;
    this.#timer = setTimeout(() => socket.destroy(), CONNECT_MS);
    socket.on('error', () => {}); // `close` follows
    socket.on('connect', () => this.#connected(socket));
    socket.on('close', () => this.#ended());
    socket.resume(); // nothing comes this way but its end
  }

  #connected(socket: Socket): void {
    clearTimeout(this.#timer);
    const fd = fdOf(socket);
    if (fd === undefined || this.#closed) return;
    setInteger(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, SILENT_MS);
    if (this.#host.sendBuffer !== undefined) setBuffer(fd, 'send', this.#host.sendBuffer);
    this.#backoffMs = BACKOFF_MS;
    this.#open = true;
    this.#host.changed(true);
  }

  #ended(): void {
    clearTimeout(this.#timer);
    this.#staged = 0;
    const was = this.#open;
    this.#open = false;
    if (was) this.#host.changed(false);
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.#connect(), this.#backoffMs);
    this.#backoffMs = Math.min(2 * this.#backoffMs, BACKOFF_MS_MAX);
  }

  #flush(): void {
    const staged = this.#staged;
    this.#staged = 0;
    if (staged > 0) this.#socket?.write(Buffer.from(this.#stage.subarray(0, staged)));
  }
}
