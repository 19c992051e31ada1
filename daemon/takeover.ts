// A takeover, step by step: this node becomes the one that packets reach.
//
//   hold     what belongs to no splice is held back, whoever it is for
//   commit   what the peers own becomes this node's: existing flows go on from here
//   answer   this node stands for the addresses, and says so to its neighbours: what was held back
//            passes after GuardTimeout
//   nudge    senders that wait for their timers are made to send; nobody waits for this
//
// The steps are methods, in this order, each with its own file where it is more than a call.
import type { CommitParts } from './commit.js';
import { commit } from './commit.js';
import type { CommitResult, TakeoverReason, TakeoverStatus } from './control/protocol.js';
import type { Follower } from './follower.js';
import type { Guard } from './guard.js';
import type { Log } from './log.js';
import type { Nudge } from './nudge.js';

export interface TakeoverParts extends CommitParts {
  readonly guard: Guard;
  readonly follower: Follower;
  readonly nudge: Nudge;
  readonly log: Log;
  /** So many entries have been put into the kernel. */
  readonly committed: (entries: number) => void;
  /** This node stands for the addresses from now on. */
  readonly answering: () => void;
}

export class Takeover {
  readonly counters = { commits: 0, committed: 0 };

  private done: { at: number; status: Omit<TakeoverStatus, 'ago_ms'> } | undefined;

  constructor(private readonly parts: TakeoverParts) {}

  /** null: none since this start. */
  get last(): TakeoverStatus | null {
    if (!this.done) return null;
    const { at, status } = this.done;
    return { ago_ms: Math.round(performance.now() - at), ...status };
  }

  /** Not while another one is under way. @param peer node id: commit only what this peer owns */
  async run(why: TakeoverReason, peer?: number): Promise<CommitResult> {
    const began = performance.now();
    const busy = this.parts.sync.busy(); // while they are the peers'
    this.hold();
    let taken: Awaited<ReturnType<typeof commit>>;
    try {
      taken = await this.commit(peer);
    } finally {
      // However it ended: held back for ever, a packet would be worse off than with a reset.
      this.answer();
    }
    const took_ms = Math.round((performance.now() - began) * 10) / 10;
    const result = { ...taken, epoch: this.parts.sync.epoch, took_ms };
    this.tell(why, result);
    void this.nudge(why, result, busy);
    return result;
  }

  private hold(): void {
    this.parts.guard.arm();
  }

  private async commit(peer: number | undefined): ReturnType<typeof commit> {
    const taken = await commit(this.parts, peer);
    await this.parts.follower.setOwning(true);
    this.parts.committed(taken.committed);
    this.counters.commits++;
    this.counters.committed += taken.committed;
    return taken;
  }

  private answer(): void {
    this.parts.guard.release();
    this.parts.answering();
  }

  private async nudge(
    why: TakeoverReason,
    { committed }: CommitResult,
    busy: Uint8Array,
  ): Promise<void> {
    const { done } = this;
    const nudged = await this.parts.nudge.takenOver(why, committed, busy);
    if (done && nudged) done.status = { ...done.status, nudged };
  }

  private tell(why: TakeoverReason, result: CommitResult): void {
    const { log } = this.parts;
    const { committed, epoch, took_ms } = result;
    const refused = Object.values(result.refused).reduce((sum, n) => sum + n, 0);
    const status = { why, entries: committed, refused, epoch, took_ms, nudged: null };
    this.done = { at: performance.now(), status };
    if (Object.keys(result.refused).length > 0)
      log.warn({ why, ...result }, 'commit: the kernel refused records');
    else log.info({ why, ...result }, 'commit');
  }
}
