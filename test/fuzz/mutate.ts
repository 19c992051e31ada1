/** Octets changed as links, disks, other programs and enemies change them. */
import type { Dice } from './dice.js';

/** Numbers at which parsers go wrong. */
const EDGES = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 64, 127, 128, 254, 255];

type Mutation = (octets: Uint8Array, dice: Dice, other: Uint8Array) => Uint8Array;

const inPlace =
  (change: (octets: Uint8Array, at: number, dice: Dice) => void): Mutation =>
  (octets, dice) => {
    if (octets.length === 0) return octets;
    const copy = octets.slice();
    change(copy, dice.below(copy.length), dice);
    return copy;
  };

const MUTATIONS: readonly Mutation[] = [
  inPlace((octets, at, dice) => {
    octets[at] ^= 1 << dice.below(8);
  }),
  inPlace((octets, at, dice) => {
    octets[at] = dice.below(256);
  }),
  inPlace((octets, at, dice) => {
    octets[at] = dice.pick(EDGES);
  }),
  // all ones or zeroes in a field
  inPlace((octets, at, dice) => {
    octets.fill(dice.chance(0.5) ? 0xff : 0, at, at + dice.pick([2, 4, 8]));
  }),
  // cut off
  (octets, dice) => octets.slice(0, dice.below(octets.length + 1)),
  // something after the end
  (octets, dice) =>
    join(
      octets,
      Uint8Array.from({ length: 1 + dice.below(40) }, () => dice.below(256)),
    ),
  // a part is missing
  (octets, dice) => {
    const from = dice.below(octets.length + 1);
    return join(octets.subarray(0, from), octets.subarray(from + 1 + dice.below(40)));
  },
  // a part stands there twice
  (octets, dice) => {
    const from = dice.below(octets.length + 1);
    const to = from + 1 + dice.below(80);
    return join(octets.subarray(0, to), octets.subarray(from));
  },
  // the head of one and the tail of another
  (octets, dice, other) =>
    join(
      octets.subarray(0, dice.below(octets.length + 1)),
      other.subarray(dice.below(other.length + 1)),
    ),
];

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** One change; `other` may be used as a source of parts. */
export function mutate(octets: Uint8Array, dice: Dice, other: Uint8Array): Uint8Array {
  return dice.pick(MUTATIONS)(octets, dice, other);
}

/** One to four changes, as a rule one that a parser gets far with. */
export function mutated(octets: Uint8Array, dice: Dice, others: readonly Uint8Array[]): Uint8Array {
  let changed = octets;
  for (let left = 1 + dice.below(4); left > 0; left--) {
    changed = mutate(changed, dice, dice.pick(others));
  }
  return changed;
}
