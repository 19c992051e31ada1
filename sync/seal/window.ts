/**
 * Which counters of one session have come: a bit for each of the last REPLAY_WINDOW, in a ring of
 * words, as RFC 6479 does it. One word more than the window needs, so that moving on never clears a
 * bit that is still looked at.
 */
export const REPLAY_WINDOW = 4096;
const WORD_BITS = 32;
const WORDS = REPLAY_WINDOW / WORD_BITS + 1;

export class ReplayWindow {
  readonly #seen = new Uint32Array(WORDS);
  #highest = 0;
  #floor = 0;

  /** It has not come before, and is not so old that nobody can tell. */
  fresh(counter: number): boolean {
    if (counter > this.#highest) return true;
    if (counter <= this.#floor || this.#highest - counter >= REPLAY_WINDOW) return false;
    return (this.#seen[wordOf(counter) % WORDS] & bitOf(counter)) === 0;
  }

  /** It has come. Only for what fresh() says yes to, and only once it is known to be genuine. */
  mark(counter: number): void {
    if (counter > this.#highest) {
      const to = wordOf(counter);
      const from = Math.max(wordOf(this.#highest), to - WORDS);
      for (let word = from + 1; word <= to; word++) this.#seen[word % WORDS] = 0;
      this.#highest = counter;
    }
    this.#seen[wordOf(counter) % WORDS] |= bitOf(counter);
  }

  /** Nothing up to here is fresh, whether it has come or not. */
  forgetUpTo(counter: number): void {
    this.#floor = Math.max(this.#floor, counter);
  }
}

/** Counters are above 2^32, where >> would cut them. */
function wordOf(counter: number): number {
  return Math.floor(counter / WORD_BITS);
}

function bitOf(counter: number): number {
  return 1 << (counter % WORD_BITS);
}
