/**
 * What a peer has said to be gone while some of its earlier datagrams were missing: if one of them
 * comes after all, what it says of these splices is older than their end.
 *
 * Empty as long as nothing is missing. Should it overflow, late datagrams are dropped until all that
 * is missing has been repaired under new sequences.
 */
import { type Identity, IdentityRing } from './identity.js';

const LIMIT = 16_384;

export class Graves {
  #ring: IdentityRing | undefined;
  readonly #sequences = new Float64Array(LIMIT);

  /** Can it still tell for every late datagram? */
  get reliable(): boolean {
    return this.#ring === undefined || this.#ring.evicted === 0;
  }

  add(key: Identity, sequence: number): void {
    this.#ring ??= new IdentityRing(LIMIT);
    let slot = this.#ring.find(key);
    if (slot < 0) slot = this.#ring.add(key);
    else if (this.#sequences[slot] > sequence) return;
    this.#sequences[slot] = sequence;
  }

  /** Did it go later than this? */
  goneSince(key: Identity, sequence: number): boolean {
    if (this.#ring === undefined || this.#ring.size === 0) return false;
    const slot = this.#ring.find(key);
    return slot >= 0 && this.#sequences[slot] > sequence;
  }

  clear(): void {
    this.#ring?.clear();
  }
}
