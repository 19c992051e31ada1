/** Says a thing that may happen ten thousand times a second once in a while, and how often it was. */

export const THROTTLE_MS = 10_000;
const KEYS_MAX = 256;

export class Throttle {
  readonly #said = new Map<string, { atMs: number; more: number }>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /**
   * Calls `say` at most once in THROTTLE_MS for each key, with the number of times that it was not
   * called since. Keys are few: reasons, and reasons by real server.
   */
  say(key: string, say: (more: number) => void): void {
    const now = this.#nowMs();
    const last = this.#said.get(key);
    if (last && now - last.atMs < THROTTLE_MS) {
      last.more++;
      return;
    }
    if (!last && this.#said.size >= KEYS_MAX) this.#said.clear();
    this.#said.set(key, { atMs: now, more: 0 });
    say(last?.more ?? 0);
  }
}
