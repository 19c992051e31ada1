// SPDX-License-Identifier: MIT
/** Milliseconds of CLOCK_MONOTONIC: the same for all processes of the machine, and for its kernel. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
