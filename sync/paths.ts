/**
 * Which of the paths to use. HELLO goes by all of them, and says by which paths its sender hears each
 * of the others: so a node knows of each path who hears it there, also where a path has failed one
 * way only. Everything else goes by the preferred path that all live peers hear; by several only
 * when there is none that all of them hear.
 *
 * A path is left at once when it is known to be down, or a peer says that it hears nothing there. It
 * is gone back to when it has been good for a while: longer, the sooner it failed again after that.
 */
import type { NoticeCode, PathInfo } from './api.js';
import { counts } from './counts.js';
import type { Peer } from './peer.js';
import type { Clock, Link, Timer } from './ports.js';
import { PATHS_MAX } from './wire.js';

const ALL = 0xffffffff;
/** HELLOs in a row that came by another path only, over so long a time: it does not hear this one. */
const MISSED_MAX = 3;
const MISSED_MS = 150;
/** In silence: keep-alives that have not come by a path. */
const SILENT_HELLOS = 2.5;
/** A path that has failed is preferred again when it has been good for so long. */
const HOLD_MS = 3000;
const HOLD_MS_MAX = 60_000;
/** While a peer is so far behind, HELLOs find out by which paths it hears, so often. */
const LAG_MS = 100;
/** What has changed is told soon, and not too often. */
const TELL_MS = 20;
const TELL_MS_MIN = 100;

export interface PathsHost {
  readonly link: Link;
  readonly clock: Clock;
  readonly helloMs: number;
  live(): Iterable<Peer>;
  /** Age in ms of what some live peer has not acknowledged. */
  lag(): number;
  /** @param wantAnswer a report, and a HELLO by all paths of the peer */
  sayHello(wantAnswer: boolean): void;
  notice(code: NoticeCode, message: string): void;
}

/** What a HELLO says of the path that it was sent by. */
export interface Mark {
  /** Number at the sender. */
  readonly path: number;
  readonly paths: number;
  /** Of the HELLO: the same on all paths, one above the last. */
  readonly serial: number;
}

/** Between this node and a peer. */
class Hearing {
  /** Paths of the peer. */
  paths = 1;
  serial = 0;
  /** By the peer's paths. */
  readonly serials: number[] = [];
  readonly heardAt: number[] = [];
  /** By the paths of this node: the peer's path that ends here. */
  readonly from: number[] = [];
  /** The peer's paths that it was last told to be heard by. */
  told = 0;
  /** Paths of this node by which the peer hears it; all while it has not said. */
  hears = ALL;
  hasSaid = false;
}

/** One path of this node. */
interface Own {
  /** undefined: it is not. */
  goodSince: number | undefined;
  /** It has been, beyond doubt. */
  proven: boolean;
  holdMs: number;
  takenAt: number;
}

export class Paths {
  readonly #host: PathsHost;
  readonly #hearings = new Map<number, Hearing>();
  readonly #own: Own[];
  #inUse: readonly number[] = [0];
  #serial = 0;
  #toldAt = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #doubtTimer: Timer | undefined;
  #stopped = false;
  readonly counts = counts('path_changes');

  constructor(host: PathsHost) {
    this.#host = host;
    this.#own = Array.from({ length: Math.min(host.link.paths, PATHS_MAX) }, () => ({
      goodSince: Number.NEGATIVE_INFINITY,
      proven: false,
      holdMs: HOLD_MS,
      takenAt: Number.NEGATIVE_INFINITY,
    }));
  }

  /** The one that everything goes by; more when no single one reaches all. */
  get inUse(): readonly number[] {
    return this.#inUse;
  }

  start(): void {
    if (this.#own.length > 1) this.#doubt();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#doubtTimer?.cancel();
  }

  /** The marks of the next HELLO, one for each path. */
  *marks(): Generator<Mark, void, void> {
    const paths = this.#own.length;
    const serial = ++this.#serial;
    this.#toldAt = this.#host.clock.now();
    this.#timer?.cancel();
    this.#timer = undefined;
    for (let path = 0; path < paths; path++) yield { path, paths, serial };
  }

  /** A peer's paths by which it is heard now, as a mask; undefined when it has only one. */
  heardFrom(peer: Peer): number | undefined {
    const hearing = this.#hearings.get(peer.node);
    if (!hearing || hearing.paths < 2) return undefined;
    hearing.told = this.#mask(hearing);
    return hearing.told;
  }

  /** Any datagram of a peer has come by this path of ours. */
  heard(peer: Peer, ours: number): void {
    const hearing = this.#hearings.get(peer.node);
    if (hearing === undefined || hearing.paths < 2) return;
    const path = hearing.from[ours];
    if (path !== undefined) this.#note(hearing, path, hearing.serial);
  }

  /** A HELLO of a peer has come by this path of ours. True: it has come by another one already. */
  hello(peer: Peer, ours: number, { path, paths, serial }: Mark): boolean {
    const hearing = this.#hearing(peer);
    const again = serial <= hearing.serial;
    hearing.paths = paths;
    hearing.from[ours] = path;
    hearing.serial = Math.max(hearing.serial, serial);
    this.#note(hearing, path, serial);
    if (paths > 1 && this.#mask(hearing) !== hearing.told) this.#tellSoon();
    return again;
  }

  /** A peer wants to know by which paths it hears this node. */
  asked(): void {
    if (this.#own.length > 1) this.#tellSoon();
  }

  /** A peer says by which of our paths it hears us. */
  hears(peer: Peer, mask: number): void {
    const hearing = this.#hearing(peer);
    const change = !hearing.hasSaid || hearing.hears !== mask;
    hearing.hears = mask;
    hearing.hasSaid = true;
    if (change) this.look();
  }

  /** A peer has died, or has started anew. */
  forget(peer: Peer): void {
    this.#hearings.delete(peer.node);
  }

  /** A path has not taken a datagram. @returns the paths to use now */
  failed(path: number): readonly number[] {
    const down = this.#own.length > 1 && this.#host.link.fault?.(path) !== undefined;
    if (down && this.#own[path].goodSince !== undefined) this.look();
    return this.#inUse;
  }

  /** Choose anew: something has changed, or time has passed. */
  look(): void {
    if (this.#own.length < 2) return;
    const now = this.#host.clock.now();
    const live = [...this.#host.live()];
    const reach = this.#own.map((_, path) => this.#reach(path, live));
    for (const [path, own] of this.#own.entries()) this.#judge(own, path, reach[path], live, now);
    const chosen = this.#choose(reach, live, now);
    const same = chosen.length === this.#inUse.length;
    if (same && chosen.every((path, index) => path === this.#inUse[index])) return;
    this.#change(chosen, live, now);
  }

  info(): PathInfo[] {
    const live = [...this.#host.live()];
    return this.#own.map((_, path) => ({
      name: this.#name(path),
      inUse: this.#inUse.includes(path),
      fault: this.#host.link.fault?.(path),
      unheardBy: this.#deaf(path, live).map((peer) => peer.name),
    }));
  }

  #hearing(peer: Peer): Hearing {
    let hearing = this.#hearings.get(peer.node);
    if (!hearing) {
      hearing = new Hearing();
      this.#hearings.set(peer.node, hearing);
    }
    return hearing;
  }

  #note(hearing: Hearing, path: number, serial: number): void {
    hearing.serials[path] = Math.max(hearing.serials[path] ?? 0, serial);
    hearing.heardAt[path] = this.#host.clock.now();
  }

  #mask(hearing: Hearing): number {
    const now = this.#host.clock.now();
    let mask = 0;
    for (let path = 0; path < hearing.paths; path++) {
      const silence = now - (hearing.heardAt[path] ?? Number.NEGATIVE_INFINITY);
      if (silence >= SILENT_HELLOS * this.#host.helloMs) continue;
      const missed = hearing.serial - (hearing.serials[path] ?? 0);
      if (missed >= MISSED_MAX && silence >= MISSED_MS) continue;
      mask |= 1 << path;
    }
    return mask >>> 0;
  }

  /**
   * A peer that acknowledges nothing may hear nothing, or not be heard: the keep-alives would tell
   * after seconds.
   */
  #doubt(): void {
    const { clock, lag, sayHello } = this.#host;
    if (lag() > LAG_MS) sayHello(true);
    this.#doubtTimer = clock.after(LAG_MS, () => this.#doubt());
  }

  #tellSoon(): void {
    if (this.#timer || this.#stopped) return;
    const { clock } = this.#host;
    const wait = Math.max(TELL_MS, this.#toldAt + TELL_MS_MIN - clock.now());
    this.#timer = clock.after(wait, () => {
      this.#timer = undefined;
      this.#host.sayHello(false);
    });
  }

  #hearsBy(peer: Peer, path: number): boolean {
    const mask = this.#hearings.get(peer.node)?.hears ?? ALL;
    return (mask & (1 << path)) !== 0;
  }

  #deaf(path: number, live: readonly Peer[]): Peer[] {
    return live.filter((peer) => !this.#hearsBy(peer, path));
  }

  /** Who is reached by a path; -1 when it is down. */
  #reach(path: number, live: readonly Peer[]): number {
    if (this.#host.link.fault?.(path) !== undefined) return -1;
    return live.length - this.#deaf(path, live).length;
  }

  #judge(own: Own, path: number, reach: number, live: readonly Peer[], now: number): void {
    if (reach < live.length) {
      if (own.goodSince !== undefined) this.#fell(own, path, now);
      return;
    }
    // nothing is held against a path that is good for the first time
    own.goodSince ??= own.proven ? now : Number.NEGATIVE_INFINITY;
    own.proven ||= live.some((peer) => this.#hearings.get(peer.node)?.hasSaid);
  }

  /** The sooner it has failed again, the longer it will have to prove itself. */
  #fell(own: Own, path: number, now: number): void {
    own.goodSince = undefined;
    if (!this.#inUse.includes(path)) return;
    const soon = now - own.takenAt < HOLD_MS_MAX;
    own.holdMs = soon ? Math.min(2 * own.holdMs, HOLD_MS_MAX) : HOLD_MS;
  }

  #choose(reach: readonly number[], live: readonly Peer[], now: number): readonly number[] {
    const order = this.#order(now);
    const best = order.reduce((a, b) => (reach[b] > reach[a] ? b : a));
    if (reach[best] < 0) return this.#inUse;
    const chosen = [best];
    let left = this.#deaf(best, live);
    for (const path of order) {
      if (reach[path] < 0 || left.length === 0) continue;
      const still = this.#deaf(path, left);
      if (still.length === left.length) continue;
      chosen.push(path);
      left = still;
    }
    return chosen;
  }

  /** The preferred one first; but one that must prove itself yet after the one in use. */
  #order(now: number): number[] {
    const [current] = this.#inUse;
    const waits = (path: number): boolean => {
      const { goodSince, holdMs } = this.#own[path];
      return path !== current && (goodSince === undefined || now - goodSince < holdMs);
    };
    const all = this.#own.map((_, path) => path);
    return [...all.filter((path) => !waits(path)), ...all.filter(waits)];
  }

  #change(chosen: readonly number[], live: readonly Peer[], now: number): void {
    const [before] = this.#inUse;
    const why = this.#why(before, live) ?? `${this.#name(chosen[0])} is good again`;
    this.#inUse = chosen;
    for (const path of chosen) this.#own[path].takenAt = now;
    this.counts.path_changes++;
    const names = chosen.map((path) => this.#name(path)).join(' and ');
    this.#host.notice('path-changed', `the link is ${names} now: ${why}`);
  }

  /** What is wrong with a path. */
  #why(path: number, live: readonly Peer[]): string | undefined {
    const fault = this.#host.link.fault?.(path);
    if (fault !== undefined) return fault;
    const deaf = this.#deaf(path, live).map((peer) => peer.name);
    if (deaf.length === 0) return undefined;
    return `${deaf.join(', ')} hear${deaf.length > 1 ? '' : 's'} nothing of this node by ${this.#name(path)}`;
  }

  #name(path: number): string {
    return this.#host.link.names?.[path] ?? `path ${path}`;
  }
}
