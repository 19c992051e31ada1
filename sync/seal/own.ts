/** The sessions of this node: the one that it seals in, and one that is offered before it is used. */
import type { Clock, Random, Timer } from '../ports.js';
import type { SealKey } from './box.js';
import { same } from './octets.js';
import { Sealer } from './sealer.js';

/** A new session is offered for so long before it is used, so that the others know it by then. */
const OFFER_MS = 100;
const OFFERS = 4;
/**
 * Full datagrams under one key up to which the encryption of AES-GCM stays as good as ideal, by the
 * measure of RFC 8446, section 5.5: 2^24.5 records of 16 KiB are 2^28 of 1.4 KiB.
 */
const RENEW_AFTER = 2 ** 28;

export interface OwnOptions {
  readonly node: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Datagrams after which a new session begins by itself. */
  readonly renewAfter?: number | undefined;
  /** Tell the others of a session that comes. */
  readonly offer: (coming: Sealer) => void;
}

export class OwnSessions {
  readonly #options: OwnOptions;
  readonly #renewAfter: number;
  #sealer: Sealer;
  #coming: Sealer | undefined;
  #timer: Timer | undefined;
  /** How often one has followed another. */
  renewed = 0;

  constructor(options: OwnOptions, key: SealKey) {
    this.#options = options;
    this.#renewAfter = options.renewAfter ?? RENEW_AFTER;
    this.#sealer = this.#draw(key);
  }

  /** The one in use. */
  get sealer(): Sealer {
    return this.#sealer;
  }

  /** The key of the next datagrams, or of those after them. */
  get key(): SealKey {
    return (this.#coming ?? this.#sealer).key;
  }

  find(salt: Uint8Array): Sealer | undefined {
    if (same(this.#sealer.salt, salt, 0)) return this.#sealer;
    return this.#coming && same(this.#coming.salt, salt, 0) ? this.#coming : undefined;
  }

  owns(datagram: Uint8Array): boolean {
    return this.#sealer.owns(datagram) || this.#coming?.owns(datagram) === true;
  }

  /** Returns the octets that it takes in `into`. */
  seal(plain: Uint8Array, into: Uint8Array): number {
    const size = this.#sealer.seal(plain, into);
    const { sealed, key } = this.#sealer;
    if (sealed >= this.#renewAfter && !this.#coming) this.renew(key);
    // so many at once that the offer would come to an end too late
    if (sealed >= 2 * this.#renewAfter) this.switch();
    return size;
  }

  /** A new session under this key: offered first, and used when the others have had time to ask. */
  renew(key: SealKey): void {
    this.#timer?.cancel();
    this.#coming = this.#draw(key);
    this.#offer(OFFERS);
  }

  /** Use the one that comes from now on. */
  switch(): void {
    this.#timer?.cancel();
    if (!this.#coming) return;
    this.#sealer = this.#coming;
    this.#coming = undefined;
    this.renewed++;
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #offer(left: number): void {
    if (!this.#coming) return;
    if (left === 0) {
      this.switch();
      return;
    }
    this.#options.offer(this.#coming);
    this.#timer = this.#options.clock.after(OFFER_MS / OFFERS, () => this.#offer(left - 1));
  }

  #draw(key: SealKey): Sealer {
    return new Sealer(key, this.#options.node, this.#options.random);
  }
}
