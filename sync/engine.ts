/**
 * The replication as the daemon uses it: api.ts says what each operation does. Here the parts are
 * put together: caches and ownership, the stream of what this node says, the mode that sees to its
 * arrival, and the other nodes.
 */
import type {
  FenceInfo,
  FenceOutcome,
  NoticeCode,
  OfferAnswer,
  OfferWhat,
  PathInfo,
  PeerInfo,
  Standing,
  SyncEngine,
  SyncOptions,
  SyncStats,
  VerifiedPeer,
} from './api.js';
import { Bulk } from './bulk.js';
import { Busy } from './busy.js';
import type { Cache } from './cache.js';
import { Commit } from './commit.js';
import { Compare } from './compare.js';
import { Deferred } from './deferred.js';
import { Fence } from './fence.js';
import type { Identity } from './identity.js';
import { Inbox } from './inbox.js';
import { Members } from './members.js';
import { findMode, type Mode } from './modes.js';
import { Offer } from './offer.js';
import { withDefaults } from './options.js';
import { Outbox } from './outbox.js';
import { Ownership } from './ownership.js';
import { Paths } from './paths.js';
import type { Peer } from './peer.js';
import type { LinkStats } from './ports.js';
import { Recovery } from './recovery.js';
import { Standby } from './standby.js';
import { Mark, Store } from './store.js';
import { Verify } from './verify.js';
import { HeaderFlag } from './wire.js';

const NOTICE_INTERVAL_MS = 1000;

export class Sync implements SyncEngine {
  readonly internal: Cache;
  readonly mode: string;
  readonly #options: Required<SyncOptions>;
  readonly #store: Store;
  readonly #outbox: Outbox;
  readonly #mode: Mode;
  readonly #members: Members;
  readonly #ownership: Ownership;
  readonly #commit: Commit;
  readonly #bulk: Bulk;
  readonly #paths: Paths;
  readonly #recovery: Recovery;
  readonly #standby: Standby | undefined;
  readonly #deferred: Deferred | undefined;
  readonly #compare: Compare;
  readonly #busy: Busy;
  readonly #verify: Verify;
  readonly #fence: Fence;
  readonly #offer: Offer;
  readonly #inbox: Inbox;
  readonly #resync = { inserted: 0, updated: 0 };
  readonly #noticedAt = new Map<NoticeCode, number>();
  #incarnation: number;
  #stopped = false;
  #resendOverflows = 0;
  /** The internal cache was emptied by the operator, and has not been read again. */
  #flushed = false;

  constructor(options: SyncOptions) {
    this.#options = withDefaults(options);
    this.mode = this.#options.mode;
    this.#incarnation = Number(options.incarnation);
    const store = new Store(this.#options.hashLimit, () => options.clock.now());
    this.#store = store;
    this.internal = store.internal;
    // the parts know each other by what they may ask for; the mode comes first and is asked later
    const live = () => this.#members.live();
    this.#paths = new Paths({
      link: options.link,
      clock: options.clock,
      helloMs: this.#options.helloMs,
      live,
      lag: () => this.#slowest((peer) => this.#mode.lag(peer)),
      sayHello: (wantAnswer) => this.#members.sayHello(wantAnswer ? HeaderFlag.REPORT_WANTED : 0),
      notice: (code, message) => this.#notice(code, message),
    });
    const alike = () => this.#alike();
    this.#recovery = new Recovery({
      clock: options.clock,
      sequence: () => this.#outbox.sequence,
      livePeers: alike,
      repeatsMs: () => this.#mode.repeatsMs,
      recovered: (message) => this.#notice('recovered', message),
    });
    const sender = {
      node: options.node,
      link: options.link,
      incarnation: () => this.#incarnation,
      epoch: () => this.#ownership.epoch,
      paths: this.#paths,
      now: () => options.clock.now(),
      checksums: this.#options.versionMax > 1,
      version: () => this.#members.version,
      refused: () => this.#refused(),
    };
    this.#outbox = new Outbox(sender, this.internal, {
      oldest: (sequence, carried) => this.#mode.oldest(sequence, carried),
      keep: (key) => this.#mode.keep(key),
      sent: (sequence, repairs) => this.#mode.sent(sequence, repairs),
    });
    this.#mode = findMode(this.mode).create({
      options: this.#options,
      outbox: this.#outbox,
      internal: this.internal,
      peers: () => this.#members.byNode.values(),
      livePeers: alike,
      sayHello: (wantReport) => this.#members.sayHello(wantReport ? HeaderFlag.REPORT_WANTED : 0),
      sayPresent: (key) => this.#sayPresent(key),
      fellBehind: (peer) => this.#members.fellBehind(peer),
      askForBulk: (peer) => this.#members.askForBulk(peer),
      complete: (peer) => this.#members.complete(peer),
      overflowed: () => this.#overflowed(),
      progressed: () => {
        this.#bulk.progressed();
        this.#recovery.progressed();
        this.#deferred?.check();
      },
    });
    this.#members = new Members({
      options: this.#options,
      outbox: this.#outbox,
      paths: this.#paths,
      mode: this.#mode,
      takeUncovered: () => store.takeUncovered(),
      newCache: () => store.external(),
      role: (writer) => this.#fence.write(writer),
      notice: (code, message) => this.#notice(code, message),
      peersChanged: () => {
        this.#deferred?.check();
        this.#fence.look();
      },
    });
    this.#ownership = new Ownership(
      {
        node: options.node,
        epoch: this.#options.epoch,
        outbox: this.#outbox,
        demoted: (records) => options.events.demoted(records),
        ended: (records) => options.events.ended(records),
        epochChanged: (epoch) => options.events.epochChanged(epoch),
        full: (peer, sequence) => this.#full(peer, sequence),
        uncached: this.#options.disableInternalCache,
        born: (bytes, at) => this.#born(bytes, at),
      },
      store,
    );
    this.#commit = new Commit(
      {
        node: options.node,
        outbox: this.#outbox,
        epoch: () => this.#fence.commitEpoch(),
        full: () => this.#full(),
        room: () => this.#bulk.room,
        live: (node) => this.#members.byNode.get(node)?.alive === true,
        uncached: this.#options.disableInternalCache,
      },
      store,
      this.#ownership,
    );
    if (this.#options.disableExternalCache) this.#standby = this.#watchStandby();
    if (this.#options.defer) {
      this.#deferred = new Deferred({
        livePeers: alike,
        replicated: (records) => options.events.replicated?.(records),
      });
    }
    this.#bulk = new Bulk({
      clock: options.clock,
      store,
      outbox: this.#outbox,
      resendQueueSize: this.#options.resendQueueSize,
      fromKernel: this.#options.disableInternalCache ? () => this.#sayKernel() : undefined,
      inFlight: () => this.#slowest((peer) => this.#mode.unacknowledged(peer)),
    });
    this.#compare = new Compare({
      clock: options.clock,
      store,
      outbox: this.#outbox,
      version: () => this.#members.version,
      complete: (peer) => this.#members.complete(peer),
    });
    this.#busy = new Busy({
      clock: options.clock,
      store,
      outbox: this.#outbox,
      version: () => this.#members.version,
      livePeers: live,
      peers: () => this.#members.byNode.values(),
    });
    this.#verify = new Verify({
      clock: options.clock,
      random: options.random,
      store,
      outbox: this.#outbox,
      bulk: this.#bulk,
      intervalMs: this.#options.verifyMs,
      peers: alike,
      version: () => this.#members.version,
      uncached: this.#options.disableInternalCache,
      // peers keep what was flushed here until a resync
      busy: () => this.#ownership.resyncing || this.#flushed,
      notice: (code, message) => this.#notice(code, message),
    });
    this.#fence = new Fence({
      node: options.node,
      clock: options.clock,
      outbox: this.#outbox,
      paths: options.link.paths,
      speaks: this.#options.versionMax > 1,
      yielded: this.#options.yielded,
      startupMs: this.#options.startupMs,
      live,
      epoch: () => this.epoch,
      noteEpoch: (epoch) => this.#ownership.noteEpoch(epoch),
      raiseEpoch: () => this.#ownership.raiseEpoch(),
      sayHello: () => this.#members.sayHello(0),
      yield: (to, epoch) => options.events.yield?.(to, epoch),
      unclaimed: () => options.events.unclaimed?.(),
    });
    this.#offer = new Offer({
      clock: options.clock,
      random: options.random,
      outbox: this.#outbox,
      info: (peer) => this.#info(peer),
      offered: (peer, what, answer) => {
        if (options.events.offered) options.events.offered(peer, what, answer);
        else answer({ outcome: 'refused', why: 'busy' });
      },
    });
    this.#inbox = new Inbox({
      node: options.node,
      reading: {
        versionMax: this.#options.versionMax,
        checksums: this.#options.versionMax > 1 && !options.link.sealed,
      },
      members: this.#members,
      paths: this.#paths,
      ownership: this.#ownership,
      mode: this.#mode,
      bulk: this.#bulk,
      compare: this.#compare,
      busy: this.#busy,
      verify: this.#verify,
      fence: this.#fence,
      offer: this.#offer,
      incarnation: () => this.#incarnation,
      knownAs: (incarnation, peer) => this.#knownAs(incarnation, peer),
      twin: () => this.#twin(),
      settle: () => this.#settle(),
    });
  }

  get external(): ReadonlyMap<number, Cache> {
    return this.#members.caches;
  }

  get inSync(): boolean {
    return this.#members.inSync;
  }

  get epoch(): number {
    return this.#ownership.epoch;
  }

  start(): void {
    this.#mode.start();
    this.#members.start();
    this.#paths.start();
    this.#verify.start();
    this.#fence.start();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#outbox.flush();
    this.#fence.stop();
    this.#verify.stop();
    this.#offer.stop();
    this.#compare.stop();
    this.#bulk.stop();
    this.#mode.stop();
    this.#members.stop();
    this.#paths.stop();
  }

  paths(): PathInfo[] {
    return this.#paths.info();
  }

  greet(): void {
    if (!this.#stopped) this.#members.sayHello(0);
  }

  receive(datagram: Uint8Array, path = 0): void {
    if (!this.#stopped) this.#inbox.receive(datagram, path);
  }

  local(events: Uint8Array): void {
    this.#ownership.local(events);
    this.#settle();
  }

  resyncBegin(): void {
    this.#resync.inserted = 0;
    this.#resync.updated = 0;
    this.#ownership.resyncBegin();
  }

  resyncRecords(records: Uint8Array): void {
    const { inserted, updated } = this.#ownership.resyncRecords(records);
    this.#resync.inserted += inserted;
    this.#resync.updated += updated;
    this.#settle();
  }

  resyncEnd(withdraw = true): { inserted: number; updated: number; deleted: number } {
    const deleted = this.#ownership.resyncEnd(withdraw);
    this.#flushed = false;
    this.#settle();
    if (this.#options.disableInternalCache && !this.#members.live().next().done) this.#bulk.start();
    return { ...this.#resync, deleted };
  }

  place(standing: Standing): void {
    this.#fence.place(standing);
  }

  claim(): number {
    return this.#fence.claim();
  }

  settle(timeoutMs: number, done: (outcome: FenceOutcome) => void): void {
    this.#fence.settle(timeoutMs, done);
  }

  stand(): void {
    this.#fence.stand();
  }

  fence(): FenceInfo {
    return this.#fence.info();
  }

  plan(node?: number, timeoutMs = 0): Generator<Uint8Array, void, void> {
    const { caches } = this.#members;
    if (node === undefined) return this.#commit.plan(caches.values(), timeoutMs);
    const cache = caches.get(node);
    return this.#commit.plan(cache ? [cache] : [], timeoutMs);
  }

  orphans(records: Uint8Array): Uint8Array {
    return this.#commit.orphans(records);
  }

  committed(records: Uint8Array, results: Uint32Array): number {
    const ours = this.#commit.committed(records, results);
    this.#settle();
    this.#bulk.announce();
    if (this.#commit.takeUntold()) this.#bulk.start();
    return ours;
  }

  sayBusy(records: Uint8Array): void {
    if (!this.#stopped) this.#busy.say(records);
  }

  busy(): Uint8Array {
    return this.#busy.records();
  }

  request(node?: number): void {
    for (const peer of this.#members.live()) {
      if (node !== undefined && peer.node !== node) continue;
      this.#members.want(peer, peer.window.highest + 1);
    }
  }

  bulk(): void {
    this.#bulk.start();
  }

  flush(which: 'internal' | 'external' | 'both'): void {
    if (which !== 'external') {
      this.internal.clear();
      this.#flushed = true;
    }
    if (which === 'internal') return;
    for (const peer of this.#members.byNode.values()) {
      if (peer.cache.size === 0) continue;
      peer.cache.clear();
      this.#members.emptied(peer);
    }
    this.#settle();
  }

  verify(repair: boolean, done: (peers: VerifiedPeer[]) => void): void {
    if (this.#stopped) done([]);
    else this.#verify.ask(repair, done);
  }

  offer(node: number, what: OfferWhat, done: (answer: OfferAnswer) => void): () => void {
    const peer = this.#members.byNode.get(node);
    if (peer && !this.#stopped) return this.#offer.make(peer, what, done);
    done({ outcome: 'dead' });
    return () => {};
  }

  peers(): PeerInfo[] {
    return [...this.#members.byNode.values()].map((peer) => this.#info(peer));
  }

  unacknowledged(): number {
    const { done } = this.#alike().next();
    return done ? this.internal.size : this.#slowest((peer) => this.#owedTo(peer));
  }

  acknowledged(record: Uint8Array): boolean {
    const slot = this.internal.slotOf(record);
    if (slot < 0 || this.#store.marked(slot, Mark.UNSAID)) return false;
    const sequence = this.internal.sequence(slot);
    let held = false;
    for (const peer of this.#alike()) {
      if (!peer.holds(sequence)) return false;
      held = true;
    }
    return held;
  }

  stats(): SyncStats {
    const external = [...this.#members.byNode.values()].map((peer) => [
      peer.node.toString(16).padStart(8, '0'),
      peer.cache.stats(),
    ]);
    return {
      cache: {
        internal: this.internal.stats(),
        external: Object.fromEntries(external),
        tombstones: this.#ownership.tombstones.stats(),
      },
      link: this.#options.link.stats(),
      queue: {
        ...this.#mode.stats(),
        ...this.#bulk.counts,
        ...this.#deferred?.counts,
        resend_overflows: this.#resendOverflows,
        unacknowledged: this.unacknowledged(),
      },
      network: {
        ...this.#outbox.counts,
        ...withRejections(this.#inbox.stats(), this.#options.link.rejections?.() ?? {}),
        ...this.#members.counts,
        ...this.#paths.counts,
        ...this.#verify.counts,
        ...this.#compare.counts,
        ...this.#busy.counts,
        ...this.#offer.counts,
      },
      ownership: {
        ...this.#commit.counts,
        ...this.#ownership.counts,
        ...this.#fence.counts,
        epoch: this.epoch,
        taken_epoch: this.#ownership.taken,
      },
    };
  }

  #info(peer: Peer): PeerInfo {
    return peer.info(this.#options.clock.now(), this.#owedTo(peer), this.#mode.lag(peer));
  }

  /** A peer knows an incarnation of ours: a higher one means that the clock has gone back since. */
  #knownAs(incarnation: number, peer: Peer): void {
    if (incarnation <= this.#incarnation) return;
    // not the next one: another start may have had that, and would have used its sequences
    this.#incarnation = incarnation + 1 + (this.#options.random.u32() >>> 12);
    this.#notice(
      'incarnation-raised',
      `${peer.name} has seen a later start of this node: the clock has gone back; going on from there`,
    );
    this.#members.sayHello(HeaderFlag.REPORT_WANTED);
  }

  #twin(): void {
    this.#notice(
      'twin',
      `another node on the link calls itself ${this.#options.name}: give each node its own NodeName`,
    );
  }

  #sayPresent(key: Identity): void {
    if (key.origin !== 0) this.#ownership.sayPresent(key);
    else this.#outbox.endAgain(key);
  }

  /** The end of each call: what was said leaves, what was lost to others leaves the kernel. */
  #settle(): void {
    this.#outbox.flush();
    this.#ownership.deliverDemoted();
    this.#standby?.deliver();
    this.#deferred?.check();
  }

  #watchStandby(): Standby {
    const { clock, events } = this.#options;
    const standby = new Standby({
      clock,
      store: this.#store,
      before: () => this.#ownership.deliverDemoted(),
      entered: (records) => events.standby?.(records),
      left: (records) => events.standbyGone?.(records),
    });
    this.#store.watch = standby;
    return standby;
  }

  /** Its proxy may wait until another node has it: the peers are asked to say so at once. */
  #born(bytes: Uint8Array, at: number): void {
    if (this.#deferred?.add(bytes, at, this.#outbox.sequence + 1)) this.#outbox.wantReport();
  }

  /** Says what the kernel holds, a chunk at each step. */
  *#sayKernel(): Generator<number, void, void> {
    for (const chunk of this.#options.events.readKernel?.() ?? []) {
      yield this.#ownership.sayUncached(chunk);
    }
  }

  /** Live peers in the same mode: nobody waits for any other. */
  *#alike(): Generator<Peer, void, void> {
    for (const peer of this.#members.live()) if (peer.mode === this.mode) yield peer;
  }

  #owedTo(peer: Peer): number {
    // what is not kept cannot be counted
    const least = this.#options.disableInternalCache ? 1 : 0;
    if (!peer.holdsAll) return Math.max(this.internal.size, least);
    return this.#mode.unacknowledged(peer) + this.#store.unsaid;
  }

  #slowest(of: (peer: Peer) => number): number {
    let most = 0;
    for (const peer of this.#alike()) most = Math.max(most, of(peer));
    return most;
  }

  #overflowed(): void {
    this.#resendOverflows++;
    this.#recovery.overflowed('the resend queue');
    this.#notice(
      'resend-overflow',
      `the resend queue is full (ResendQueueSize ${this.#options.resendQueueSize}): the slowest peer will ask for a bulk`,
    );
  }

  #refused(): void {
    this.#recovery.overflowed('the link');
    this.#notice(
      'link-overflow',
      'the link does not take what is sent: what it refuses is lost, and made good as its mode has it',
    );
  }

  #full(peer?: Peer, sequence = 0): void {
    if (peer) this.#members.refused(peer, sequence);
    this.#notice(
      'cache-full',
      `a cache is full (HashLimit ${this.#options.hashLimit}): records are not kept; raise HashLimit`,
    );
  }

  #notice(code: NoticeCode, message: string): void {
    const now = this.#options.clock.now();
    if (now - (this.#noticedAt.get(code) ?? Number.NEGATIVE_INFINITY) < NOTICE_INTERVAL_MS) return;
    this.#noticedAt.set(code, now);
    this.#options.events.notice(code, message);
  }
}

/** The link's own are added: to those of the same name, or beside them. */
function withRejections(stats: LinkStats, rejections: LinkStats): LinkStats {
  const sum: Record<string, number> = { ...stats };
  for (const [name, count] of Object.entries(rejections)) {
    sum[`rejected_${name}`] = (sum[`rejected_${name}`] ?? 0) + count;
  }
  return sum;
}
