/**
 * The other nodes: who is there, who is alive, whose records are complete here, and asking for those
 * that are not.
 */
import type { NoticeCode, PeerChange, SyncOptions } from './api.js';
import type { Cache } from './cache.js';
import { counts } from './counts.js';
import { writeHello } from './hello.js';
import type { Mode } from './modes.js';
import type { Outbox } from './outbox.js';
import type { Paths } from './paths.js';
import { Peer } from './peer.js';
import type { Timer } from './ports.js';
import { Requests } from './requests.js';
import { common, type Versions } from './versions.js';
import { type Header, HeaderFlag, type Rejection, Type, type Writer } from './wire.js';

/** Nodes on one link at most; whoever comes later is counted and not heard. */
const PEERS_MAX = 64;
/** Between two answers to datagrams of an earlier start, at least. */
const TELL_MS = 250;
/** Between two requests for what found no room in the cache, at most. */
const ASK_AGAIN_MS_MAX = 30_000;
/** Slots compared with a bulk before others have their turn. */
const SWEEP_SLOTS = 65_536;

export interface MembersHost {
  readonly options: Required<SyncOptions>;
  readonly outbox: Outbox;
  readonly paths: Paths;
  readonly mode: Mode;
  /** A claim was refused for one that is not there any more: see Store. */
  takeUncovered(): boolean;
  /** For the records of one more peer. */
  newCache(): Cache;
  /** Write what this node stands for. */
  role(writer: Writer): void;
  notice(code: NoticeCode, message: string): void;
  /** Somebody has come or gone, or is in sync or not any more. */
  peersChanged(): void;
}

export class Members {
  readonly byNode = new Map<number, Peer>();
  readonly caches = new Map<number, Cache>();
  readonly #host: MembersHost;
  readonly #requests: Requests;
  readonly #startedAt: number;
  #started = false;
  #inSync = false;
  #helloTimer: Timer | undefined;
  #startTimer: Timer | undefined;
  #toldAt = Number.NEGATIVE_INFINITY;
  #stopped = false;
  readonly counts = counts('lost_for_good', 'reconciled_records', 'bulks_received', 'peers_died');

  constructor(host: MembersHost) {
    this.#host = host;
    this.#requests = new Requests(host.options, host.outbox, () => this.live());
    this.#startedAt = host.options.clock.now();
  }

  get inSync(): boolean {
    return this.#inSync;
  }

  start(): void {
    const { clock, startupMs } = this.#host.options;
    this.#startTimer = clock.after(startupMs, () => this.#judge());
    this.#hello();
  }

  stop(): void {
    this.#stopped = true;
    this.#requests.stop();
    this.#helloTimer?.cancel();
    this.#startTimer?.cancel();
    this.sayHello(HeaderFlag.LEAVING);
  }

  *live(): Generator<Peer, void, void> {
    for (const peer of this.byNode.values()) if (peer.alive) yield peer;
  }

  /** The version in which everybody who is alive can read this node. */
  get version(): number {
    return common(this.#host.options.versionMax, this.live());
  }

  /** The peer that sent this, made or started anew if need be; or why it is not listened to. */
  hear(header: Header, versions: Versions): Peer | Rejection {
    const now = this.#host.options.clock.now();
    let peer = this.byNode.get(header.sender);
    if (peer && header.incarnation < peer.incarnation) {
      this.#tellIncarnation(now);
      return 'old_incarnation';
    }
    if (!peer) {
      if (this.byNode.size >= PEERS_MAX) return 'too_many_peers';
      const cache = this.#host.newCache();
      peer = new Peer(header.sender, cache, this.#host.options.mode, now);
      this.byNode.set(peer.node, peer);
      this.caches.set(peer.node, cache);
    }
    peer.heardAt = now;
    if (header.incarnation > peer.incarnation) this.#welcome(peer, header, versions, now);
    else if (header.type === Type.HELLO || versions.highest > peer.versions.highest) {
      this.#speaks(peer, versions);
    }
    // its good-bye comes by every path
    if (!peer.alive && !(header.flags & HeaderFlag.LEAVING)) this.#revive(peer);
    return peer;
  }

  /** A HELLO says in which mode its sender is. */
  modeOf(peer: Peer, mode: string): void {
    if (mode === peer.mode) return;
    peer.mode = mode;
    const own = this.#host.options.mode;
    if (mode === own) return;
    this.#host.notice(
      'mode-differs',
      `${peer.name} is in mode ${mode} and this node in ${own}: neither waits for the other; give both the same Mode`,
    );
  }

  /** A HELLO may say that the sender stops. */
  leaving(peer: Peer): void {
    if (peer.alive) this.#die(peer);
  }

  /** By every path. */
  sayHello(flags: number): void {
    const { outbox, paths, options, role } = this.#host;
    const peers = this.byNode;
    for (const mark of paths.marks()) {
      const write = (writer: Writer) => writeHello(writer, { options, peers, paths, mark, role });
      outbox.control(Type.HELLO, { flags }, write, mark.path);
    }
  }

  /** Ask a peer for a bulk that begins at this sequence or later. */
  want(peer: Peer, from: number): void {
    this.#requests.want(peer, from);
  }

  /** Changes of the peer were lost: see ModeHost. */
  fellBehind(peer: Peer): void {
    this.counts.lost_for_good++;
    this.#host.notice(
      'lost-for-good',
      `changes of ${peer.name} were lost and will not come again: asking for a bulk`,
    );
    peer.behind = true;
    this.#fallOut(peer);
  }

  askForBulk(peer: Peer): void {
    this.want(peer, peer.window.base);
  }

  /** All that the peer owns has been heard. */
  complete(peer: Peer): void {
    peer.wanted = 0;
    const refused = peer.refusedAt > 0;
    peer.refusedAt = 0;
    if (!refused) this.#nothingMissing(peer, 1);
  }

  /** All is here that was said since the datagram `first`, but for what found no room. */
  #nothingMissing(peer: Peer, first: number): void {
    if (peer.refusedAt >= first || this.#stopped) return;
    peer.refusedAt = 0;
    peer.lackedAt = 0;
    if (!peer.inSync) this.#cameIn(peer);
    this.#host.mode.reportNow(peer);
    this.#judge();
  }

  /** What this datagram of the peer said found no room: say so instead of pretending. */
  refused(peer: Peer, sequence: number): void {
    peer.refusedAt = Math.max(peer.refusedAt, sequence);
    if (!peer.inSync) return;
    peer.askAgainAt = this.#host.options.clock.now() + peer.askAgainMs;
    this.#fallOut(peer);
  }

  /** What was refused to one of them, for the claim of another, may be right now. */
  #uncovered(): void {
    for (const peer of this.live()) {
      this.refused(peer, peer.window.highest);
      this.want(peer, peer.window.highest + 1);
    }
    this.#judge();
  }

  /** The operator has emptied the cache of this peer. */
  emptied(peer: Peer): void {
    this.#fallOut(peer);
    peer.pendingEnd = undefined;
    peer.pendingBuckets = [];
    this.#judge();
  }

  lookForUncovered(): void {
    if (this.#host.takeUncovered()) this.#uncovered();
  }

  bulkEnded(peer: Peer, first: number, sequence: number): void {
    if (first < peer.window.base || first < (peer.pendingEnd?.first ?? 0)) return;
    peer.pendingEnd = { first, end: sequence };
  }

  /** If all up to the end of a bulk has come, drop what it did not list. */
  tryReconcile(peer: Peer): void {
    const { pendingEnd } = peer;
    if (!pendingEnd || peer.window.complete < pendingEnd.end) return;
    peer.pendingEnd = undefined;
    peer.sweeps++;
    this.#sweep(peer, pendingEnd.first, peer.stream, 0);
  }

  #sweep(peer: Peer, first: number, stream: number, from: number): void {
    if (peer.stream !== stream || peer.window.base > first) {
      peer.sweeps--;
      return;
    }
    const { cache } = peer;
    const to = Math.min(from + SWEEP_SLOTS, cache.top);
    for (let slot = from; slot < to; slot++) {
      if (!cache.holds(slot)) continue;
      if (cache.stream(slot) === stream && cache.sequence(slot) >= first) continue;
      cache.remove(slot);
      this.counts.reconciled_records++;
    }
    if (to < cache.top) {
      this.#host.options.clock.after(0, () => this.#sweep(peer, first, stream, to));
      return;
    }
    peer.sweeps--;
    this.#reconciled(peer, first);
  }

  #reconciled(peer: Peer, first: number): void {
    this.counts.bulks_received++;
    if (first >= peer.wanted) peer.wanted = 0;
    this.#nothingMissing(peer, first);
  }

  #cameIn(peer: Peer): void {
    const { clock } = this.#host.options;
    peer.inSync = true;
    if (peer.behind) {
      peer.behind = false;
      const seconds = ((clock.now() - peer.outOfSyncSince) / 1000).toFixed(1);
      this.#host.notice(
        'recovered',
        `${seconds} s after changes of ${peer.name} were lost, all that it owns is here again`,
      );
    }
    this.#changed(peer, 'in-sync');
  }

  #welcome(peer: Peer, header: Header, versions: Versions, now: number): void {
    const known = peer.incarnation !== 0;
    const base = header.type === Type.DATA ? header.sequence : header.sequence + 1;
    const wasInSync = peer.inSync;
    peer.restart(header.incarnation, base, now);
    this.#host.paths.forget(peer);
    peer.alive = true;
    peer.wanted = 0;
    this.#speaks(peer, versions);
    this.#changed(peer, known ? 'restarted' : 'new');
    if (wasInSync) this.#changed(peer, 'out-of-sync');
    // it must not wait for the next keep-alive to know that we are here
    this.sayHello(HeaderFlag.REPORT_WANTED);
    if (this.#host.options.startupResync) this.want(peer, base);
    this.#judge();
  }

  #speaks(peer: Peer, versions: Versions): void {
    peer.versions = versions;
    const { version } = this;
    if (versions.lowest <= version) return;
    this.#host.notice(
      'versions-apart',
      `${peer.name} does not speak version ${version} of the wire, which is the highest of all others: it does not hear this node`,
    );
  }

  #revive(peer: Peer): void {
    peer.alive = true;
    this.#changed(peer, 'alive');
    this.sayHello(HeaderFlag.REPORT_WANTED);
    if (peer.wanted > 0) this.want(peer, peer.wanted);
    this.#judge();
  }

  #die(peer: Peer): void {
    peer.alive = false;
    this.#host.paths.forget(peer);
    this.counts.peers_died++;
    this.#changed(peer, 'dead');
    this.#judge();
  }

  #fallOut(peer: Peer): void {
    const was = peer.inSync;
    peer.fallOut(this.#host.options.clock.now());
    if (was) this.#changed(peer, 'out-of-sync');
  }

  #changed(peer: Peer, change: PeerChange): void {
    const { mode, options } = this.#host;
    const info = peer.info(options.clock.now(), mode.unacknowledged(peer), mode.lag(peer));
    options.events.peerChanged(info, change);
    mode.peerChanged(peer, change);
    this.#host.peersChanged();
  }

  /** Its clock went back between two starts, or it is an old datagram: say what we know, not often. */
  #tellIncarnation(now: number): void {
    if (now - this.#toldAt < TELL_MS) return;
    this.#toldAt = now;
    this.sayHello(0);
  }

  #hello(): void {
    if (this.#stopped) return;
    const { clock, helloMs, deadAfterMs } = this.#host.options;
    const deadline = clock.now() - deadAfterMs;
    this.lookForUncovered();
    for (const peer of this.live()) {
      if (peer.heardAt < deadline) this.#die(peer);
      else this.#askAgain(peer);
    }
    this.#host.paths.look();
    this.sayHello(0);
    this.#judge();
    this.#helloTimer = clock.after(helloMs, () => this.#hello());
  }

  /** What was refused may find room now. */
  #askAgain(peer: Peer): void {
    const now = this.#host.options.clock.now();
    if (peer.refusedAt === 0 || peer.wanted > 0 || now < peer.askAgainAt) return;
    if (peer.cache.room === 0) return;
    peer.askAgainMs = Math.min(2 * peer.askAgainMs, ASK_AGAIN_MS_MAX);
    peer.askAgainAt = now + peer.askAgainMs;
    this.want(peer, peer.window.highest + 1);
  }

  #judge(): void {
    const inSync = this.#stopped ? this.#inSync : this.#judgement();
    if (inSync === this.#inSync) return;
    this.#inSync = inSync;
    this.#host.options.events.syncChanged(inSync);
  }

  #judgement(): boolean {
    const { clock, startupMs, startupResync } = this.#host.options;
    const now = clock.now();
    let heard = false;
    for (const peer of this.live()) {
      heard = true;
      // nobody has asked for its records, so nobody misses them
      const unasked = !startupResync && peer.wanted === 0 && peer.cache.size === 0;
      if (peer.inSync || unasked) continue;
      if (!this.#started || now - peer.outOfSyncSince >= startupMs) return false;
    }
    this.#started ||= heard || now - this.#startedAt >= startupMs;
    return this.#started;
  }
}
