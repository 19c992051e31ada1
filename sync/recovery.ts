/**
 * What has overflowed is made good without anybody's help, and the log shall say when it has been: this
 * remembers what was sent by the time of the overflow, until every live peer has all of it.
 */
import type { Peer } from './peer.js';
import type { Clock } from './ports.js';

export interface RecoveryHost {
  readonly clock: Clock;
  /** Highest sequence that has been sent. */
  sequence(): number;
  livePeers(): Iterable<Peer>;
  /** Nobody asks for what was lost: it has come again after so many milliseconds. */
  repeatsMs(): number;
  recovered(message: string): void;
}

export class Recovery {
  readonly #host: RecoveryHost;
  /** What has overflowed, since when, and the last sequence that may be concerned. */
  readonly #open = new Map<string, { since: number; until: number }>();

  constructor(host: RecoveryHost) {
    this.#host = host;
  }

  /** @param what a noun: "the resend queue" */
  overflowed(what: string): void {
    const since = this.#open.get(what)?.since ?? this.#host.clock.now();
    this.#open.set(what, { since, until: this.#host.sequence() + 1 });
  }

  /** A peer has told something new. */
  progressed(): void {
    if (this.#open.size === 0) return;
    for (const [what, { since, until }] of this.#open) {
      const ms = this.#host.clock.now() - since;
      if (ms < this.#host.repeatsMs() || !this.#heldUpTo(until)) continue;
      this.#open.delete(what);
      const seconds = (ms / 1000).toFixed(1);
      this.#host.recovered(`${seconds} s after ${what} overflowed, the peers hold all again`);
    }
  }

  #heldUpTo(sequence: number): boolean {
    let somebody = false;
    for (const peer of this.#host.livePeers()) {
      if (!peer.holdsAll || peer.acked < Math.min(sequence, this.#host.sequence())) return false;
      somebody = true;
    }
    return somebody;
  }
}
