/**
 * ALARM: each change is said once, and every entry again within RefreshTime, whether it has changed or
 * not. A receiver drops what it has not heard of for CacheTimeout. Nothing is asked for again: what was
 * lost comes with the next round, and an end that was lost leaves its entry until CacheTimeout.
 *
 * In sync with a peer is who has received a bulk, or has heard the peer for a whole round. A gap does
 * not withdraw that: this mode promises no more than to be a round behind.
 */
import type { PeerChange } from './api.js';
import { counts } from './counts.js';
import type { Mode, ModeHost } from './modes.js';
import type { Peer } from './peer.js';
import type { Timer } from './ports.js';
import { Untracked } from './untracked.js';
import type { Datagram, Rejection } from './wire.js';

/** Both wheels turn in ticks: as many records as are due, and none later than that. */
const TICK_MS_MIN = 20;
const TICK_MS_MAX = 200;
/** Fewer are not worth a datagram of their own, as long as they can wait. */
const TICK_RECORDS = 8;
/** More are not said in a tick: 200,000 a second, three million entries with the default. */
const TICK_RECORDS_MAX = 4096;
/** Slots looked at in a tick. */
const TICK_SLOTS_MAX = 65_536;
/** A round is over a little before RefreshTime is. */
const ROUND = 0.9;
/** Who has heard a peer for so many times RefreshTime has heard all that it owns. */
const ROUND_HEARD = 1.25;
/** One that owns nothing is heard every helloMs. */
const SILENCE_HELLOS = 1.25;
/** A silent entry leaves at most so late: this part of CacheTimeout. */
const SWEEPS = 10;

class Alarm extends Untracked {
  #timer: Timer | undefined;
  #tickedAt = 0;
  /** Records due that have not been said, a fraction of one as a rule. */
  #due = 0;
  #slot = 0;
  /** Where the sweep of each peer's cache is. */
  readonly #swept = new Map<Peer, number>();
  readonly #rounds = new Map<Peer, Timer>();
  /** When it was heard again after it had been thought dead. */
  readonly #backAt = new Map<Peer, number>();
  /** Who may be without something that was not said since it began to follow: all below this slot it has. */
  readonly #lacks = new Map<Peer, number>();
  readonly #counts = counts('refreshed', 'refresh_rounds', 'refresh_behind', 'cache_timeouts');

  override get repeatsMs(): number {
    return this.host.options.refreshMs;
  }

  override start(): void {
    this.#tickedAt = this.host.options.clock.now();
    this.#wait();
  }

  override stop(): void {
    super.stop();
    this.#timer?.cancel();
    for (const timer of this.#rounds.values()) timer.cancel();
  }

  override peerChanged(peer: Peer, change: PeerChange): void {
    super.peerChanged(peer, change);
    if (change === 'alive') this.#backAt.set(peer, this.host.options.clock.now());
    // a bulk that is lost in part does not come again: a round that has been heard stands in for it
    if (change !== 'dead' && !peer.inSync) this.#hear(peer);
  }

  /** Where what the peer follows begins elsewhere than it did, it has given something up. */
  override report(peer: Peer, datagram: Datagram): Rejection | undefined {
    const followed = peer.followedFrom;
    const rejection = super.report(peer, datagram);
    if (peer.followedFrom !== followed) this.#lacks.set(peer, 0);
    return rejection;
  }

  override unacknowledged(peer: Peer): number {
    const owed = super.unacknowledged(peer);
    return owed === 0 && this.#lacksSome(peer) ? 1 : owed;
  }

  #lacksSome(peer: Peer): boolean {
    const { internal } = this.host;
    let slot = this.#lacks.get(peer);
    if (slot === undefined) return false;
    for (; slot < internal.top; slot++) {
      if (!internal.holds(slot) || peer.holds(internal.sequence(slot))) continue;
      this.#lacks.set(peer, slot);
      return true;
    }
    this.#lacks.delete(peer);
    return false;
  }

  override stats(): Readonly<Record<string, number>> {
    return { ...super.stats(), ...this.#counts };
  }

  /** After a silence of seconds so much may be missing that a round would be long to wait. */
  protected lost(peer: Peer): void {
    const { clock, helloMs } = this.host.options;
    const backAt = this.#backAt.get(peer) ?? Number.NEGATIVE_INFINITY;
    if (clock.now() - backAt > helloMs) return;
    this.#backAt.delete(peer);
    this.host.fellBehind(peer);
    this.host.askForBulk(peer);
  }

  #hear(peer: Peer): void {
    const { clock, helloMs, refreshMs } = this.host.options;
    this.#rounds.get(peer)?.cancel();
    const timer = clock.after(ROUND_HEARD * refreshMs, () => {
      this.#rounds.delete(peer);
      if (this.stopped || !peer.alive || peer.inSync) return;
      // one that has just been silent has not said all
      const silence = Math.max(SILENCE_HELLOS * helloMs, (ROUND_HEARD - 1) * refreshMs);
      if (clock.now() - peer.heardAt < silence) this.#heardRound(peer);
      if (!peer.inSync) this.#hear(peer);
    });
    this.#rounds.set(peer, timer);
  }

  /** What found no room in it is not here, though the next round may say it anew. */
  #heardRound(peer: Peer): void {
    peer.lackedAt = Math.max(peer.lackedAt, peer.refusedAt);
    this.host.complete(peer);
  }

  #wait(): void {
    if (this.stopped) return;
    const { clock, refreshMs } = this.host.options;
    // a table that grows meanwhile makes the next tick come sooner, not this one larger
    const { size } = this.host.internal;
    const ms = (TICK_RECORDS * ROUND * refreshMs) / Math.max(1, size);
    this.#timer = clock.after(Math.min(Math.max(ms, TICK_MS_MIN), TICK_MS_MAX), () => {
      const now = clock.now();
      const elapsed = now - this.#tickedAt;
      this.#tickedAt = now;
      this.#refresh((elapsed * size) / (ROUND * refreshMs));
      for (const peer of this.host.peers()) this.#sweep(peer, elapsed);
      this.#wait();
    });
  }

  #refresh(records: number): void {
    const { internal, outbox } = this.host;
    this.#due += records;
    if (this.#due > TICK_RECORDS_MAX) {
      // what cannot be said now makes the round longer: a burst later on would help nobody
      this.#counts.refresh_behind++;
      this.#due = TICK_RECORDS_MAX;
    }
    let slots = Math.min(TICK_SLOTS_MAX, internal.top);
    this.repeating = true;
    for (; slots > 0 && this.#due >= 1; slots--) {
      if (this.#slot >= internal.top) {
        this.#slot = 0;
        this.#counts.refresh_rounds++;
      }
      if (internal.holds(this.#slot)) {
        this.#again(this.#slot);
        this.#due--;
      }
      this.#slot++;
    }
    outbox.flush();
    this.repeating = false;
  }

  /** What everybody has is as it was: saying it again must not look like a change on its way. */
  #again(slot: number): void {
    const { internal, outbox } = this.host;
    const sequence = internal.sequence(slot);
    let held = true;
    for (const peer of this.host.livePeers()) held &&= peer.holds(sequence);
    outbox.record(slot);
    if (held) internal.setSequence(slot, sequence, 0);
    this.#counts.refreshed++;
  }

  /** Drop what the peer has not spoken of. One of another mode does not refresh: its entries stay. */
  #sweep(peer: Peer, elapsed: number): void {
    const { cacheTimeoutMs, mode } = this.host.options;
    const { cache } = peer;
    if (peer.mode !== mode || cache.size === 0) return;
    const due = Math.ceil((SWEEPS * elapsed * cache.top) / cacheTimeoutMs);
    let slot = this.#swept.get(peer) ?? 0;
    for (let left = Math.min(due, cache.top, TICK_SLOTS_MAX); left > 0; left--, slot++) {
      if (slot >= cache.top) slot = 0;
      if (!cache.holds(slot) || cache.age(slot) < cacheTimeoutMs) continue;
      cache.remove(slot);
      this.#counts.cache_timeouts++;
    }
    this.#swept.set(peer, slot);
  }
}

export const alarm = (host: ModeHost): Mode => new Alarm(host);
