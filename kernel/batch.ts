/**
 * Batches of records for table_op. Several may be under way at once, each on a thread of its own, beside
 * the work of the caller.
 */
import { KernelError } from './error.js';
import { runProgram, runProgramBeside } from './program.js';
import { BATCH_ITEMS, BATCH_SIZE, BATCHES, BatchOffset, RECORD_SIZE } from './record/layout.js';

/** Octets of all batches, as they are mapped. */
export const BATCHES_SIZE = BATCHES * BATCH_SIZE;
/** The least that the kernel takes as a packet. */
export const PACKET_SIZE = 64;
/** A batch takes half a millisecond; a machine that is busy takes longer, but not so much. */
const RUN_MS_MAX = 10_000;
const NAP_MS = 0.05;

const nap = new Int32Array(new SharedArrayBuffer(4));

export function unknownRequest(): RangeError {
  return new RangeError('the splice table did not know the request');
}

/** One batch: records go in as one piece, results come out as one. */
export class Batch {
  /** What table_op is run on. */
  readonly #packet = Buffer.alloc(PACKET_SIZE);
  readonly #head: Uint32Array;
  readonly #results: Uint32Array;
  readonly #records: Uint8Array;

  /** @param mapped the batches, as they are mapped */
  constructor(mapped: Uint8Array, index: number) {
    const at = mapped.byteOffset + index * BATCH_SIZE;
    this.#packet[0] = index + 1;
    this.#head = new Uint32Array(mapped.buffer, at, BatchOffset.results / 4);
    this.#results = new Uint32Array(mapped.buffer, at + BatchOffset.results, BATCH_ITEMS);
    const size = BATCH_ITEMS * RECORD_SIZE;
    this.#records = new Uint8Array(mapped.buffer, at + BatchOffset.records, size);
  }

  fill(operation: number, flags: number, records: Uint8Array): void {
    this.#records.set(records);
    this.#head[BatchOffset.op / 4] = operation;
    this.#head[BatchOffset.flags / 4] = flags;
    this.#head[BatchOffset.count / 4] = records.length / RECORD_SIZE;
    Atomics.store(this.#head, BatchOffset.done / 4, 0);
  }

  run(program: number): void {
    if (runProgram(program, this.#packet).verdict !== 0) throw unknownRequest();
  }

  /** Runs on another thread, from now on; see done. */
  runBeside(program: number): void {
    runProgramBeside(program, this.#packet);
  }

  /** All results stand there. */
  get done(): boolean {
    return Atomics.load(this.#head, BatchOffset.done / 4) !== 0;
  }

  /** Returns when it is done, with no turn of the event loop in between. */
  wait(): void {
    const deadline = performance.now() + RUN_MS_MAX;
    while (!this.done) {
      if (performance.now() > deadline) {
        throw new KernelError('SYSTEM_CALL', 'a batch of records came to no end');
      }
      Atomics.wait(nap, 0, 0, NAP_MS);
    }
  }

  /** One Result per record; valid until the next fill(). */
  get results(): Uint32Array {
    return this.#results.subarray(0, this.#head[BatchOffset.count / 4]);
  }
}
