/**
 * Which datagrams of one sender's stream have come, as ranges of what is missing.
 *
 * A datagram that comes after its successors is applied as far as they have not said something newer
 * of the same splices (ownership.ts sees to that). What does not come is repaired by the present
 * state of what it spoke of, under a new sequence that names the old one.
 */

export interface Range {
  from: number;
  to: number;
}

export type Arrival = 'next' | 'late' | 'duplicate';

/** Ranges kept at most; beyond them the oldest are given up as lost for good. */
const RANGES_MAX = 4096;

export class ReceiveWindow {
  /** What is received and repaired from here on is complete, gaps aside. */
  #base: number;
  #next: number;
  #missing: Range[] = [];
  #missingCount = 0;
  #gaps = 0;

  /** @param base first sequence that is to come */
  constructor(base: number) {
    this.#base = base;
    this.#next = base;
  }

  get base(): number {
    return this.#base;
  }

  /** Highest sequence known to have been sent. */
  get highest(): number {
    return this.#next - 1;
  }

  /** All up to here has come or has been repaired. */
  get complete(): number {
    return this.#missing.length > 0 ? this.#missing[0].from - 1 : this.#next - 1;
  }

  get missing(): readonly Range[] {
    return this.#missing;
  }

  /** Datagrams that are missing. */
  get missingCount(): number {
    return this.#missingCount;
  }

  /** Gaps found so far: it changes when something new is missing. */
  get gaps(): number {
    return this.#gaps;
  }

  /** A datagram under this sequence has come. A duplicate is not to be applied again. */
  arrive(sequence: number): Arrival {
    if (sequence < this.#next) return this.repaired(sequence) ? 'late' : 'duplicate';
    this.announce(sequence - 1);
    this.#next = sequence + 1;
    return 'next';
  }

  /** The sender says that it has sent all up to here. */
  announce(sequence: number): void {
    if (sequence < this.#next) return;
    this.#missing.push({ from: this.#next, to: sequence });
    this.#missingCount += sequence - this.#next + 1;
    this.#gaps++;
    this.#next = sequence + 1;
  }

  /** Is it missing? */
  misses(sequence: number): boolean {
    return this.#at(sequence) >= 0;
  }

  /** What this sequence carried has come, perhaps under another one. False: it was not missing. */
  repaired(sequence: number): boolean {
    const at = this.#at(sequence);
    if (at < 0) return false;
    const range = this.#missing[at];
    this.#missingCount--;
    if (range.from === range.to) this.#missing.splice(at, 1);
    else if (sequence === range.from) range.from++;
    else if (sequence === range.to) range.to--;
    else {
      this.#missing.splice(at + 1, 0, { from: sequence + 1, to: range.to });
      range.to = sequence - 1;
    }
    return true;
  }

  /**
   * The sender cannot repair what lies below `oldest` any more. True when something was missing
   * there: it is lost for good, and the stream counts as complete from behind it only.
   */
  giveUp(oldest: number): boolean {
    if (this.#missing.length > RANGES_MAX) oldest = Math.max(oldest, this.#next);
    if (oldest > this.#next) this.announce(oldest - 1);
    if (this.#missing.length === 0 || this.#missing[0].from >= oldest) return false;
    while (this.#missing.length > 0 && this.#missing[0].from < oldest) {
      const range = this.#missing[0];
      const to = Math.min(range.to, oldest - 1);
      this.#missingCount -= to - range.from + 1;
      this.#base = to + 1;
      if (to === range.to) this.#missing.shift();
      else range.from = oldest;
    }
    return true;
  }

  /** Index of the range that holds the sequence, or -1. */
  #at(sequence: number): number {
    let low = 0;
    let high = this.#missing.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (sequence < this.#missing[middle].from) high = middle - 1;
      else if (sequence > this.#missing[middle].to) low = middle + 1;
      else return middle;
    }
    return -1;
  }
}
