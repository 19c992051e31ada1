// SPDX-License-Identifier: MIT

/** Marsaglia's xorshift: small, and the same everywhere, so that a seed names a whole run. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** A whole number below `n`. */
  below(n: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % n;
  }

  /** True once in `n` times. */
  once(n: number): boolean {
    return this.below(n) === 0;
  }

  u32(): number {
    return (this.below(0x10000) * 0x10000 + this.below(0x10000)) >>> 0;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)];
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let i = 0; i < length; i++) bytes[i] = this.below(256);
    return bytes;
  }
}

/** SEED and COUNT of the environment: to repeat a run, or to run for longer. */
export function plan(count: number): { seed: number; count: number } {
  return {
    seed: Number(process.env.SEED ?? Date.now() % 0x1_0000_0000),
    count: Number(process.env.COUNT ?? count),
  };
}
