/**
 * One direction in which datagrams leave: a connected socket. What is sent in one go (see atEnd)
 * leaves together at its end, runs of one length by one call (UDP_SEGMENT of udp(7)): the kernel walks
 * its whole path once for some forty datagrams. A bounded queue is for the moments in which it takes no
 * more.
 */
import { atEnd } from '../../kernel/native.js';
import { Errno } from '../../kernel/socket.js';
import type { UdpSocket } from './socket.js';

/** Octets of a run: what UDP can be told at once. */
const RUN_SIZE = 65_507 - 8;
/** Datagrams of a run: UDP_MAX_SEGMENTS of older kernels. */
const RUN_MAX = 64;
const PENDING_MAX = 1024;
const RETRY_MS = 1;
const EIO = 5;
const EINVAL = 22;
const EMSGSIZE = 90;
const EOPNOTSUPP = 95;
const ENOBUFS = 105;
const ECONNREFUSED = 111;
/** Of a kernel or an interface that does not cut runs up. */
const NO_RUNS = new Set([EIO, EINVAL, EMSGSIZE, EOPNOTSUPP]);

export type Outcome = 'sent' | 'queue_full' | 'send_errors';

export class Outlet {
  readonly #socket: UdpSocket;
  readonly #done: (outcome: Outcome, datagrams: number, octets: number) => void;
  /** Datagrams of one length, but for the last, which may be shorter. */
  readonly #run = new Uint8Array(RUN_SIZE);
  #length = 0;
  #count = 0;
  #octets = 0;
  #runs = true;
  /** What has gathered is going to leave. */
  #due = false;
  readonly #leaveAll = () => this.flush();
  readonly #queue: Uint8Array[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @param done is told what has become of datagrams */
  constructor(
    socket: UdpSocket,
    done: (outcome: Outcome, datagrams: number, octets: number) => void,
  ) {
    this.#socket = socket;
    this.#done = done;
  }

  /** Datagrams that wait because the kernel takes no more. */
  get pending(): number {
    return this.#queue.length;
  }

  /** It leaves when all is done that is at hand. False: the queue is full. */
  send(datagram: Uint8Array): boolean {
    if (this.#queue.length >= PENDING_MAX) {
      this.#done('queue_full', 1, datagram.length);
      return false;
    }
    const { length } = datagram;
    const ends = this.#count > 0 && this.#octets !== this.#count * this.#length;
    const fits = length <= this.#length && this.#octets + length <= RUN_SIZE;
    if (this.#count > 0 && (ends || !fits || this.#count >= RUN_MAX)) this.#leave();
    if (this.#count === 0) this.#length = length;
    this.#run.set(datagram, this.#octets);
    this.#octets += length;
    this.#count++;
    if (!this.#due) {
      this.#due = true;
      atEnd(this.#leaveAll);
    }
    return true;
  }

  flush(): void {
    this.#due = false;
    this.#leave();
  }

  close(): void {
    this.flush();
    clearTimeout(this.#timer);
    this.#queue.length = 0;
    this.#socket.close();
  }

  #leave(): void {
    const count = this.#count;
    const octets = this.#octets;
    this.#count = 0;
    this.#octets = 0;
    if (count === 0) return;
    if (this.#queue.length === 0 && this.#together(count, octets)) return;
    for (let at = 0; at < octets; at += this.#length) {
      this.#alone(this.#run.subarray(at, Math.min(at + this.#length, octets)));
    }
  }

  /** False: they have to leave one by one. */
  #together(count: number, octets: number): boolean {
    if (count > 1 && !this.#runs) return false;
    if (this.#socket.segments(count > 1 ? this.#length : octets, count > 1) !== 0) {
      this.#runs = false;
      return false;
    }
    const error = this.#attempt(this.#run.subarray(0, octets));
    if (error === Errno.EAGAIN) return false;
    if (count > 1 && NO_RUNS.has(error)) {
      this.#runs = false;
      return false;
    }
    this.#done(outcomeOf(error), count, octets);
    return true;
  }

  #alone(datagram: Uint8Array): void {
    const error = this.#queue.length > 0 ? Errno.EAGAIN : this.#attempt(datagram);
    if (error !== Errno.EAGAIN) {
      this.#done(outcomeOf(error), 1, datagram.length);
    } else if (this.#queue.length >= PENDING_MAX) {
      this.#done('queue_full', 1, datagram.length);
    } else {
      this.#queue.push(datagram.slice());
      this.#timer ??= setTimeout(() => this.#again(), RETRY_MS);
    }
  }

  /** @returns 0 or the errno */
  #attempt(bytes: Uint8Array): number {
    const error = this.#socket.send(bytes);
    // it speaks of earlier datagrams, for which nobody listened; and these have not left yet
    return error === ECONNREFUSED ? this.#socket.send(bytes) : error;
  }

  #again(): void {
    this.#timer = undefined;
    let done = 0;
    for (const datagram of this.#queue) {
      const error = this.#attempt(datagram);
      if (error === Errno.EAGAIN) break;
      this.#done(outcomeOf(error), 1, datagram.length);
      done++;
    }
    this.#queue.splice(0, done);
    if (this.#queue.length > 0) this.#timer = setTimeout(() => this.#again(), RETRY_MS);
  }
}

function outcomeOf(error: number): Outcome {
  if (error === 0) return 'sent';
  return error === ENOBUFS ? 'queue_full' : 'send_errors';
}
