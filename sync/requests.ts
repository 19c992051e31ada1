/** Asking peers for bulks, again and again until one has come that will do. */
import type { SyncOptions } from './api.js';
import type { Outbox } from './outbox.js';
import type { Peer } from './peer.js';
import type { Timer } from './ports.js';
import { Type } from './wire.js';

/** A request is repeated after this; doubled up to the maximum. */
const REQUEST_MS = 250;
const REQUEST_MS_MAX = 4000;

export class Requests {
  readonly #options: Required<SyncOptions>;
  readonly #outbox: Outbox;
  readonly #live: () => Iterable<Peer>;
  #timer: Timer | undefined;
  #afterMs = REQUEST_MS;
  #stopped = false;

  /** @param live the peers that may be asked; one is, as long as its `wanted` is not 0 */
  constructor(options: Required<SyncOptions>, outbox: Outbox, live: () => Iterable<Peer>) {
    this.#options = options;
    this.#outbox = outbox;
    this.#live = live;
  }

  /** A bulk that begins at this sequence or later. */
  want(peer: Peer, from: number): void {
    peer.wanted = Math.max(peer.wanted, from);
    this.#afterMs = REQUEST_MS;
    this.#send(peer);
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #send(peer: Peer): void {
    this.#outbox.control(Type.REQUEST, {
      receiver: peer.node,
      receiverIncarnation: peer.incarnation,
      ack: peer.wanted,
    });
  }

  #arm(): void {
    if (this.#timer || this.#stopped) return;
    const { clock, random } = this.#options;
    // nodes that came up together do not ask together for ever
    const spread = 0.75 + random.u32() / 2 ** 33;
    this.#timer = clock.after(this.#afterMs * spread, () => this.#again());
  }

  #again(): void {
    this.#timer = undefined;
    let waiting = false;
    for (const peer of this.#live()) {
      if (peer.wanted === 0) continue;
      waiting = true;
      this.#send(peer);
    }
    if (!waiting) return;
    this.#afterMs = Math.min(2 * this.#afterMs, REQUEST_MS_MAX);
    this.#arm();
  }
}
