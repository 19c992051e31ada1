/** Simulated time: what is due next happens next, and nothing else does. */
import type { Timer } from '../../../sync/ports.js';

interface Due {
  readonly at: number;
  readonly order: number;
  fn: (() => void) | undefined;
}

const before = (a: Due, b: Due): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

export class Scheduler {
  /** Milliseconds since the run began. */
  now = 0;
  readonly #heap: Due[] = [];
  #order = 0;

  /** Call fn at this time, or now if that is over. Of one time: in the order in which it was asked. */
  at(time: number, fn: () => void): Timer {
    const due: Due = { at: Math.max(time, this.now), order: this.#order++, fn };
    this.#push(due);
    return {
      cancel: () => {
        due.fn = undefined;
      },
    };
  }

  after(ms: number, fn: () => void): Timer {
    return this.at(this.now + ms, fn);
  }

  /** Let time pass. */
  run(until: number, goesOn: () => boolean = () => true): void {
    while (this.#heap.length > 0 && this.#heap[0].at <= until && goesOn()) {
      const due = this.#pop();
      if (!due.fn) continue;
      this.now = due.at;
      due.fn();
    }
    if (goesOn()) this.now = Math.max(this.now, until);
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(due);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(due, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = due;
  }

  #pop(): Due {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop() as Due;
    if (heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
    return top;
  }
}
