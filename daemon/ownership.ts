// Who owns the flows: the role that VRRP gave to this node, the guard that goes with it, taking over,
// and giving way to a peer that has taken over.
import type { Datapath } from '../kernel/datapath.js';
import type { FencedPeer, SyncEngine } from '../sync/api.js';
import { sumSteps } from './breath.js';
import type { FailoverSettings } from './config.js';
import type { CommitResult, Role, TakeoverReason } from './control/protocol.js';
import type { Draining } from './draining.js';
import { DaemonError } from './error.js';
import type { Follower } from './follower.js';
import type { Guard } from './guard.js';
import type { Log } from './log.js';
import { recordCount } from './records.js';
import type { Standby } from './standby.js';
import type { Takeover } from './takeover.js';

/**
 * After a peer has taken flows from the node that has the address: VRRP settles such things sooner, and so
 * does a peer that stands for the addresses, see sync/fence.ts.
 */
const RECLAIM_MS = 300;
const RECLAIM_MS_MAX = 10_000;
/** So long without a contest, and the next one starts from RECLAIM_MS again. */
const PEACE_MS = 30_000;
/** So long after a handover, that this node is in fault is the handover's own doing. */
const OWN_FAULT_MS = 30_000;
/** After the last entry that a peer has taken over: by then it has said what else is its own. */
const TAKEN_OVER_QUIET_MS = 1000;
/** The kernel removes what has expired slice by slice: it is through with its table within this. */
const SWEPT_MS = 2000;

export interface OwnershipParts {
  readonly datapath: Datapath;
  readonly sync: SyncEngine;
  readonly follower: Follower;
  readonly standby: Standby;
  readonly guard: Guard;
  readonly draining: Draining;
  readonly takeover: Takeover;
  readonly log: Log;
  readonly failover: () => FailoverSettings;
  readonly purgeTimeoutMs: () => number;
  /** A virtual address stands on this node. */
  readonly holdsAddress: () => boolean;
  readonly roleChanged: (role: Role) => void;
}

export class Ownership {
  readonly counters = { given_up: 0, reclaims: 0, unclaimed: 0, shortened: 0 };
  /** A handover is under way: the addresses move from this node, whatever the peers say. */
  private holdingBack = false;
  private gaveAt = Number.NEGATIVE_INFINITY;
  private currentRole: Role | 'undecided' = 'undecided';
  private roleAt = performance.now();
  private last: Promise<unknown> = Promise.resolve();
  private takenOver: NodeJS.Timeout | undefined;
  private aged = false;
  private reclaim: NodeJS.Timeout | undefined;
  private reclaimMs = RECLAIM_MS;
  private contestedAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly parts: OwnershipParts) {}

  get role(): Role | 'undecided' {
    return this.currentRole;
  }

  /** How long it has been that. */
  get roleForMs(): number {
    return Math.round(performance.now() - this.roleAt);
  }

  /**
   * At the start nobody has said who owns: nothing may be answered by a reset before.
   * @param serves the datapath was there, and so is an address: it serves
   */
  start(serves: boolean): void {
    const { datapath, draining, guard, takeover } = this.parts;
    draining.reset();
    datapath.setGuard([...this.parts.failover().virtualAddresses]);
    guard.arm();
    if (!this.hasYielded) datapath.answer('always');
    takeover.stands = serves && !this.hasYielded;
    this.placed();
  }

  /** A peer has taken over, and this node has an address for which it does not answer since. */
  get hasYielded(): boolean {
    return this.parts.sync.fence().yieldedTo !== undefined;
  }

  /** A peer answers for the addresses, as it says. */
  private get somebodyStands(): boolean {
    return this.parts.sync.peers().some(({ alive, place }) => alive && place?.stands);
  }

  /** The role, or where the addresses are, may have changed. */
  placed(): void {
    const { sync, datapath, takeover } = this.parts;
    const { holds } = this;
    if (!holds) {
      if (this.currentRole !== 'primary') takeover.stands = false;
      if (this.hasYielded) datapath.answer('always');
    }
    sync.place({ role: this.currentRole, holds });
  }

  /** This node has an address; or its script says so, where nobody has said which they are. */
  private get holds(): boolean {
    const known = this.parts.failover().virtualAddresses.length > 0;
    return known ? this.parts.holdsAddress() : this.currentRole === 'primary';
  }

  /** A peer has taken over: before it hears that this node has yielded, it has to be so. */
  yield(to: FencedPeer, epoch: number): void {
    const { datapath, guard, follower, takeover, log } = this.parts;
    clearTimeout(this.reclaim);
    takeover.stands = false;
    if (this.holds) datapath.answer('never');
    guard.arm();
    void follower.setOwning(false);
    void takeover.letGo();
    log.warn(
      { code: 'YIELDED', peer: to.name, epoch, holds: this.holds },
      `${to.name} has taken over: this node has yielded and does not answer for the virtual addresses`,
    );
  }

  /** This node has yielded and has an address still, and nobody stands for the addresses any more. */
  unclaimed(): void {
    if (this.holdingBack) return;
    this.counters.unclaimed++;
    this.parts.log.warn('nobody answers for the virtual addresses, and one is here: taking over');
    void this.commit('taken-back');
  }

  /** Resolves when a commit that is under way has come to its end. */
  async stop(): Promise<void> {
    clearTimeout(this.takenOver);
    clearTimeout(this.reclaim);
    await this.last;
    await this.parts.takeover.letGo();
  }

  /**
   * What VRRP has decided, as its script says. Scripts run late, and side by side: where the virtual
   * addresses are known, they are believed before any script. Throws DaemonError.
   */
  async told(role: Role): Promise<void> {
    this.believe(role);
    // keepalived is in FAULT for the handover alone: its script may come long after it
    const own = role === 'fault' && performance.now() - this.gaveAt < OWN_FAULT_MS;
    await this.setRole(own ? 'backup' : role);
  }

  /** Throws DaemonError when the addresses say otherwise. */
  believe(role: Role): void {
    const { failover, holdsAddress } = this.parts;
    const known = failover().virtualAddresses.length > 0;
    if (known && (role === 'primary') !== holdsAddress()) {
      throw new DaemonError(
        'LATE',
        role === 'primary'
          ? 'none of the virtual addresses is on this node, so it is not primary: a late script? The daemon commits when an address comes'
          : `a virtual address is on this node, so it is not ${role}: a late script? Take the address away first`,
      );
    }
  }

  /**
   * At the start, with no script to come: what is known is not an event, and changes nothing but what
   * this node says of itself.
   */
  presume(role: Role): void {
    if (this.currentRole === 'undecided') this.take(role);
  }

  async setRole(role: Role): Promise<void> {
    this.take(role);
    if (role === 'primary') {
      if (this.hasYielded) return;
      await this.parts.follower.setOwning(true);
      this.parts.guard.release();
    } else {
      void this.parts.follower.setOwning(false);
      this.parts.guard.arm();
    }
  }

  /** While a handover is under way, an address that is still here is about to go. */
  holdBack(on: boolean): void {
    this.holdingBack = on;
    this.gaveAt = performance.now();
    if (on) return;
    if (this.currentRole !== 'primary') this.ageSoon();
    if (this.hasYielded && this.holds && !this.somebodyStands) this.unclaimed();
  }

  /** Resolves when no takeover is under way. */
  async idle(): Promise<void> {
    await this.last;
  }

  /** External cache into the kernel; this node is primary from now on, or about to be. One at a time. */
  commit(why: TakeoverReason, nodeName?: string): Promise<CommitResult> {
    const run = this.last.then(() => {
      const peer = nodeName === undefined ? undefined : this.peer(nodeName);
      // it is primary when the addresses come
      if (why !== 'handover') this.take('primary');
      return this.parts.takeover.run(why, peer);
    });
    this.last = run.catch(() => {});
    return run;
  }

  /**
   * These have a stronger owner now: they are held for it where they stand, and go on translating. Without
   * hot standby, until no packet has come for PurgeTimeout.
   */
  demoted(records: Uint8Array): void {
    this.parts.standby.demote(records, this.parts.purgeTimeoutMs());
    this.gaveUp(recordCount(records));
  }

  /** These have ended with a stronger owner: out of the kernel, in silence. */
  ended(records: Uint8Array): void {
    this.parts.standby.flush();
    this.parts.datapath.table.delete(records);
    this.gaveUp(recordCount(records));
  }

  private gaveUp(entries: number): void {
    this.counters.given_up += entries;
    const contested = this.currentRole === 'primary' && !this.holdingBack && !this.hasYielded;
    if (contested) this.contested();
    else this.ageSoon();
  }

  /**
   * A peer has taken flows of a primary. Where this node has the address, two nodes thought themselves
   * active, for a moment as a rule (a few advertisements lost). The one that still has the address
   * when that is over takes the flows back; until then none of them may be reset.
   *
   * Who has lost the address and says so may have claims from the time when the nodes did not hear each
   * other, which nobody heard of before. Who stands for the addresses asks this node to yield instead.
   */
  private contested(): void {
    const { log, holdsAddress } = this.parts;
    const now = performance.now();
    if (now - this.contestedAt > PEACE_MS) this.reclaimMs = RECLAIM_MS;
    this.contestedAt = now;
    if (!holdsAddress()) {
      log.warn('a peer has taken over flows of this node, which was told that it is primary');
      return;
    }
    const unsaid = this.parts.sync.peers().some(({ alive, place }) => alive && !place);
    if (unsaid && this.parts.guard.status.state !== 'armed') {
      log.warn('a peer has taken over flows of this node, which has the address: is it on both?');
      this.parts.guard.arm();
    }
    clearTimeout(this.reclaim);
    this.reclaim = setTimeout(() => void this.takeBack(), this.reclaimMs);
  }

  private async takeBack(): Promise<void> {
    if (this.currentRole !== 'primary' || !this.parts.holdsAddress()) return;
    if (this.hasYielded || this.somebodyStands) return;
    this.reclaimMs = Math.min(2 * this.reclaimMs, RECLAIM_MS_MAX);
    this.counters.reclaims++;
    this.parts.log.warn('the address is still here: taking the flows back');
    await this.commit('taken-back');
  }

  private take(role: Role): void {
    // not by the script that says "backup" once more, a moment after the peer has taken over
    if (role === 'primary') clearTimeout(this.takenOver);
    else {
      clearTimeout(this.reclaim);
      void this.parts.takeover.letGo();
    }
    if (role === this.currentRole) return;
    this.parts.log.info({ from: this.currentRole, to: role }, 'role');
    this.currentRole = role;
    this.roleAt = performance.now();
    this.aged = false;
    this.parts.roleChanged(role);
    this.placed();
  }

  private ageSoon(): void {
    if (this.aged || this.holdingBack) return;
    clearTimeout(this.takenOver);
    this.takenOver = setTimeout(() => void this.age(), TAKEN_OVER_QUIET_MS);
  }

  /**
   * A peer owns what it knew of. What is left in this kernel (never spliced, or not replicated in
   * time) gets no packets any more, and shall not stay for days.
   */
  private async age(): Promise<void> {
    this.aged = true;
    const purgeMs = this.parts.purgeTimeoutMs();
    const entries = await sumSteps(this.parts.datapath.table.shortening(purgeMs));
    this.counters.shortened += entries;
    this.parts.log.info(
      { entries },
      'a peer has taken over: the timers of what is left are shortened',
    );
    if (this.currentRole === 'primary') return;
    this.takenOver = setTimeout(() => void this.parts.follower.forgetAged(), purgeMs + SWEPT_MS);
  }

  private peer(name: string): number {
    const peers = this.parts.sync.peers();
    const found = peers.find((peer) => peer.name === name);
    if (found) return found.node;
    const known = peers.map((peer) => peer.name).join(', ') || 'none has been heard yet';
    throw new DaemonError('ARGUMENT', `no peer is called ${name}: the peers are ${known}`);
  }
}
