/** What one daemon's caches hold, read through what the engine offers to everybody. */
import type { Cache } from '../../../sync/cache.js';
import type { Daemon } from './daemon.js';
import { type Claim, isVersion, keyIn, Reader, type Version } from './splice.js';

/** Every so many looks all that is held is compared to the last bit, else what has another version. */
const CLOSELY = 8;

export interface Held extends Version {
  /** Whose cache: a node. */
  readonly cache: number;
  /** When this version was first seen here. */
  readonly since: number;
  /** Of the last look. */
  look: number;
}

export interface Change {
  readonly key: number;
  readonly before: Held | undefined;
  readonly now: Held | undefined;
}

export class View {
  readonly held = new Map<number, Held>();
  /** Splices of which this daemon knows that they have ended, and the claim under which they have. */
  readonly ended = new Map<number, Claim>();
  /** Of those, the ones that it has learned of since the last look. */
  readonly lately: number[] = [];
  /** By cache: what its owner has ended, and has left the cache since. */
  readonly left = new Map<number, Map<number, Claim>>();
  readonly daemon: Daemon;
  /** Somebody has emptied caches by hand: what went says nothing about ends. */
  flushed = false;
  flushedAt = Number.NEGATIVE_INFINITY;
  touched = true;
  /** Sealed datagrams that have got through. */
  readonly opened = new Set<number>();
  /** ALARM: what it has dropped since nobody spoke of it for too long, and has not heard of since. */
  readonly timedOut = new Set<number>();
  /** Something of what went since the last look may have been dropped so. */
  timingOut = false;
  #timeouts = 0;
  readonly #now: () => number;
  readonly #reader = new Reader();
  readonly #signatures = new Map<number, number>();
  #look = 0;
  #seen = 0;

  constructor(daemon: Daemon, now: () => number) {
    this.daemon = daemon;
    this.#now = now;
  }

  /** What has changed since the last look. Throws when one splice is in two caches. */
  look(): Change[] {
    const changes: Change[] = [];
    if (!this.touched) return changes;
    this.touched = false;
    const { engine, machine } = this.daemon;
    const caches: [number, Cache][] = [[machine.id, engine.internal], ...engine.external];
    if (!this.#changed(caches)) return changes;
    this.#look++;
    this.#seen = 0;
    for (const [owner, cache] of caches) this.#walk(owner, cache, changes);
    if (this.#seen === this.held.size) return changes;
    this.#lookForTimeouts();
    for (const [key, held] of this.held) {
      if (held.look === this.#look) continue;
      this.held.delete(key);
      changes.push({ key, before: held, now: undefined });
    }
    return changes;
  }

  /** Does this daemon have the splice in this version or a newer one, or know better? */
  has(key: number, wanted: Version): boolean {
    const held = this.held.get(key);
    if (held) {
      if (held.epoch !== wanted.epoch) return held.epoch > wanted.epoch;
      if (held.owner !== wanted.owner) return held.owner > wanted.owner;
      return held.generation >= wanted.generation;
    }
    // a full cache has no room for what the kernel has taken
    const entry = this.daemon.machine.kernel.entries.get(key);
    if (entry && entry.record.epoch > wanted.epoch) return true;
    const end = this.ended.get(key);
    if (!end) return false;
    return end.epoch > wanted.epoch || (end.epoch === wanted.epoch && end.owner >= wanted.owner);
  }

  #changed(caches: [number, Cache][]): boolean {
    let changed = false;
    for (const [owner, cache] of caches) {
      const { inserted, updated, refreshed, deleted } = cache.stats();
      const signature = inserted + updated + refreshed + deleted;
      if (this.#signatures.get(owner) === signature) continue;
      this.#signatures.set(owner, signature);
      changed = true;
    }
    return changed;
  }

  #lookForTimeouts(): void {
    const { engine } = this.daemon;
    if (engine.mode !== 'ALARM') return;
    const timeouts = engine.stats().queue.cache_timeouts;
    this.timingOut = timeouts !== this.#timeouts;
    this.#timeouts = timeouts;
  }

  #walk(owner: number, cache: Cache, changes: Change[]): void {
    const reader = this.#reader;
    const closely = this.#look % CLOSELY === 0;
    const { words, top } = cache;
    for (let slot = 0; slot < top; slot++) {
      if (!cache.holds(slot)) continue;
      const from = cache.wordsAt(slot);
      const key = keyIn(words, from);
      const before = this.held.get(key);
      if (before?.look === this.#look) throw new Error(`splice ${name(key)} is in two caches`);
      this.#seen++;
      const same = before !== undefined && before.cache === owner && isVersion(words, from, before);
      if (same && !(closely && reader.take(words, from).hash !== before.hash)) {
        before.look = this.#look;
        continue;
      }
      reader.take(words, from);
      const { version } = reader;
      const now: Held = { ...version, cache: owner, since: this.#now(), look: this.#look };
      this.held.set(key, now);
      changes.push({ key, before, now });
    }
  }
}

/** A splice as text: the lower half of its table's incarnation, and its id. */
export function name(key: number): string {
  return `${Math.floor(key / 0x100000).toString(16)}:${key % 0x100000}`;
}
