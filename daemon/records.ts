// Counting records.
import { RECORD_SIZE } from '../kernel/record/layout.js';
import type { SyncEngine } from '../sync/api.js';

/** Number of records in the bytes of a batch. */
export function recordCount(bytes: Uint8Array): number {
  return bytes.length / RECORD_SIZE;
}

/** Records in all external caches. */
export function externalSize(sync: SyncEngine): number {
  let size = 0;
  for (const cache of sync.external.values()) size += cache.size;
  return size;
}
