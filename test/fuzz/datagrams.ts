/**
 * Datagrams changed by somebody who knows how they are built: segments in another order, fields at
 * their limits, and, mostly, with the length and the checksum put right again, so that the change is
 * seen by what lies behind them.
 */

import { HEADER } from '../../sync/wire/header.js';
import { checksum, HEADER_SIZE, NONCE_AT, SEGMENT_SIZE } from '../../sync/wire.js';
import type { Dice } from './dice.js';
import { join, mutate } from './mutate.js';

const FIELDS = Object.values(HEADER);
const VALUES = [0, 1, 2, 3, 4, 5, 7, 255, 0xffff, 0x7fffffff, 0xffffffff, 2 ** 53 - 1, 2 ** 53];

const CHANGES = [mutate, mutate, shuffled, refielded];

export function mutant(base: Uint8Array, other: Uint8Array, dice: Dice): Uint8Array {
  let octets = base;
  for (let changes = 1 + dice.below(3); changes > 0; changes--) {
    octets = dice.pick(CHANGES)(octets, dice, other);
  }
  return mended(octets, dice);
}

/** A field of the header, or a count or length of a segment, with a value at some limit. */
function refielded(octets: Uint8Array, dice: Dice): Uint8Array {
  if (octets.length < HEADER_SIZE) return octets;
  const copy = octets.slice();
  const view = new DataView(copy.buffer);
  const heads = segments(copy);
  if (heads.length > 0 && dice.chance(0.5)) {
    const at = dice.pick(heads).byteOffset - copy.byteOffset;
    if (dice.chance(0.3)) copy[at] = dice.below(24);
    else if (dice.chance(0.5)) copy[at + 1] += dice.pick([1, 2, 255, 128]);
    else view.setUint16(at + 2, view.getUint16(at + 2, true) + dice.pick([1, 8, 72, 0xffff]), true);
  } else {
    const field = dice.pick(FIELDS);
    field.write(view, field.at, dice.pick(VALUES));
  }
  return copy;
}

/** Its segments in another order, some of them twice or not at all, or with some of another's. */
function shuffled(octets: Uint8Array, dice: Dice, other: Uint8Array): Uint8Array {
  if (octets.length < HEADER_SIZE) return octets;
  const parts = segments(octets);
  if (dice.chance(0.5)) parts.push(...segments(other));
  for (let from = parts.length - 1; from > 0; from--) {
    const to = dice.below(from + 1);
    [parts[from], parts[to]] = [parts[to], parts[from]];
  }
  const kept = parts.filter(() => dice.chance(0.8));
  if (kept.length > 0 && dice.chance(0.3)) kept.push(dice.pick(kept));
  return join(octets.subarray(0, HEADER_SIZE), ...kept);
}

/** The segments as far as they can be told apart. */
function segments(octets: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = HEADER_SIZE; at + SEGMENT_SIZE <= octets.length; ) {
    const end = at + SEGMENT_SIZE + octets[at + 2] + 256 * octets[at + 3];
    if (end > octets.length) break;
    found.push(octets.subarray(at, end));
    at = end;
  }
  return found;
}

function mended(octets: Uint8Array, dice: Dice): Uint8Array {
  if (octets.length < HEADER_SIZE) return octets;
  const copy = octets.slice();
  const view = new DataView(copy.buffer);
  if (dice.chance(0.9)) view.setUint16(HEADER.length.at, copy.length - HEADER_SIZE, true);
  if (dice.chance(0.9)) {
    const none = copy[HEADER.version.at] === 1 && dice.chance(0.5);
    HEADER.nonce.write(view, NONCE_AT, none ? 0 : checksum(copy));
  }
  return copy;
}
