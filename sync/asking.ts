/**
 * The questions of a takeover: who was alive and knows the question is asked to yield, again and again,
 * until all have, or the time is up.
 */
import type { FencedPeer, FenceOutcome } from './api.js';
import type { Peer } from './peer.js';
import type { Clock, Timer } from './ports.js';
import { beats, type Claim } from './tombstones.js';

/** Between two questions at first; after so many of them twice as long, and so on. */
const ASK_MS = 3;
const ASK_MS_MAX = 100;
const ASKS = 10;

export interface RoundParts {
  /** What the takeover claims. */
  readonly claim: Claim;
  /** Whoever was alive, and knows the question. */
  readonly asked: readonly Peer[];
  /** ... and does not know it. */
  readonly unable: readonly Peer[];
  readonly clock: Clock;
  readonly counts: Record<
    'yields_asked' | 'yields_answered' | 'yields_unanswered' | 'yields_unable',
    number
  >;
  /** Ask all of them. */
  say(): void;
  /** Node by whose claim this one has been beaten meanwhile. */
  beaten(): number | undefined;
  ended(): void;
}

export class Round {
  readonly #parts: RoundParts;
  readonly #startedAt: number;
  readonly #answered = new Set<Peer>();
  #asks = 0;
  #timer: Timer | undefined;
  #deadline: Timer | undefined;
  #done: ((outcome: FenceOutcome) => void) | undefined;

  constructor(parts: RoundParts) {
    this.#parts = parts;
    this.#startedAt = parts.clock.now();
    parts.counts.yields_asked += parts.asked.length;
    parts.counts.yields_unable += parts.unable.length;
  }

  /** For the first time; the others follow. */
  ask(): void {
    if (this.#parts.asked.length === 0) return;
    this.#parts.say();
    const longer = 2 ** Math.floor(++this.#asks / ASKS);
    const wait = Math.min(ASK_MS * longer, ASK_MS_MAX);
    this.#timer = this.#parts.clock.after(wait, () => this.ask());
  }

  /** See Fence.settle. */
  settle(timeoutMs: number, done: (outcome: FenceOutcome) => void): void {
    const { clock } = this.#parts;
    this.#done = done;
    const wait = Math.max(0, this.#startedAt + timeoutMs - clock.now());
    // an answer may have come, and waits to be read behind this timer
    this.#deadline = clock.after(wait, () => {
      this.#deadline = clock.after(0, () => this.end());
    });
    this.progressed();
  }

  /** A peer has said something of where it stands. */
  progressed(): void {
    const { asked, claim, counts } = this.#parts;
    for (const peer of asked) {
      const { place } = peer;
      if (this.#answered.has(peer) || !place || place.stands) continue;
      if (beats(claim, place.yieldedTo)) continue;
      this.#answered.add(peer);
      counts.yields_answered++;
    }
    if (this.#answered.size < asked.length) return;
    this.#timer?.cancel();
    if (this.#done) this.end();
  }

  end(): void {
    const { asked, unable, counts, beaten, ended } = this.#parts;
    ended();
    this.#timer?.cancel();
    this.#deadline?.cancel();
    const silent = asked.filter((peer) => !this.#answered.has(peer));
    const by = beaten();
    if (!by) counts.yields_unanswered += silent.length;
    this.#done?.({
      beaten: by,
      answered: [...this.#answered].map(named),
      silent: silent.map(named),
      unable: unable.map(named),
    });
    this.#done = undefined;
  }
}

function named({ node, name }: Peer): FencedPeer {
  return { node, name };
}
