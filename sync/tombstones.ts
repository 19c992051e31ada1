/**
 * Splices that have ended although somebody may still hold a weaker claim on them: an owner that was
 * cut off while another one took over, and that comes back with an old table. It must not raise them.
 *
 * Splices that never changed hands need none: the order of their owner's datagrams is enough, see
 * graves.ts. Bounded: when full, the oldest makes room, and is counted.
 */
import { type Identity, IdentityRing } from './identity.js';

export interface Claim {
  readonly epoch: number;
  readonly owner: number;
}

export class Tombstones {
  readonly #limit: number;
  readonly #ring: IdentityRing;
  readonly #epochs: Uint32Array;
  readonly #owners: Uint32Array;
  #refused = 0;

  constructor(limit: number) {
    this.#limit = limit;
    this.#ring = new IdentityRing(limit);
    this.#epochs = new Uint32Array(limit);
    this.#owners = new Uint32Array(limit);
  }

  /** The splice has ended under this claim. */
  add(key: Identity, epoch: number, owner: number): void {
    let slot = this.#ring.find(key);
    if (slot < 0) slot = this.#ring.add(key);
    else if (!stronger(epoch, owner, this.#epochs[slot], this.#owners[slot])) return;
    this.#epochs[slot] = epoch;
    this.#owners[slot] = owner;
  }

  /** Must a record with this claim stay dead? */
  covers(key: Identity, epoch: number, owner: number): boolean {
    if (this.#ring.size === 0) return false;
    const slot = this.#ring.find(key);
    if (slot < 0 || stronger(epoch, owner, this.#epochs[slot], this.#owners[slot])) return false;
    this.#refused++;
    return true;
  }

  /** The claim under which it has ended; undefined: nothing is known of that. */
  endOf(key: Identity): Claim | undefined {
    const slot = this.#ring.find(key);
    return slot < 0 ? undefined : { epoch: this.#epochs[slot], owner: this.#owners[slot] };
  }

  stats(): Readonly<Record<string, number>> {
    return {
      records: this.#ring.size,
      limit: this.#limit,
      evicted: this.#ring.evicted,
      refused: this.#refused,
    };
  }
}

/** Is the claim (epoch, owner) a stronger than b? */
export function stronger(epochA: number, ownerA: number, epochB: number, ownerB: number): boolean {
  return epochA !== epochB ? epochA > epochB : ownerA > ownerB;
}

/** The same of claims as they are kept. */
export function beats(a: Claim, b: Claim): boolean {
  return stronger(a.epoch, a.owner, b.epoch, b.owner);
}
