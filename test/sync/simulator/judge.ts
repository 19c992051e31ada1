/**
 * Watches a run, and says what must never be. Nothing here knows how the protocol works: only what
 * the nodes hold, what they say to whom, and what has really happened.
 */
import type { FenceOutcome } from '../../../sync/api.js';
import type { Cache } from '../../../sync/cache.js';
import type { Daemon } from './daemon.js';
import type { Flows } from './flows.js';
import type { Machine, Watcher } from './machine.js';
import type { Parcel } from './network.js';
import { read, type Said } from './said.js';
import { type Claim, compareClaims, keyOf, Reader } from './splice.js';
import { type Change, type Held, name, View } from './view.js';

export interface JudgeOptions {
  readonly machines: readonly Machine[];
  readonly flows: () => Flows;
  /** The highest version of the wire that any node speaks. */
  readonly versionMax: number;
  now(): number;
  fail(rule: string, what: string): void;
  count(what: string): void;
}

/** A node in sync has what a peer has owned for so long, if nothing was in the way meanwhile. */
const IN_SYNC_MS = 4000;
/** An address that comes is answered for until the daemon has noticed. */
const YIELDED_MS = 100;
/** Nobody counts on a node whose caches have been emptied by hand, for so long. */
const FLUSHED_MS = 4000;

/** Of one start of a sender: its last sequence, and the datagram that had it. */
interface Stream {
  readonly life: Daemon;
  readonly sequence: number;
  readonly bytes: Uint8Array | undefined;
}

export class Judge implements Watcher {
  readonly views = new Map<Daemon, View>();
  readonly #options: JudgeOptions;
  readonly #reader = new Reader();
  /** Every version that an owner has ever made: (splice, epoch, owner, generation) to its content. */
  readonly #versions = new Map<string, number>();
  /** Splices that have ended for their owner, with the strongest claim of those ends. */
  readonly #ends = new Map<number, Claim>();
  /** Of each sender and incarnation: whose life that is, and its last sequence. */
  readonly #streams = new Map<string, Stream>();
  /** The same of sealed sessions. */
  readonly #sessions = new Map<string, Stream>();
  readonly #epochs = new Map<object, number>();

  constructor(options: JudgeOptions) {
    this.#options = options;
  }

  started(daemon: Daemon): void {
    this.views.set(daemon, new View(daemon, this.#options.now));
  }

  touched(daemon: Daemon): void {
    const view = this.views.get(daemon);
    if (view) view.touched = true;
  }

  /** A kernel has made this version. */
  version(bytes: Uint8Array): void {
    const { key, version } = this.#reader.load(bytes, 0);
    const { epoch, owner, generation, hash } = version;
    const which = `${key} ${epoch} ${owner} ${generation}`;
    const known = this.#versions.get(which);
    if (known !== undefined && known !== hash) {
      this.#fail('one content a version', `${name(key)} at ${which} has two contents`);
    }
    this.#versions.set(which, hash);
  }

  sending(daemon: Daemon, datagram: Uint8Array): Said | undefined {
    const said = read(datagram, this.#options.versionMax);
    if (typeof said === 'string') {
      this.#fail('sound datagrams', `${daemon.machine.name} sends what it would reject: ${said}`);
      return undefined;
    }
    daemon.incarnation = said.incarnation;
    this.#rises(daemon, said.epoch, 'says an epoch');
    const which = `${daemon.machine.id} ${said.incarnation}`;
    const stream = this.#streams.get(which);
    if (stream && stream.life !== daemon) {
      this.#fail('sequences are new', `${daemon.machine.name} sends under an earlier incarnation`);
    }
    const last = stream?.sequence ?? 0;
    // the same datagram may go by several paths
    const again = said.sequence === last && stream?.bytes && same(stream.bytes, datagram);
    if (said.data && stream && said.sequence !== last + 1 && !again) {
      this.#fail(
        'sequences are new',
        `${daemon.machine.name} sends ${said.sequence} after ${last}`,
      );
    }
    const bytes = said.data ? datagram.slice() : stream?.bytes;
    this.#streams.set(which, { life: daemon, sequence: Math.max(last, said.sequence), bytes });
    return said;
  }

  sealing(daemon: Daemon, session: string, nonce: number, datagram: Uint8Array): void {
    const known = this.#sessions.get(session);
    const { name: machine } = daemon.machine;
    if (known && known.life !== daemon) {
      this.#fail('nonces are new', `${machine} seals in a session of another start`);
    } else if (known && nonce <= known.sequence && !same(known.bytes as Uint8Array, datagram)) {
      this.#fail('nonces are new', `${machine} seals under ${nonce} after ${known.sequence}`);
    }
    this.#sessions.set(session, { life: daemon, sequence: nonce, bytes: datagram.slice() });
  }

  unsealed(daemon: Daemon, { id, sentAt, whole }: Parcel): void {
    const { opened } = this.views.get(daemon) as View;
    const { name: machine } = daemon.machine;
    const old = sentAt < daemon.startedAt;
    if (old) this.#fail('the seal', `${machine} hears what was said before its start`);
    if (!whole) this.#fail('the seal', `${machine} hears what was altered on its way`);
    if (opened.has(id)) this.#fail('the seal', `${machine} hears the same datagram twice`);
    opened.add(id);
  }

  receiving(daemon: Daemon, { said, whole }: Parcel): (() => void) | undefined {
    if (!said || !whole || said.ends.length === 0) return undefined;
    const view = this.views.get(daemon) as View;
    const news = said.ends.some(({ key, claim }) => {
      const known = view.ended.get(key);
      return !known || compareClaims(claim, known) > 0;
    });
    if (!news) return undefined;
    const before = daemon.engine.stats().network.rx_gone;
    return () => {
      if (daemon.engine.stats().network.rx_gone === before) return;
      for (const { key, claim } of said.ends) this.#knows(view, key, claim);
    };
  }

  /** Around a call after which what is not in the internal cache any more has ended. */
  withdrawing(daemon: Daemon): () => void {
    const view = this.views.get(daemon) as View;
    this.look(view);
    const { id } = daemon.machine;
    const mine = [...view.held].filter(([, held]) => held.cache === id);
    return () => {
      view.touched = true;
      this.look(view);
      for (const [key, end] of mine) {
        if (view.held.get(key)?.cache !== id) this.#ended(view, key, end);
      }
    };
  }

  /** The same for some splices: their identities. */
  ending(daemon: Daemon, identities: readonly Uint8Array[]): () => void {
    const view = this.views.get(daemon) as View;
    const { engine, machine } = daemon;
    const { internal } = engine;
    const taken = engine.stats().ownership.taken_epoch;
    const mine: [Cache, Uint8Array, Claim][] = [];
    for (const identity of identities) {
      const slot = internal.slotOf(identity);
      if (slot >= 0) {
        mine.push([internal, identity, { epoch: internal.epoch(slot), owner: machine.id }]);
        continue;
      }
      // what was held for a peer, and not claimed yet, ends under the claim of the takeover
      for (const cache of engine.external.values()) {
        if (cache.slotOf(identity) < 0) continue;
        mine.push([cache, identity, { epoch: taken, owner: machine.id }]);
      }
    }
    return () => {
      for (const [cache, identity, end] of mine) {
        if (cache.slotOf(identity) < 0) this.#ended(view, keyOf(identity), end);
      }
    };
  }

  emptied(daemon: Daemon): void {
    const view = this.views.get(daemon) as View;
    view.touched = true;
    view.flushed = true;
    view.flushedAt = this.#options.now();
    this.look(view);
    view.flushed = false;
  }

  /** Around a commit: what was known before it is in the kernel after it, and nothing older is. */
  committing(daemon: Daemon): () => void {
    const view = this.views.get(daemon) as View;
    this.look(view);
    const known = new Map(view.held);
    return () => {
      this.look(view);
      for (const [key, held] of known) this.#isCommitted(daemon, known, key, held);
    };
  }

  /** Who has said that it has yielded does not answer, unless the address has come to it since. */
  fenced(daemon: Daemon, { beaten, answered }: FenceOutcome): void {
    const { id, name: taker } = daemon.machine;
    if (beaten !== undefined) return;
    const { epoch } = daemon.engine.fence();
    for (const { node } of answered) {
      const other = this.#options.machines.find((machine) => machine.id === node);
      const there = other?.daemon?.engine.fence();
      if (!other?.reached || !there || this.#options.now() - other.movedAt < YIELDED_MS) continue;
      if (compareClaims({ epoch: there.epoch, owner: node }, { epoch, owner: id }) > 0) continue;
      this.#fail('who yields is silent', `${other.name} has yielded to ${taker}, and answers`);
    }
    this.#options.count('takeovers fenced');
  }

  /** Who has yielded does not answer. */
  silent({ engine, machine }: Daemon): void {
    if (!machine.reached || engine.fence().yieldedTo === undefined) return;
    this.#fail('who yields is silent', `${machine.name} has yielded, and answers`);
  }

  /** Look at what has changed everywhere. */
  lookAround(): void {
    for (const [daemon, view] of this.views) {
      if (!daemon.alive) this.views.delete(daemon);
      else this.look(view);
    }
  }

  look(view: View): void {
    let changes: Change[] = [];
    try {
      changes = view.look();
    } catch (error) {
      this.#fail('one cache', `${view.daemon.machine.name}: ${(error as Error).message}`);
    }
    for (const change of changes) this.#changed(view, change);
    for (const key of view.lately) {
      const held = view.held.get(key);
      if (held) this.#risen(view, key, held);
    }
    view.lately.length = 0;
  }

  /** What is said to be acknowledged is held by every live peer; those that died meanwhile aside. */
  acknowledgements(daemon: Daemon): void {
    const { engine, machine } = daemon;
    const view = this.views.get(daemon);
    if (!view) return;
    this.look(view);
    const peers = engine.peers().filter((peer) => peer.alive);
    if (peers.length === 0) return;
    const all = engine.unacknowledged() === 0;
    if (!all) return;
    for (const peer of peers) {
      const there = this.#life(peer.node, Number(peer.incarnation));
      if (!there) continue;
      this.look(there);
      if (this.#excused(there, machine.id)) continue;
      for (const [key, held] of view.held) {
        if (held.cache !== machine.id || this.#has(there, key, held)) continue;
        const what = `${machine.name} owns ${name(key)} (${text(held)}), all is acknowledged`;
        this.#fail('acknowledged is held', `${what}, and ${peer.name} does not have it`);
      }
    }
    this.#options.count('acknowledgements checked');
  }

  /** Of single records: as the end-to-end tests ask. */
  acknowledged(daemon: Daemon, bytes: Uint8Array): void {
    const { engine, machine } = daemon;
    if (!engine.acknowledged(bytes)) return;
    const view = this.views.get(daemon);
    const { key } = this.#reader.load(bytes, 0);
    if (!view) return;
    this.look(view);
    const held = view.held.get(key);
    if (!held || held.cache !== machine.id) return;
    for (const peer of engine.peers()) {
      const there = peer.alive ? this.#life(peer.node, Number(peer.incarnation)) : undefined;
      if (!there) continue;
      this.look(there);
      if (this.#excused(there, machine.id) || this.#has(there, key, held)) continue;
      const what = `${machine.name} calls ${name(key)} (${text(held)}) acknowledged`;
      this.#fail('acknowledged is held', `${what}, and ${peer.name} does not have it`);
    }
    this.#options.count('records found acknowledged');
  }

  /** In sync: here is what every peer in reach has owned for some time. */
  inSync(daemon: Daemon, undisturbed: (a: Machine, b: Machine, ms: number) => boolean): void {
    const { engine, machine } = daemon;
    const now = this.#options.now();
    const view = this.views.get(daemon);
    if (!view || !engine.inSync) return;
    for (const other of this.#options.machines) {
      const owner = other.daemon;
      if (other === machine || !owner || !undisturbed(machine, other, IN_SYNC_MS)) continue;
      const owned = this.views.get(owner) as View;
      this.look(owned);
      this.look(view);
      for (const [key, held] of owned.held) {
        if (held.cache !== other.id || now - held.since < IN_SYNC_MS) continue;
        if (this.#excused(view, other.id) || this.#has(view, key, held)) continue;
        const what = `${machine.name} says it is in sync, and does not have ${name(key)}`;
        this.#fail('in sync', `${what} (${text(held)}), which ${other.name} has owned for long`);
      }
      this.#options.count('in sync checked');
    }
  }

  /** Epochs do not go back, neither what a daemon says nor what its kernel gives to new splices. */
  epochs(machine: Machine): void {
    this.#rises(machine.kernel, machine.kernel.epoch, `${machine.name}: epoch of the kernel`);
    const { daemon } = machine;
    if (daemon) this.#rises(daemon, daemon.engine.epoch, `${machine.name}: epoch of the engine`);
  }

  /** No queue is longer than its limit. */
  bounds(daemon: Daemon): void {
    const { engine, machine } = daemon;
    const { queue, cache } = engine.stats();
    const over = (what: string, used: number, limit: number): void => {
      if (used > limit) this.#fail('bounded', `${machine.name}: ${what} has ${used} of ${limit}`);
    };
    over('the resend queue', queue.resend_used, queue.resend_limit);
    over('the internal cache', cache.internal.records, cache.internal.limit);
    let external = 0;
    for (const { records } of Object.values(cache.external)) external += records;
    over('the external caches', external, cache.internal.limit);
    over('the store of ends', cache.tombstones.records, cache.tombstones.limit);
  }

  #rises(of: object, epoch: number, what: string): void {
    const before = this.#epochs.get(of) ?? 0;
    if (epoch < before) this.#fail('epochs do not go back', `${what}: ${before} to ${epoch}`);
    this.#epochs.set(of, Math.max(before, epoch));
  }

  /** Its operator has emptied it, and the owner has not filled it again yet. */
  #excused({ flushedAt, daemon }: View, owner: number): boolean {
    if (this.#options.now() - flushedAt < FLUSHED_MS) return true;
    return flushedAt > 0 && !daemon.engine.peers().some((one) => one.node === owner && one.inSync);
  }

  /**
   * Where there was no room for a record that the kernel took, nobody hears of its end. And one that was
   * taken over, and has ended there, may be owned by somebody who has not heard of that.
   */
  #has(view: View, key: number, held: Held): boolean {
    if (view.has(key, held) || view.timedOut.has(key)) return true;
    const end = this.#ends.get(key);
    if (end && compareClaims(end, held) > 0) return true;
    const over = this.#options.flows().byKey.get(key)?.alive !== true;
    return over && view.daemon.notices.includes('cache-full');
  }

  #life(node: number, incarnation: number): View | undefined {
    for (const [daemon, view] of this.views) {
      if (daemon.alive && daemon.machine.id === node && daemon.incarnation === incarnation) {
        return view;
      }
    }
    return undefined;
  }

  #ended(view: View, key: number, end: Claim): void {
    const known = this.#ends.get(key);
    if (!known || compareClaims(end, known) > 0) this.#ends.set(key, end);
    this.#knows(view, key, end);
  }

  /** The next look sees whether it has risen. */
  #knows(view: View, key: number, end: Claim): void {
    const known = view.ended.get(key);
    if (!known || compareClaims(end, known) > 0) view.ended.set(key, end);
    view.touched = true;
    view.lately.push(key);
  }

  #changed(view: View, { key, before, now }: Change): void {
    if (now) {
      const { epoch, owner, generation, hash } = now;
      const known = this.#versions.get(`${key} ${epoch} ${owner} ${generation}`);
      if (known !== hash) {
        const why = known === undefined ? 'nobody has ever made' : 'with another content than';
        const what = `${view.daemon.machine.name} holds ${name(key)} (${text(now)})`;
        this.#fail('contents are the owner’s', `${what}, ${why} its owner`);
      }
      this.#risen(view, key, now);
      const left = view.left.get(now.cache)?.get(key);
      if (left && compareClaims(now, left) <= 0) {
        const what = `${name(key)} (${text(now)}) is back on ${view.daemon.machine.name}`;
        this.#fail('ended stays ended', `${what}, in the cache that its end had emptied of it`);
      }
    }
    // one that has moved to another cache may have ended without anybody here knowing
    if (before && !now) this.#gone(view, key, before);
    if (now) view.timedOut.delete(key);
    else if (view.timingOut) view.timedOut.add(key);
  }

  #gone(view: View, key: number, before: Claim & { cache: number }): void {
    const end = this.#ends.get(key);
    if (!end || view.flushed || end.owner !== before.cache || compareClaims(before, end) > 0)
      return;
    let left = view.left.get(before.cache);
    if (!left) {
      left = new Map();
      view.left.set(before.cache, left);
    }
    left.set(key, end);
  }

  #risen(view: View, key: number, held: Claim): void {
    const end = view.ended.get(key);
    if (!end || compareClaims(held, end) > 0) return;
    // what made room in a full store of ends is forgotten, as it is told
    if (view.daemon.engine.stats().cache.tombstones.evicted > 0) return;
    const what = `${view.daemon.machine.name} holds ${name(key)} (${text(held)})`;
    this.#fail('ended stays ended', `${what}, of which it knows that it ended (${text(end)})`);
  }

  #isCommitted(daemon: Daemon, known: Map<number, Held>, key: number, held: Held): void {
    const { kernel, id, name: machine } = daemon.machine;
    const { byKey } = this.#options.flows();
    const flow = byKey.get(key);
    // whose time was up on paper, or whose ends are done with it, need not be there
    if (!flow?.alive || this.#ends.has(key) || kernel.entries.has(key)) return;
    // what waited for a daemon that was frozen looks younger than it is
    if (this.#options.machines.some((one) => one.frozenUntil > flow.bornAt)) return;
    for (const tuple of [flow.client, 0x10000 + flow.port]) {
      const there = kernel.holder(tuple);
      if (!there) continue;
      const other = byKey.get(there.key);
      const before = known.get(there.key);
      if (!other || other.born > flow.born || !before) return;
      if (compareClaims(before, held) > 0) return;
      const what = `${machine}: ${name(key)} (${text(held)}) is alive, and its addresses have the`;
      const since = this.#options.now() - flow.bornAt;
      const age = `born ${Math.round(since)} ms ago`;
      const old = `${name(there.key)} (${text(before)}, idle ${Math.round(this.#options.now() - there.lastSeen)} ms)`;
      this.#fail('no old offsets', `${what} offsets of ${old}, and it was ${age}`);
      return;
    }
    const still = this.views.get(daemon)?.held.get(key);
    if (held.cache === id || still?.cache !== held.cache) return;
    const what = `${machine} knew ${name(key)} (${text(held)}) when it committed`;
    this.#fail('a commit takes all', `${what}, and does not have it in its kernel`);
  }

  #fail(rule: string, what: string): void {
    this.#options.fail(rule, what);
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function text({ epoch, owner, ...rest }: Claim & { generation?: number }): string {
  const generation = rest.generation === undefined ? '' : `, generation ${rest.generation}`;
  return `epoch ${epoch}, owner ${owner.toString(16)}${generation}`;
}
