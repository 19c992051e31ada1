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

/** Datagrams that have arrived already belong to what is committed: they are taken in first. */
const DRAIN_TURNS_MAX = 200;
/** Turns of the event loop without a datagram after which none is waiting. */
const QUIET_TURNS = 2;
/** After the last entry that a peer has taken over: by then it has said what else is its own. */
const TAKEN_OVER_QUIET_MS = 1000;

const RESULT_NAMES = Object.fromEntries(
  Object.entries(Result).map(([name, value]) => [value, name as ResultName]),
);

export class Ownership {
  readonly counters = { commits: 0, committed: 0, given_up: 0, shortened: 0 };
  private currentRole: Role | 'undecided' = 'undecided';
  private releaseAt = 0; // performance.now(); 0: armed
  private last: Promise<unknown> = Promise.resolve();
  private takenOver: NodeJS.Timeout | undefined;
  private aged = false;

  constructor(
    private readonly datapath: Datapath,
    private readonly sync: SyncEngine,
    private readonly follower: Follower,
    private readonly failover: () => FailoverSettings,
    private readonly purgeTimeoutMs: () => number,
    private readonly datagrams: () => number,
    private readonly roleChanged: () => void,
    private readonly log: Log,
  ) {}

  get role(): Role | 'undecided' {
    return this.currentRole;
  }

  get guard(): Omit<StatusResult['guard'], 'held' | 'addresses'> {
    if (this.failover().virtualAddresses.length === 0) return { state: 'off', remaining_ms: 0 };
    if (this.releaseAt === 0) return { state: 'armed', remaining_ms: 0 };
    const remaining_ms = Math.max(0, Math.ceil(this.releaseAt - performance.now()));
    return { state: remaining_ms > 0 ? 'releasing' : 'off', remaining_ms };
  }

  /** At the start nobody has said who owns: nothing may be answered by a reset before. */
  start(): void {
    this.datapath.setDraining(false);
    this.datapath.setGuard([...this.failover().virtualAddresses]);
    this.arm();
  }

  stop(): void {
    clearTimeout(this.takenOver);
  }

  async setRole(role: Role): Promise<void> {
    this.take(role);
    if (role === 'primary') {
      await this.follower.setOwning(true);
      this.release();
    } else {
      void this.follower.setOwning(false);
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
    this.datapath.table.delete(records);
    this.counters.given_up += recordCount(records);
    if (this.currentRole === 'primary') {
      this.log.warn(
        { records: recordCount(records) },
        'a peer has taken over flows of this node, which was told that it is primary: is the address on both?',
      );
      return;
    }
    if (this.aged) return;
    clearTimeout(this.takenOver);
    this.takenOver = setTimeout(() => void this.age(), TAKEN_OVER_QUIET_MS);
  }

  private take(role: Role): void {
    clearTimeout(this.takenOver);
    if (role === this.currentRole) return;
    this.log.info({ from: this.currentRole, to: role }, 'role');
    this.currentRole = role;
    this.aged = false;
    this.roleChanged();
  }

  /**
   * A peer owns what it knew of. What is left in this kernel (never spliced, or not replicated in
   * time) gets no packets any more, and shall not stay for days.
   */
  private async age(): Promise<void> {
    this.aged = true;
    const entries = await sumSteps(this.datapath.table.shortening(this.purgeTimeoutMs()));
    this.counters.shortened += entries;
    this.log.info({ entries }, 'a peer has taken over: the timers of what is left are shortened');
  }

  private arm(): void {
    this.releaseAt = 0;
    this.datapath.guardArm();
  }

  private release(): void {
    const ms = this.failover().guardTimeoutMs;
    this.releaseAt = performance.now() + ms;
    this.datapath.guardRelease(ms);
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
      const breath = new Breath();
      for (const chunk of this.sync.plan(peer)) {
        const results = this.datapath.table.insert(chunk);
        committed += this.sync.committed(chunk, results);
        count(results, refused);
        await breath.take();
      }
      await this.follower.setOwning(true);
    } finally {
      // However it ended: held back for ever, a packet would be worse off than with a reset.
      this.release();
    }
    this.counters.commits++;
    this.counters.committed += committed;
    const took_ms = Math.round((performance.now() - began) * 10) / 10;
    const result = { committed, refused, epoch: this.sync.epoch, took_ms };
    if (Object.keys(refused).length > 0)
      this.log.warn(result, 'commit: the kernel refused records');
    else this.log.info(result, 'commit');
    return result;
  }

  private async drain(): Promise<void> {
    let quiet = 0;
    for (let i = 0; i < DRAIN_TURNS_MAX && quiet < QUIET_TURNS; i++) {
      const before = this.datagrams();
      await turn();
      quiet = this.datagrams() === before ? quiet + 1 : 0;
    }
  }

  private peer(name: string): number {
    const peers = this.sync.peers();
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
