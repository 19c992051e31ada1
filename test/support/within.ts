// SPDX-License-Identifier: MIT
import { PATIENCE } from './patience.js';

/** Fails a promise that never comes; the runner's own deadline would name the file only. */
export function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms * PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
