// Long work in short pieces: no task keeps the event loop from packets and requests for long.

/** Well under the 10 ms that no turn may exceed: a piece ends after it looks, and others have theirs. */
const TASK_MS_MAX = 3;

/** Asked between pieces of work; lets the event loop turn when the time of this task is up. */
export class Breath {
  private since = performance.now();

  /** The time of this task is up. */
  get due(): boolean {
    return performance.now() - this.since >= TASK_MS_MAX;
  }

  async take(): Promise<void> {
    if (!this.due) return;
    await turn();
    this.since = performance.now();
  }
}

/** Adds up work that is done in steps, with the turns of others between them. */
export async function sumSteps(steps: Iterable<number>): Promise<number> {
  const breath = new Breath();
  let sum = 0;
  for (const count of steps) {
    sum += count;
    await breath.take();
  }
  return sum;
}

/** One turn of the event loop: whatever has arrived by now is handled before this returns. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
