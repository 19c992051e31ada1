// SPDX-License-Identifier: MIT
/** Arithmetic modulo 2^32: sequence numbers (RFC 9293 section 3.4) and timestamps (RFC 7323). */

export const add = (value: number, delta: number): number => (value + delta) >>> 0;
export const subtract = (value: number, delta: number): number => (value - delta) >>> 0;

/** How far `a` lies ahead of `b`: from −2^31 to 2^31 − 1. */
export const ahead = (a: number, b: number): number => (a - b) | 0;
export const before = (a: number, b: number): boolean => ahead(a, b) < 0;
/** Not the mirror of `before` at a distance of exactly 2^31, where each calls the other older. */
export const after = (a: number, b: number): boolean => before(b, a);
export const later = (a: number, b: number): number => (after(a, b) ? a : b);
