/**
 * One direction in which datagrams leave: a connected socket, and a bounded queue for the moments in
 * which the kernel takes no more.
 */
import { Errno } from '../../kernel/socket.js';
import type { UdpSocket } from './socket.js';

const PENDING_MAX = 1024;
const RETRY_MS = 1;
const ENOBUFS = 105;
const ECONNREFUSED = 111;

export type Outcome = 'sent' | 'queue_full' | 'send_errors';

export class Outlet {
  readonly #socket: UdpSocket;
  readonly #late: (outcome: Outcome, octets: number) => void;
  readonly #queue: Uint8Array[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @param late is told what became of a datagram that had to wait */
  constructor(socket: UdpSocket, late: (outcome: Outcome, octets: number) => void) {
    this.#socket = socket;
    this.#late = late;
  }

  get pending(): number {
    return this.#queue.length;
  }

  /** Undefined: it waits. */
  send(datagram: Uint8Array): Outcome | undefined {
    const outcome = this.#queue.length === 0 ? this.#attempt(datagram) : undefined;
    if (outcome !== undefined) return outcome;
    if (this.#queue.length >= PENDING_MAX) return 'queue_full';
    this.#queue.push(datagram.slice());
    this.#timer ??= setTimeout(() => this.#again(), RETRY_MS);
    return undefined;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#queue.length = 0;
    this.#socket.close();
  }

  #attempt(datagram: Uint8Array): Outcome | undefined {
    let error = this.#socket.send(datagram);
    // it speaks of an earlier datagram, for which nobody listened; and this one has not left yet
    if (error === ECONNREFUSED) error = this.#socket.send(datagram);
    if (error === 0) return 'sent';
    if (error === Errno.EAGAIN) return undefined;
    return error === ENOBUFS ? 'queue_full' : 'send_errors';
  }

  #again(): void {
    this.#timer = undefined;
    let done = 0;
    for (const datagram of this.#queue) {
      const outcome = this.#attempt(datagram);
      if (outcome === undefined) break;
      this.#late(outcome, datagram.length);
      done++;
    }
    this.#queue.splice(0, done);
    if (this.#queue.length > 0) this.#timer = setTimeout(() => this.#again(), RETRY_MS);
  }
}
