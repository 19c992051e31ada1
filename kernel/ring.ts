/** The ring of events, read in place: no copy by the kernel, no call per event. */
import { callFailed } from './error.js';
import {
  errno,
  libc,
  mapShared,
  memory,
  type Pointer,
  Protection,
  type Watch,
  watchFd,
} from './native.js';
import { mapInfo } from './pins.js';
import { EVENT_SIZE } from './record/layout.js';

const PAGE = 4096;
const F_DUPFD_CLOEXEC = 1030;
/** Bits of a record's length (linux/bpf.h). */
const BUSY = 0x80000000;
const DISCARDED = 0x40000000;
const HEADER = 8;
const STEP = Math.ceil((HEADER + EVENT_SIZE) / 8) * 8;
/** Events handed over in one go; more wait for the next turn of the event loop. */
const BATCH = 4096;
/** More than a ring of any size that is made holds. */
const DRAIN_ROUNDS_MAX = 64;
const LOSS_CHECK_MS = 1000;

/**
 * count events of EVENT_SIZE bytes, which are overwritten after the call; lost: how many more were lost
 * since it was last said (ring full). A loss is told only when all that stood in the ring before it has
 * been handed over: whoever then reads the table is not overtaken by older news.
 */
export type EventHandler = (events: Uint8Array, count: number, lost: number) => void;

/** The one consumer of a BPF ring buffer (its layout: kernel documentation, bpf/ringbuf.rst). */
export class EventRing {
  readonly #consumerMemory: Pointer;
  readonly #producerMemory: Pointer;
  readonly #producerLength: number;
  readonly #consumer: BigUint64Array;
  readonly #producer: BigUint64Array;
  readonly #lengths: Uint32Array;
  readonly #data: Uint8Array;
  readonly #mask: number;
  readonly #batch = new Uint8Array(BATCH * EVENT_SIZE);
  readonly #onEvents: EventHandler;
  readonly #lostTotal: () => number;
  readonly #watch: Watch;
  readonly #fd: number;
  readonly #timer: NodeJS.Timeout;
  #lostReported: number;
  /** The ring was full when it was looked at: events may have been lost. */
  #wasFull = false;
  #closed = false;

  /**
   * @param fd the caller's own: it may be closed before this is, and its number be another's
   * @throws KernelError SYSTEM_CALL
   */
  constructor(fd: number, lostTotal: () => number, onEvents: EventHandler) {
    const size = mapInfo(fd).maxEntries;
    this.#onEvents = onEvents;
    this.#lostTotal = lostTotal;
    this.#lostReported = lostTotal();
    this.#mask = size - 1;
    this.#consumerMemory = mapShared(fd, PAGE, Protection.READ_WRITE);
    this.#producerLength = PAGE + 2 * size; // data is mapped twice, so that no record wraps
    this.#producerMemory = mapShared(fd, this.#producerLength, Protection.READ, PAGE);
    const producer = memory(this.#producerMemory, this.#producerLength);
    this.#consumer = new BigUint64Array(memory(this.#consumerMemory, 8), 0, 1);
    this.#producer = new BigUint64Array(producer, 0, 1);
    this.#lengths = new Uint32Array(producer, PAGE);
    this.#data = new Uint8Array(producer, PAGE);
    // what nobody has read is from before this watch: its end may be among what was lost since
    Atomics.store(this.#consumer, 0, Atomics.load(this.#producer, 0));
    this.#fd = libc.fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (this.#fd < 0) throw callFailed('keeping the ring of events', errno());
    this.#watch = watchFd(this.#fd, 'readable', () => this.#read(false));
    this.#timer = setInterval(() => this.#read(true), LOSS_CHECK_MS).unref();
  }

  /**
   * Nothing is lost while there is room, and the room only shrinks until we read: how much was lost has to be
   * asked only when the ring is found full. (A system call, and not for each handful of events.)
   */
  #read(ask: boolean): number {
    if (this.#closed) return 0;
    // before the end is looked up: what is lost later is told later
    const total = ask || this.#wasFull ? this.#lostTotal() : this.#lostReported;
    let position = Number(Atomics.load(this.#consumer, 0));
    const end = Number(Atomics.load(this.#producer, 0));
    const full = end - position > this.#mask - STEP;
    let count = 0;
    while (position < end && count < BATCH) {
      const at = position & this.#mask;
      const length = Atomics.load(this.#lengths, at >> 2);
      if ((length & BUSY) !== 0) break; // being written: its writer will wake us
      if ((length & DISCARDED) === 0) {
        const event = this.#data.subarray(at + HEADER, at + HEADER + EVENT_SIZE);
        this.#batch.set(event, count++ * EVENT_SIZE);
      }
      position += STEP;
    }
    Atomics.store(this.#consumer, 0, BigInt(position));
    const lost = position < end ? 0 : total - this.#lostReported;
    this.#lostReported += lost;
    this.#wasFull = full || (this.#wasFull && position < end);
    if (this.#wasFull && position >= end) setImmediate(() => this.#read(true));
    if (count || lost) this.#onEvents(this.#batch.subarray(0, count * EVENT_SIZE), count, lost);
    return count;
  }

  /** All that stands in the ring now is told before this returns. */
  drain(): void {
    for (let rounds = 0; rounds < DRAIN_ROUNDS_MAX && this.#read(false) > 0; rounds++);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#watch.close();
    libc.close(this.#fd);
    libc.munmap(this.#consumerMemory, PAGE);
    libc.munmap(this.#producerMemory, this.#producerLength);
  }
}
