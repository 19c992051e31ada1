// Who owns the flows: the role that VRRP gave to this node, the guard that goes with it, commit, and
// giving way to a peer that has committed.
import type { Datapath } from '../kernel/datapath.js';
import { Result, type ResultName } from '../kernel/record/layout.js';
import type { SyncEngine } from '../sync/api.js';
import { Breath, sumSteps, turn } from './breath.js';
import type { FailoverSettings } from './config.js';
import type { CommitResult, Role, StatusResult } from './control/protocol.js';
import { DaemonError } from './error.js';
import type { Follower } from './follower.js';
import type { Log } from './log.js';
import { recordCount } from './records.js';
import type { Standby } from './standby.js';

/** Datagrams that have arrived already belong to what is committed: they are taken in first. */
const DRAIN_TURNS_MAX = 200;
/** Turns of the event loop without a datagram after which none is waiting. */
const QUIET_TURNS = 2;
/** After a peer has taken flows from the node that has the address: VRRP settles such things sooner. */
const RECLAIM_MS = 300;
const RECLAIM_MS_MAX = 10_000;
/** So long without a contest, and the next one starts from RECLAIM_MS again. */
const PEACE_MS = 30_000;
/** After the last entry that a peer has taken over: by then it has said what else is its own. */
const TAKEN_OVER_QUIET_MS = 1000;

const RESULT_NAMES = Object.fromEntries(
  Object.entries(Result).map(([name, value]) => [value, name as ResultName]),
);

export interface OwnershipParts {
  readonly datapath: Datapath;
  readonly sync: SyncEngine;
  readonly follower: Follower;
  readonly standby: Standby;
  readonly log: Log;
  readonly failover: () => FailoverSettings;
  readonly purgeTimeoutMs: () => number;
  /** What a committed entry gets; 0: what it had. */
  readonly commitTimeoutMs: () => number;
  /** Datagrams received so far. */
  readonly datagrams: () => number;
  /** A virtual address stands on this node. */
  readonly holdsAddress: () => boolean;
  readonly roleChanged: () => void;
  /** So many entries have been put into the kernel. */
  readonly committed: (entries: number) => void;
}

export class Ownership {
  readonly counters = { commits: 0, committed: 0, given_up: 0, reclaims: 0, shortened: 0 };
  private currentRole: Role | 'undecided' = 'undecided';
  private releaseAt = 0; // performance.now(); 0: armed
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

  get guard(): Omit<StatusResult['guard'], 'held' | 'addresses'> {
    if (this.parts.failover().virtualAddresses.length === 0)
      return { state: 'off', remaining_ms: 0 };
    if (this.releaseAt === 0) return { state: 'armed', remaining_ms: 0 };
    const remaining_ms = Math.max(0, Math.ceil(this.releaseAt - performance.now()));
    return { state: remaining_ms > 0 ? 'releasing' : 'off', remaining_ms };
  }

  /** At the start nobody has said who owns: nothing may be answered by a reset before. */
  start(): void {
    this.parts.datapath.setDraining(false);
    this.parts.datapath.setGuard([...this.parts.failover().virtualAddresses]);
    this.arm();
  }

  /** Resolves when a commit that is under way has come to its end. */
  async stop(): Promise<void> {
    clearTimeout(this.takenOver);
    clearTimeout(this.reclaim);
    await this.last;
  }

  /**
   * What VRRP has decided, as its script says. Scripts run late, and side by side: where the virtual
   * addresses are known, they are believed before any script. Throws DaemonError.
   */
  async told(role: Role): Promise<void> {
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
    await this.setRole(role);
  }

  async setRole(role: Role): Promise<void> {
    this.take(role);
    if (role === 'primary') {
      await this.parts.follower.setOwning(true);
      this.release();
    } else {
      void this.parts.follower.setOwning(false);
      this.arm();
    }
  }

  /** External cache into the kernel; this node is primary from now on. One at a time. */
  commit(nodeName?: string): Promise<CommitResult> {
    const run = this.last.then(() => this.commitNow(nodeName));
    this.last = run.catch(() => {});
    return run;
  }

  /** These have a stronger owner now: out of the kernel, in silence. */
  demoted(records: Uint8Array): void {
    this.parts.standby.flush();
    this.parts.datapath.table.delete(records);
    this.counters.given_up += recordCount(records);
    if (this.currentRole === 'primary') this.contested();
    else if (!this.aged) {
      clearTimeout(this.takenOver);
      this.takenOver = setTimeout(() => void this.age(), TAKEN_OVER_QUIET_MS);
    }
  }

  /**
   * A peer has taken flows of a primary. Where that has the address, two nodes thought themselves
   * active, for a moment as a rule (a few advertisements lost). The one that still has the address
   * when that is over takes the flows back; until then none of them may be reset.
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
    if (this.guard.state !== 'armed') {
      log.warn('a peer has taken over flows of this node, which has the address: is it on both?');
      this.arm();
    }
    clearTimeout(this.reclaim);
    this.reclaim = setTimeout(() => void this.takeBack(), this.reclaimMs);
  }

  private async takeBack(): Promise<void> {
    if (this.currentRole !== 'primary' || !this.parts.holdsAddress()) return;
    this.reclaimMs = Math.min(2 * this.reclaimMs, RECLAIM_MS_MAX);
    this.counters.reclaims++;
    this.parts.log.warn('the address is still here: taking the flows back');
    await this.commit();
  }

  private take(role: Role): void {
    clearTimeout(this.takenOver);
    if (role !== 'primary') clearTimeout(this.reclaim);
    if (role === this.currentRole) return;
    this.parts.log.info({ from: this.currentRole, to: role }, 'role');
    this.currentRole = role;
    this.aged = false;
    this.parts.roleChanged();
  }

  /**
   * A peer owns what it knew of. What is left in this kernel (never spliced, or not replicated in
   * time) gets no packets any more, and shall not stay for days.
   */
  private async age(): Promise<void> {
    this.aged = true;
    const entries = await sumSteps(
      this.parts.datapath.table.shortening(this.parts.purgeTimeoutMs()),
    );
    this.counters.shortened += entries;
    this.parts.log.info(
      { entries },
      'a peer has taken over: the timers of what is left are shortened',
    );
  }

  private arm(): void {
    this.releaseAt = 0;
    this.parts.datapath.guardArm();
  }

  private release(): void {
    const ms = this.parts.failover().guardTimeoutMs;
    this.releaseAt = performance.now() + ms;
    this.parts.datapath.guardRelease(ms);
  }

  private async commitNow(nodeName: string | undefined): Promise<CommitResult> {
    const began = performance.now();
    const peer = nodeName === undefined ? undefined : this.peer(nodeName);
    this.take('primary');
    this.arm();
    const refused: Partial<Record<ResultName, number>> = {};
    let committed = 0;
    try {
      await this.drain();
      this.parts.standby.flush();
      const breath = new Breath();
      const insertion = this.parts.datapath.table.insertion((records, results) => {
        committed += this.parts.sync.committed(records, results);
        count(results, refused);
      });
      for (const chunk of this.parts.sync.plan(peer, this.parts.commitTimeoutMs())) {
        const last = breath.due;
        insertion.put(chunk, last);
        if (!last) continue;
        insertion.finish(); // a datagram may change what was planned: nothing is under way when one comes
        await breath.take();
      }
      insertion.finish();
      await this.parts.follower.setOwning(true);
    } finally {
      // However it ended: held back for ever, a packet would be worse off than with a reset.
      this.release();
    }
    this.parts.committed(committed);
    this.counters.commits++;
    this.counters.committed += committed;
    const took_ms = Math.round((performance.now() - began) * 10) / 10;
    const result = { committed, refused, epoch: this.parts.sync.epoch, took_ms };
    if (Object.keys(refused).length > 0)
      this.parts.log.warn(result, 'commit: the kernel refused records');
    else this.parts.log.info(result, 'commit');
    return result;
  }

  private async drain(): Promise<void> {
    let quiet = 0;
    for (let i = 0; i < DRAIN_TURNS_MAX && quiet < QUIET_TURNS; i++) {
      const before = this.parts.datagrams();
      await turn();
      quiet = this.parts.datagrams() === before ? quiet + 1 : 0;
    }
  }

  private peer(name: string): number {
    const peers = this.parts.sync.peers();
    const found = peers.find((peer) => peer.name === name);
    if (found) return found.node;
    const known = peers.map((peer) => peer.name).join(', ') || 'none has been heard yet';
    throw new DaemonError('ARGUMENT', `no peer is called ${name}: the peers are ${known}`);
  }
}

function count(results: Uint32Array, into: Partial<Record<ResultName, number>>): void {
  for (const result of results) {
    if (result === Result.OK) continue;
    const name = RESULT_NAMES[result] ?? 'INVALID';
    into[name] = (into[name] ?? 0) + 1;
  }
}
