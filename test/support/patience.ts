// SPDX-License-Identifier: MIT

/**
 * How much slower than the machine that the tests' deadlines were set for this one is; an emulated one
 * (test/machine) is by far. Whatever waits for something until a deadline multiplies it by this.
 */
export const PATIENCE = Number(process.env.SPLICED_PATIENCE ?? 1);
