import type { Random } from '../ports.js';
import { HEADER_SIZE } from '../wire/header.js';
import { Box, type SealKey } from './box.js';
import { random128, same } from './octets.js';

/** A session of this node's own: what it sends under one key and one salt. */
export class Sealer {
  readonly key: SealKey;
  readonly salt: Uint8Array;
  readonly #box: Box;
  #counter = 0;

  constructor(key: SealKey, node: number, random: Random) {
    this.key = key;
    this.salt = random128(random);
    this.#box = new Box(key, node, this.salt);
  }

  /** Datagrams that it has sealed. */
  get sealed(): number {
    return this.#counter;
  }

  /** It has sealed this, by what stands in clear. */
  owns(datagram: Uint8Array): boolean {
    return same(this.salt, datagram, HEADER_SIZE);
  }

  /** Returns the octets that it takes in `into`. */
  seal(plain: Uint8Array, into: Uint8Array): number {
    return this.#box.seal(plain, this.salt, ++this.#counter, into);
  }
}
