// SPDX-License-Identifier: MIT
/** Milliseconds of CLOCK_MONOTONIC: the same for all processes of the machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
