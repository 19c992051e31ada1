// After a takeover both ends of a flow wait: their timers have backed off while nobody answered, and would go
// on waiting for as long again. So both ends are asked how they are (kernel/probe-segment.ts). What they answer
// passes through the datapath: it tells each what the other has, and the table what is outstanding. Where
// something is, its sender's back-off is taken back step by step (kernel/unreachable.ts, RFC 6069) until it
// sends. A flow with nothing outstanding gets no error: its application might see it.
import { type Datapath, SPLICE_MARK } from '../kernel/datapath.js';
import { ProbeSender } from '../kernel/probe.js';
import { pause, turn } from './breath.js';
import type { TakeoverReason } from './control/protocol.js';
import type { Log } from './log.js';
import { type NudgeOptions, NudgePass, type NudgeResult } from './nudge-pass.js';
import { Pace } from './pace.js';

/** Packets, of both kinds together; and at once, when none were sent for a while. */
const PACKETS_A_SECOND = 20_000;
const PACKETS_AT_ONCE = 4000;
/** Between two looks at what has come of them. */
const LOOK_MS = 5;
/** A takeover is told of more than once: by the address, by a script. */
const SAME_TAKEOVER_MS = 3000;
/** After a planned one the address comes within this. */
const PLANNED_MS = 10_000;

export interface NudgeParts {
  readonly datapath: Datapath;
  readonly log: Log;
  readonly enabled: () => boolean;
  /** This node is the one that the ends' packets reach. */
  readonly active: () => boolean;
}

export class Nudge {
  readonly counters = {
    nudges: 0,
    nudged_flows: 0,
    nudge_probes: 0,
    nudge_icmps: 0,
    nudge_unsent: 0,
    nudge_unanswered: 0,
  };
  private readonly sender = new ProbeSender(SPLICE_MARK);
  private readonly pace = new Pace(PACKETS_A_SECOND, PACKETS_AT_ONCE);
  private stopped = false;
  private last: Promise<unknown> = Promise.resolve();
  private beganAt = Number.NEGATIVE_INFINITY;
  private plannedAt = Number.NEGATIVE_INFINITY;
  private wanted = false;
  private busy: Uint8Array | undefined;

  constructor(private readonly parts: NudgeParts) {}

  /**
   * A takeover has come to its end. Where the address is to come yet, the nudge waits for the takeover that
   * comes with it.
   * @param committed entries that have become this node's
   * @param options busy: flows that come first, see NudgeOptions; again: this node stood already, so that
   *   nothing but new entries is a reason
   * @returns what came of it; undefined when there was nothing to be done yet, or any more
   */
  async takenOver(
    why: TakeoverReason | 'handover',
    committed: number,
    { busy, again = false }: { busy?: Uint8Array; again?: boolean } = {},
  ): Promise<NudgeResult | undefined> {
    const now = performance.now();
    if (why === 'handover') this.plannedAt = now;
    const another = !again && now - this.beganAt > SAME_TAKEOVER_MS;
    if (committed > 0 || another) this.wanted = true;
    if (busy && busy.length > 0) this.busy = busy;
    if (!this.wanted || !this.parts.enabled() || !this.parts.active()) return undefined;
    this.wanted = false;
    const first = this.busy;
    this.busy = undefined;
    return this.nudge({ gently: now - this.plannedAt < PLANNED_MS, ...(first && { busy: first }) });
  }

  /** Returns when every flow that may stand still has been asked, and has had its time. One at a time. */
  nudge(options: NudgeOptions = {}): Promise<NudgeResult> {
    const done = this.last.then(() => this.run(options));
    this.last = done.catch(() => {});
    return done;
  }

  /** Resolves when the one that is under way has ended, which it does at once. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.last;
  }

  private async run(options: NudgeOptions): Promise<NudgeResult> {
    this.beganAt = performance.now();
    const pass = new NudgePass(this.parts.datapath, this.sender, this.pace, options);
    const due = (): boolean => !this.stopped && this.parts.active();
    try {
      while (due() && !pass.step()) await (pass.hurries ? turn() : pause(LOOK_MS));
    } finally {
      this.sender.close();
    }
    const { result } = pass;
    this.counters.nudges++;
    this.counters.nudged_flows += result.owed;
    this.counters.nudge_probes += result.probes;
    this.counters.nudge_icmps += result.errors;
    this.counters.nudge_unsent += pass.unsent;
    this.counters.nudge_unanswered += result.unanswered;
    this.parts.log.info({ ...result }, due() ? 'flows nudged' : 'flows nudged, as far as it came');
    return result;
  }
}
