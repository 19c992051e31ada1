/** The two times of a record, of which both run on while it lies in a cache: ms. */

export function remainingAfter(remaining: number, elapsed: number): number {
  return Math.max(0, remaining - elapsed);
}

export function idleAfter(idle: number, elapsed: number): number {
  return Math.min(0xffffffff, idle + elapsed);
}
