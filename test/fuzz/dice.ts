/** Chance by a seed, and how many inputs: FUZZ_SEED, FUZZ_INPUTS. */
import { generator } from '../support/random.js';

export class Dice {
  readonly #random: () => number;

  constructor(readonly seed: number) {
    this.#random = generator(seed);
  }

  /** 0 to n - 1. */
  below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  chance(part: number): boolean {
    return this.#random() < part;
  }

  pick<T>(among: readonly T[]): T {
    return among[this.below(among.length)];
  }
}

/** The seed of a run, said so that it can be repeated, and its inputs: `usual` unless told. */
export function fuzzRun(what: string, usual: number): { dice: Dice; inputs: number } {
  const seed = Number(process.env.FUZZ_SEED ?? 1);
  const inputs = Number(process.env.FUZZ_INPUTS ?? usual);
  console.log(`fuzz ${what}: FUZZ_SEED=${seed} FUZZ_INPUTS=${inputs}`);
  return { dice: new Dice(seed), inputs };
}
