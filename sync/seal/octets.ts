import type { Random } from '../ports.js';

/** 128 random bits: a salt, or a challenge. */
export function random128(random: Random): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += 4) view.setUint32(at, random.u32(), true);
  return bytes;
}

/** Do these octets stand in `bytes` from `at` on? */
export function same(octets: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < octets.length; index++) {
    if (octets[index] !== bytes[at + index]) return false;
  }
  return true;
}
