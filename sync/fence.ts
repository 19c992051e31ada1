/**
 * Who stands for the virtual addresses: of the nodes that hear each other, one at most; and one, if any
 * of them holds an address.
 *
 * A node that takes over claims an epoch above all that it has seen, and asks the others to yield. Of
 * two that stand, the one with the stronger claim (epoch, node) goes on standing, as with records; the
 * other one yields: it stops answering, and says so. Every HELLO repeats what a node stands for, so that
 * a question or an answer that was lost is made good by the next one that comes through.
 *
 * Whoever has yielded stands again only by another claim: somebody takes over there once more; or it
 * holds an address still, and nobody whom it hears stands any more. Two that wait for that at once
 * settle by their claims like any other two. So each change of who stands has a cause outside of these
 * rules (an address that moves, an operator, a node that dies or is not heard), and no other follows.
 */
import type { FencedPeer, FenceInfo, FenceOutcome, Standing } from './api.js';
import { Round } from './asking.js';
import { counts } from './counts.js';
import type { Outbox } from './outbox.js';
import type { Peer } from './peer.js';
import type { Clock, Timer } from './ports.js';
import { beats, type Claim } from './tombstones.js';
import { type Role, readRole, Type, type Writer, writeRole } from './wire.js';

/** The same question of one peer is answered so often at most; it comes by several paths. */
const ANSWER_MS = 1;
/** A weaker claim is answered by the own one so often at most. */
const OBJECT_MS = 10;
/** An address comes so long after its takeover at most; some scripts take over first. */
const ADDRESS_MS = 3000;

const NOBODY: Claim = { epoch: 0, owner: 0 };

export interface FenceHost {
  readonly node: number;
  readonly clock: Clock;
  readonly outbox: Outbox;
  /** Of the link. */
  readonly paths: number;
  /** Version 1 of the wire has no such words. */
  readonly speaks: boolean;
  /** This daemon was started on a node that had yielded. */
  readonly yielded: boolean;
  /** So long nobody need be heard after a start. */
  readonly startupMs: number;
  live(): Iterable<Peer>;
  /** The highest that has been seen. */
  epoch(): number;
  noteEpoch(epoch: number): void;
  /** One above it. */
  raiseEpoch(): number;
  sayHello(): void;
  /** This node stops answering before the call returns. */
  yield(to: FencedPeer, epoch: number): void;
  /** This node holds an address, has yielded, and nobody stands any more. */
  unclaimed(): void;
}

export class Fence {
  readonly #host: FenceHost;
  #standing: Standing = { role: 'undecided', holds: false };
  /** Epoch of the last takeover; 0: this node stands by its address alone. */
  #claim = 0;
  #claiming = false;
  /** This node has taken over, and its address has so long to come. */
  #awaitedUntil = Number.NEGATIVE_INFINITY;
  #awaited: Timer | undefined;
  /** This node holds an address, and does not answer for it. */
  #hasYielded: boolean;
  /** Whose claim has been the stronger one since this node's last; undefined: nobody's. */
  #beatenBy: number | undefined;
  /** The strongest that this node has heard of and does not stand against. */
  #acknowledged: Claim = NOBODY;
  /** Said to be unclaimed, and not claimed since. */
  #called = false;
  /** Of what this node says of itself. */
  #serial = 1;
  #said = '';
  #round: Round | undefined;
  #quietUntil = Number.NEGATIVE_INFINITY;
  #running = false;
  readonly #answeredAt = new Map<Peer, number>();
  readonly #objectedAt = new Map<Peer, number>();
  readonly counts = counts(
    'yields_asked', // peers that were asked to yield
    'yields_answered', // ... and did
    'yields_unanswered', // ... and did not in time
    'yields_unable', // peers of a version that cannot be asked
    'yields_objected', // weaker claims of peers, answered by the own one
    'yielded', // to a peer
  );

  constructor(host: FenceHost) {
    this.#host = host;
    this.#hasYielded = host.yielded;
    this.#said = this.#text();
  }

  start(): void {
    const { clock, startupMs } = this.#host;
    this.#running = true;
    this.#quietUntil = clock.now() + startupMs;
    clock.after(startupMs, () => this.look());
  }

  stop(): void {
    this.#running = false;
    this.#awaited?.cancel();
    this.#round?.end();
  }

  /** It answers for the addresses, or is about to. */
  get stands(): boolean {
    if (this.#claiming) return true;
    if (this.#hasYielded) return false;
    return this.#standing.holds || this.#host.clock.now() < this.#awaitedUntil;
  }

  info(): FenceInfo {
    const { epoch, owner } = this.#acknowledged;
    const { stands } = this;
    const yieldedTo = !this.#hasYielded || stands ? undefined : { node: owner, epoch };
    return { stands, epoch: this.#own.epoch, yieldedTo, beatenBy: this.#beatenBy };
  }

  place(standing: Standing): void {
    const leaves = standing.role !== 'primary' && standing.role !== this.#standing.role;
    if (leaves) this.#awaitedUntil = Number.NEGATIVE_INFINITY;
    this.#standing = standing;
    if (!standing.holds) {
      this.#hasYielded = false;
      this.#called = false;
    }
    this.#changed();
    this.look();
  }

  /** Begin a takeover. Returns its epoch. */
  claim(): number {
    const { clock } = this.#host;
    this.#round?.end();
    this.#claim = this.#host.raiseEpoch();
    this.#claiming = true;
    this.#hasYielded = false;
    this.#beatenBy = undefined;
    this.#called = false;
    const live = [...this.#host.live()];
    const able = (peer: Peer): boolean => this.#host.speaks && peer.place !== undefined;
    const round = new Round({
      claim: { epoch: this.#claim, owner: this.#host.node },
      asked: live.filter(able),
      unable: live.filter((peer) => !able(peer)),
      clock,
      counts: this.counts,
      say: () => this.#sayYield(0),
      beaten: () => this.#beatenBy,
      ended: () => {
        if (this.#round === round) this.#round = undefined;
      },
    });
    this.#round = round;
    this.#changed();
    round.ask();
    return this.#claim;
  }

  /**
   * `done` is called once: when all have yielded, when this node has, or timeoutMs after the claim, if
   * that is later than now.
   */
  settle(timeoutMs: number, done: (outcome: FenceOutcome) => void): void {
    const round = this.#round;
    if (!round) {
      done({ beaten: this.#beatenBy, answered: [], silent: [], unable: [] });
      return;
    }
    round.settle(timeoutMs, done);
  }

  /** The takeover is through: this node answers. */
  stand(): void {
    if (!this.#claiming) return;
    const { clock } = this.#host;
    this.#claiming = false;
    this.#awaitedUntil = clock.now() + ADDRESS_MS;
    this.#awaited?.cancel();
    this.#awaited = clock.after(ADDRESS_MS, () => this.#changed());
    this.#changed();
  }

  /** Of what a takeover puts into the kernel. */
  commitEpoch(): number {
    if (this.#claiming && this.#claim === this.#host.epoch()) return this.#claim;
    const epoch = this.#host.raiseEpoch();
    if (this.#claiming) {
      this.#claim = epoch;
      this.#changed();
    }
    return epoch;
  }

  /** For a HELLO. */
  write(writer: Writer): void {
    if (this.#host.speaks) writeRole(writer, this.#place());
  }

  /** A peer says what it stands for. `asks`: a YIELD. */
  heard(peer: Peer, view: DataView, at: number, asks: boolean): void {
    const place = readRole(view, at);
    // what was overtaken on its way
    if (peer.place && place.serial < peer.place.serial) return;
    peer.place = place;
    this.#host.noteEpoch(Math.max(place.epoch, place.yieldedTo.epoch));
    if (place.stands) this.#meets(peer, { epoch: place.epoch, owner: peer.node });
    this.#round?.progressed();
    if (asks && !this.stands) this.#answer(peer);
    this.look();
  }

  /** Something has changed: does anybody stand? */
  look(): void {
    const { clock, live, unclaimed } = this.#host;
    if (!this.#hasYielded || !this.#standing.holds || this.#claiming) return;
    if (this.#called || !this.#running || clock.now() < this.#quietUntil) return;
    for (const peer of live()) if (peer.place?.stands) return;
    this.#called = true;
    unclaimed();
  }

  get #own(): Claim {
    return { epoch: this.stands ? this.#claim : 0, owner: this.#host.node };
  }

  /** A peer stands, under this claim. */
  #meets(peer: Peer, theirs: Claim): void {
    if (!this.stands) this.#acknowledge(theirs);
    else if (beats(theirs, this.#own)) this.#yield(peer, theirs);
    else this.#object(peer);
  }

  #yield(peer: Peer, theirs: Claim): void {
    this.#host.yield(peer, theirs.epoch);
    this.counts.yielded++;
    this.#hasYielded = this.#standing.holds;
    this.#beatenBy = peer.node;
    this.#claiming = false;
    this.#called = false;
    this.#awaitedUntil = Number.NEGATIVE_INFINITY;
    this.#acknowledge(theirs);
    this.#round?.end();
    this.#changed();
  }

  #acknowledge(theirs: Claim): void {
    if (!beats(theirs, this.#acknowledged)) return;
    this.#acknowledged = theirs;
    this.#changed();
  }

  /** It has not heard of the stronger claim: say it at once. */
  #object(peer: Peer): void {
    if (!this.#due(this.#objectedAt, peer, OBJECT_MS)) return;
    this.counts.yields_objected++;
    this.#sayYield(peer.node);
  }

  #answer(peer: Peer): void {
    if (!this.#due(this.#answeredAt, peer, ANSWER_MS)) return;
    const to = { receiver: peer.node, receiverIncarnation: peer.incarnation };
    this.#byAllPaths(Type.YIELDED, to);
  }

  #due(times: Map<Peer, number>, peer: Peer, ms: number): boolean {
    const now = this.#host.clock.now();
    if (now - (times.get(peer) ?? Number.NEGATIVE_INFINITY) < ms) return false;
    times.set(peer, now);
    return true;
  }

  #sayYield(receiver: number): void {
    if (this.#host.speaks) this.#byAllPaths(Type.YIELD, { receiver });
  }

  #byAllPaths(type: number, to: { receiver: number; receiverIncarnation?: number }): void {
    const { outbox, paths } = this.#host;
    for (let path = 0; path < paths; path++) {
      outbox.control(type, to, (writer) => writeRole(writer, this.#place()), path);
    }
  }

  #place(): Role {
    const { role, holds } = this.#standing;
    const serial = this.#serial;
    const { stands } = this;
    return { role, holds, stands, serial, epoch: this.#own.epoch, yieldedTo: this.#acknowledged };
  }

  #text(): string {
    return JSON.stringify({ ...this.#place(), serial: 0 });
  }

  /** Say it at once if it is something new. */
  #changed(): void {
    if (!this.stands) this.#claim = 0;
    const said = this.#text();
    if (said === this.#said) return;
    this.#said = said;
    this.#serial++;
    if (this.#running) this.#host.sayHello();
  }
}
