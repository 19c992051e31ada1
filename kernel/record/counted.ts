/**
 * A record with what its kernel has counted: the record's bytes, then packets and bytes of TCP
 * payload by direction, u64 little-endian each. Counters are never replicated, so that only a dump
 * of a kernel's own table has them.
 */
import { LIVE_SIZE, LiveOffset, RECORD_SIZE } from './layout.js';
import type { Leg } from './record.js';

const COUNTERS_SIZE = LIVE_SIZE - LiveOffset.packets;
export const COUNTED_SIZE = RECORD_SIZE + COUNTERS_SIZE;

/** Writes record and live part of an entry as one counted record. */
export function writeCounted(
  record: Uint8Array,
  live: Uint8Array,
  into: Uint8Array,
  at: number,
): void {
  into.set(record, at);
  into.set(live.subarray(LiveOffset.packets, LIVE_SIZE), at + RECORD_SIZE);
}

/** The counters of one counted record inside bytes; moved like a RecordView. Exact up to 2^53. */
export class Counters {
  readonly #view: DataView;
  /** Where the record begins. */
  offset = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #u64(field: number): number {
    const at = this.offset + RECORD_SIZE + field;
    return this.#view.getUint32(at, true) + 2 ** 32 * this.#view.getUint32(at + 4, true);
  }

  packets(direction: Leg): number {
    return this.#u64(8 * direction);
  }

  bytes(direction: Leg): number {
    return this.#u64(LiveOffset.bytes - LiveOffset.packets + 8 * direction);
  }
}
