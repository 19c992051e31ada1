// SPDX-License-Identifier: MIT
import { createHash, type Hash } from 'node:crypto';

/** Bytes that repeat only after 1,000,003 of them, so that no shift by a segment goes unnoticed. */
const PERIOD = Buffer.from(Array.from({ length: 1_000_003 }, (_, i) => (i * 7919) >> 5));

/** length bytes of the pattern from offset on. */
export function* pattern(length: number, chunk = 65536): Generator<Buffer> {
  for (let at = 0; at < length; ) {
    const from = at % PERIOD.length;
    const piece = PERIOD.subarray(from, Math.min(from + chunk, from + length - at, PERIOD.length));
    yield piece;
    at += piece.length;
  }
}

export function patternHash(length: number): string {
  const hash: Hash = createHash('sha256');
  for (const piece of pattern(length)) hash.update(piece);
  return hash.digest('hex');
}
