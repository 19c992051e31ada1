// SPDX-License-Identifier: MIT
import { LabError } from '../lab/lab.js';
import { monotonicMs } from '../support/clock.js';
import { PATIENCE } from '../support/patience.js';

const LOOK_MS = 50;

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** As Lab.until, where processes may end. @throws LabError */
export async function until(
  what: string,
  seconds: number,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = monotonicMs() + seconds * 1000 * PATIENCE;
  while (!(await holds())) {
    if (monotonicMs() > deadline)
      throw new LabError('NOT_READY', `${what}: not within ${seconds} s`);
    await sleep(LOOK_MS);
  }
}
