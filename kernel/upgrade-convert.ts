/** One structure into another of the same meaning: numbers go by name, whatever order they stand in. */
import type { Field, Layout } from './btf.js';

interface Run {
  from: number;
  to: number;
  length: number;
}

/** A number that is narrower than before loses its high octets; a wider one gets zeros. */
function runOf(from: Field, to: Field): Run {
  return { from: from.offset, to: to.offset, length: Math.min(from.size, to.size) };
}

/** Neighbours that stay neighbours are moved as one. */
function merge(runs: Run[]): Run[] {
  const merged: Run[] = [];
  for (const run of runs.sort((a, b) => a.to - b.to)) {
    const last = merged.at(-1);
    if (last && last.from + last.length === run.from && last.to + last.length === run.to) {
      last.length += run.length;
    } else {
      merged.push({ ...run });
    }
  }
  return merged;
}

export class Conversion {
  /** Nothing changes: whole arrays of the structure can be moved as they are. */
  readonly same: boolean;
  readonly from: Layout;
  readonly to: Layout;
  readonly #runs: Run[];

  constructor(from: Layout, to: Layout) {
    this.from = from;
    this.to = to;
    const runs: Run[] = [];
    for (const [name, field] of to.fields) {
      const old = from.fields.get(name);
      if (old) runs.push(runOf(old, field));
    }
    const equal = ([name, { offset, size }]: [string, Field]): boolean => {
      const other = to.fields.get(name);
      return other?.offset === offset && other.size === size;
    };
    this.same =
      from.size === to.size && from.fields.size === to.fields.size && [...from.fields].every(equal);
    this.#runs = merge(runs);
  }

  /** count structures, one after the other: what is gone is dropped, what is new is zero. */
  array(from: Uint8Array, count: number): Uint8Array {
    if (this.same) return from.subarray(0, count * this.from.size);
    const into = new Uint8Array(count * this.to.size);
    for (let i = 0; i < count; i++) {
      const source = i * this.from.size;
      for (const run of this.#runs) {
        const at = source + run.from;
        into.set(from.subarray(at, at + run.length), i * this.to.size + run.to);
      }
    }
    return into;
  }
}
