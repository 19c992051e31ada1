// SPDX-License-Identifier: MIT
/**
 * The Internet checksum (RFC 1071), always over all the bytes, never by difference.
 *
 * A packet may come in with a wrong sum. Whoever rewrites it must not make it right, or the receiver
 * would take damaged data for sound (RFC 1624 section 5). So a packet that has been read remembers by
 * how much its sum is off, and is off by as much when it is written.
 */

const MODULUS = 0xffff;

/** What the checksum over these bytes ought to be. */
export function checksum(...parts: Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    const even = part.length & ~1;
    for (let i = 0; i < even; i += 2) sum += (part[i] << 8) | part[i + 1];
    if (even < part.length) sum += part[even] << 8;
  }
  while (sum > MODULUS) sum = (sum & MODULUS) + Math.floor(sum / 0x10000);
  return ~sum & MODULUS;
}

/** By how much a sum is off: 0 when it is right. 0xffff and 0 are one number in this arithmetic. */
export function sumError(found: number, right: number): number {
  return found === right ? 0 : (found - right + MODULUS) % MODULUS || MODULUS;
}

/** A right sum made wrong by `error` again. */
export function spoil(right: number, error: number): number {
  return error === 0 ? right : (right + error) % MODULUS;
}
