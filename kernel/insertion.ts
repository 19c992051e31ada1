/** Records into the table while their source goes on with the next: as fast as the processors allow. */
import { availableParallelism } from 'node:os';
import type { Batch } from './batch.js';

/** Called with a chunk as it was put in, and what became of each record; the results are valid during the call. */
export type Inserted = (records: Uint8Array, results: Uint32Array) => void;

/**
 * Chunks are inserted beside the caller's own work, on other processors; what is more than those can do
 * the caller does itself. What is under way is not to outlive a turn of the event loop: call finish() before.
 */
export class Insertion {
  readonly #start: (batch: Batch, records: Uint8Array, beside: boolean) => void;
  readonly #inserted: Inserted;
  readonly #free: Batch[];
  readonly #underWay = new Map<Batch, Uint8Array>();
  /** How many may be under way on other processors. */
  readonly #beside: number;

  constructor(
    batches: readonly Batch[],
    start: (batch: Batch, records: Uint8Array, beside: boolean) => void,
    inserted: Inserted,
  ) {
    this.#free = [...batches];
    this.#start = start;
    this.#inserted = inserted;
    const processors = availableParallelism();
    this.#beside = processors > 1 ? Math.min(batches.length - 1, processors) : 0;
  }

  /**
   * At most BATCH_ITEMS records, which stay as they are. May call back about these, and about earlier ones.
   * @param last finish() comes next: the caller does these itself while the others come to their end
   */
  put(records: Uint8Array, last = false): void {
    const batch = this.#free.pop();
    if (!batch) throw new RangeError('every batch is under way');
    this.#start(batch, records, !last && this.#underWay.size < this.#beside);
    this.#underWay.set(batch, records);
    for (const one of this.#underWay.keys()) if (one.done) this.#take(one);
  }

  /** Calls back about all that are under way. */
  finish(): void {
    for (const batch of this.#underWay.keys()) {
      batch.wait();
      this.#take(batch);
    }
  }

  #take(batch: Batch): void {
    const records = this.#underWay.get(batch) as Uint8Array;
    this.#underWay.delete(batch);
    this.#free.push(batch);
    this.#inserted(records, batch.results);
  }
}
