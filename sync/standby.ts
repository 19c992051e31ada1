/**
 * DisableExternalCache: what peers own also lies in this kernel, as standby entries. This says what has
 * entered and left the external caches, in batches, so that the kernel holds the same.
 *
 * What has left is said as it was; what has entered, as it is when the batch is handed over: a record
 * that has come and gone meanwhile is said to have left only, one that has gone and come back enters.
 */
import { RECORD_SIZE } from '../kernel/record/layout.js';
import { CHUNK_RECORDS } from './cache.js';
import type { Clock, Timer } from './ports.js';
import type { Store, Watch } from './store.js';

export interface StandbyHost {
  readonly clock: Clock;
  readonly store: Store;
  /** Before a batch: what this node has lost to others leaves the kernel first. */
  before(): void;
  entered(records: Uint8Array): void;
  left(records: Uint8Array): void;
}

export class Standby implements Watch {
  readonly #host: StandbyHost;
  readonly #slots = new Uint32Array(CHUNK_RECORDS);
  readonly #left = new Uint8Array(CHUNK_RECORDS * RECORD_SIZE);
  readonly #leftView = new DataView(this.#left.buffer);
  #slotCount = 0;
  #leftCount = 0;
  #timer: Timer | undefined;

  constructor(host: StandbyHost) {
    this.#host = host;
  }

  entered(slot: number): void {
    if (this.#slotCount === CHUNK_RECORDS) this.deliver();
    this.#slots[this.#slotCount++] = slot;
    this.#arm();
  }

  leaves(slot: number): void {
    if (this.#leftCount === CHUNK_RECORDS) this.deliver();
    const { store, clock } = this.#host;
    store.render(slot, this.#leftView, this.#leftCount++ * RECORD_SIZE, clock.now());
    this.#arm();
  }

  /** Hand over what has gathered. */
  deliver(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#slotCount + this.#leftCount === 0) return;
    this.#host.before();
    if (this.#leftCount > 0) this.#host.left(this.#left.subarray(0, this.#leftCount * RECORD_SIZE));
    this.#leftCount = 0;
    const entered = this.#render();
    this.#slotCount = 0;
    if (entered.length > 0) this.#host.entered(entered);
  }

  #render(): Uint8Array {
    const { store, clock } = this.#host;
    const now = clock.now();
    const records = new Uint8Array(this.#slotCount * RECORD_SIZE);
    const view = new DataView(records.buffer);
    let at = 0;
    for (let index = 0; index < this.#slotCount; index++) {
      const slot = this.#slots[index];
      const cache = store.cacheOf(slot);
      if (cache === undefined || cache === store.internal) continue;
      store.render(slot, view, at, now);
      at += RECORD_SIZE;
    }
    return records.subarray(0, at);
  }

  /** What happens outside of the engine's calls (a sweep) is handed over a turn later. */
  #arm(): void {
    this.#timer ??= this.#host.clock.after(0, () => this.deliver());
  }
}
