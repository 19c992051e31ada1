// Time and chance, as sync/ is given them.
import { randomBytes } from 'node:crypto';
import type { Clock, Random } from '../sync/ports.js';

export const clock: Clock = {
  now: () => performance.now(),
  after(ms, fn) {
    // 0 means after what is at hand: setTimeout would wait a millisecond
    if (ms <= 0) {
      const immediate = setImmediate(fn);
      return { cancel: () => clearImmediate(immediate) };
    }
    const timer = setTimeout(fn, ms);
    return { cancel: () => clearTimeout(timer) };
  },
};

export const random: Random = { u32: () => randomBytes(4).readUInt32LE() };

/** Microseconds of Unix time. */
export function incarnationNow(): bigint {
  return BigInt(Date.now()) * 1000n + ((process.hrtime.bigint() / 1000n) % 1000n);
}
