/** Chance of which a seed is all there is: the same seed gives the same run. */
import { generator } from '../../support/random.js';

export class Dice {
  readonly #next: () => number;

  constructor(seed: number) {
    // neighbouring seeds are to have nothing in common
    this.#next = generator(Math.imul(seed ^ (seed >>> 16), 0x9e3779b1) ^ 0x5bd1e995);
    for (let i = 0; i < 4; i++) this.#next();
  }

  /** From 0 up to, not including, 1. */
  part(): number {
    return this.#next();
  }

  /** An integer from 0 to limit - 1. */
  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  between(low: number, high: number): number {
    return low + this.#next() * (high - low);
  }

  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  pick<T>(of: readonly T[]): T {
    return of[this.below(of.length)];
  }

  u32(): number {
    return this.below(2 ** 32);
  }

  /** Another stream, so that more throws here change nothing there. */
  fork(): Dice {
    return new Dice(this.u32());
  }
}
