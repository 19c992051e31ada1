// A takeover, step by step: this node becomes the one that packets reach.
//
//   hold     what belongs to no splice is held back, and new connections with it
//   claim    the other nodes are asked to yield; nothing is waited for
//   commit   what the peers own becomes this node's: existing flows go on from here. With hot standby they
//            go on as soon as the packets come, and the claims follow in the background: claims.ts
//   fence    each peer has yielded, or FenceCommand has stopped it, or it is known that neither helps
//   answer   this node stands for the addresses, and says so to its neighbours; new connections come in,
//            and what else was held back passes after GuardTimeout
//   nudge    senders that wait for their timers are made to send; nobody waits for this
//
// What has to be exclusive, the addresses and new connections, waits for the fence; nothing else does.
//
// Who stands for the addresses already and is asked to take over once more (by a script that comes after the
// address, by an operator, since its daemon was started anew) commits what there is to commit: nothing is held
// back, and nobody is asked again.
//
// The steps are methods, in this order, each with its own file where it is more than a call.
import type { Claims } from './claims.js';
import type { CommitParts } from './commit.js';
import { commit } from './commit.js';
import type {
  CommitResult,
  FenceStatus,
  TakeoverReason,
  TakeoverStatus,
} from './control/protocol.js';
import type { Draining } from './draining.js';
import type { Fence } from './fence.js';
import type { Follower } from './follower.js';
import type { Guard } from './guard.js';
import type { Log } from './log.js';
import type { Nudge } from './nudge.js';
import { externalSize } from './records.js';

export interface TakeoverParts extends CommitParts {
  readonly guard: Guard;
  readonly draining: Draining;
  readonly fence: Fence;
  readonly follower: Follower;
  readonly nudge: Nudge;
  /** With hot standby. */
  readonly claims: Claims | undefined;
  readonly log: Log;
  /** So many entries have been put into the kernel. */
  readonly committed: (entries: number) => void;
  /** This node stands for the addresses from now on. */
  readonly answering: () => void;
}

/** These come more than once of one takeover. */
const REPEATED: readonly TakeoverReason[] = ['address', 'command', 'told'];

type Taken = Pick<CommitResult, 'committed' | 'refused' | 'claiming'>;

export class Takeover {
  /** This node has taken over, and serves since: nobody else has, and it has not lost its address. */
  stands = false;
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
    const again = this.isThrough(why);
    if (!again) {
      this.hold();
      this.parts.sync.claim();
    }
    let taken: Taken;
    let fence: FenceStatus[] = [];
    try {
      taken = await this.commit(peer, again);
    } finally {
      // However it ended: held back for ever, a packet would be worse off than with a reset.
      if (!again) fence = await this.parts.fence.settle();
      this.answer();
    }
    const took_ms = Math.round((performance.now() - began) * 10) / 10;
    const { sync } = this.parts;
    const { epoch } = sync;
    const result = {
      ...taken,
      epoch,
      took_ms,
      fence,
      yielded_to: this.nameOf(sync.fence().beatenBy),
    };
    this.tell(why, result, again);
    if (this.stands) void this.nudge(why, result, busy, again);
    return result;
  }

  /** Name of the peer to which this node, which has an address, has yielded. */
  get yieldedTo(): string | null {
    return this.nameOf(this.parts.sync.fence().yieldedTo?.node);
  }

  private nameOf(node: number | undefined): string | null {
    if (node === undefined) return null;
    const peer = this.parts.sync.peers().find((one) => one.node === node);
    return peer?.name ?? node.toString(16).padStart(8, '0');
  }

  /** This node stands and answers already, and knows of nobody who stands against it. */
  private isThrough(why: TakeoverReason): boolean {
    const { sync, datapath } = this.parts;
    const { stands, epoch } = sync.fence();
    if (!REPEATED.includes(why) || !this.stands || !stands) return false;
    return datapath.answering === 'always' && (epoch > 0 || this.isAgreed);
  }

  /** For a node that stands by its address alone, as after a start: nobody else stands, or owns anything. */
  private get isAgreed(): boolean {
    const { sync } = this.parts;
    const rival = sync.peers().some(({ alive, place }) => alive && (!place || place.stands));
    return !rival && externalSize(sync) === 0;
  }

  /** A node that stands already goes on serving: to ask the others again costs nobody a connection. */
  private hold(): void {
    const { datapath, draining, guard } = this.parts;
    datapath.takenOver();
    guard.arm();
    if (this.stands) return;
    draining.set('takeover', true);
    datapath.answer('never');
  }

  private async commit(peer: number | undefined, again: boolean): Promise<Taken> {
    const { claims, follower, committed } = this.parts;
    this.counters.commits++;
    if (claims) {
      // those that are under way are the takeover's
      const begun = again && claims.status !== null;
      return { committed: 0, refused: {}, claiming: begun ? 0 : claims.begin(peer) };
    }
    const taken = await commit(this.parts, peer);
    await follower.setOwning(true);
    committed(taken.committed);
    this.counters.committed += taken.committed;
    return { ...taken, claiming: 0 };
  }

  /** This node is not the one that packets reach any more: what it has not claimed yet it leaves. */
  async letGo(): Promise<void> {
    await this.parts.claims?.stop();
  }

  private answer(): void {
    const { sync, datapath, guard, draining, follower } = this.parts;
    draining.set('takeover', false);
    this.stands = sync.fence().stands;
    if (!this.stands) {
      // without an address there is nothing to be silent about
      if (!sync.fence().yieldedTo) datapath.answer('always');
      void follower.setOwning(false);
      void this.letGo();
      return;
    }
    datapath.answer('always');
    sync.stand();
    if (guard.armed) guard.release();
    this.parts.answering();
  }

  private async nudge(
    why: TakeoverReason,
    { committed, claiming }: CommitResult,
    busy: Uint8Array,
    again: boolean,
  ): Promise<void> {
    const { done } = this;
    const entries = committed + claiming;
    const nudged = await this.parts.nudge.takenOver(why, entries, { busy, again });
    if (done && nudged) done.status = { ...done.status, nudged };
  }

  private tell(why: TakeoverReason, result: CommitResult, again: boolean): void {
    const { log } = this.parts;
    const { committed, claiming, epoch, took_ms } = result;
    const refused = Object.values(result.refused).reduce((sum, n) => sum + n, 0);
    const entries = committed + claiming;
    // what has become of the peers is as the takeover has found it
    const fence = again ? (this.done?.status.fence ?? []) : result.fence;
    const status = { why, entries, refused, epoch, took_ms, fence, nudged: null };
    const idle = again && entries + refused === 0;
    if (!idle) this.done = { at: performance.now(), status };
    if (result.yielded_to !== null)
      log.warn({ why, ...result }, 'commit: a peer has taken over by a stronger claim');
    else if (refused > 0) log.warn({ why, ...result }, 'commit: the kernel refused records');
    else if (idle) log.info({ why, epoch, took_ms }, 'commit: this node stands already');
    else log.info({ why, ...result }, 'commit');
  }
}
