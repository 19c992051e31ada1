// After a takeover both ends of a flow wait: their timers have backed off while nobody answered, and would go
// on waiting for as long again. So both ends are asked how they are (kernel/probe-segment.ts). What they answer
// passes through the datapath: it tells each what the other has, and the table what is outstanding. Where
// something is, its sender's back-off is taken back step by step (kernel/unreachable.ts, RFC 6069) until it
// sends. A flow with nothing outstanding gets no error: its application might see it.
import { type Datapath, SPLICE_MARK } from '../kernel/datapath.js';
import { ProbeSender } from '../kernel/probe.js';
import { pause } from './breath.js';
import type { Log } from './log.js';
import { type NudgeOptions, NudgePass, type NudgeResult } from './nudge-pass.js';
import { Pace } from './pace.js';

/** Packets, of both kinds together; and at once, when none were sent for a while. */
const PACKETS_A_SECOND = 20_000;
const PACKETS_AT_ONCE = 4000;
/** Between two looks at what has come of them. */
const LOOK_MS = 5;

export interface NudgeParts {
  readonly datapath: Datapath;
  readonly log: Log;
  /** Whether it goes on: this node is the one that the ends' packets reach. */
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
  /** The latest one; an earlier one that is under way ends. */
  private run = 0;
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly parts: NudgeParts) {}

  /** Returns when every flow that no packet has come for has been asked, and has had its time. */
  nudge(options: NudgeOptions = {}): Promise<NudgeResult> {
    const run = ++this.run;
    const done = this.last.then(() => this.work(run, options));
    this.last = done.catch(() => {});
    return done;
  }

  /** Resolves when the one that is under way has ended, which it does at once. */
  async stop(): Promise<void> {
    this.run++;
    await this.last;
  }

  private async work(run: number, options: NudgeOptions): Promise<NudgeResult> {
    const pass = new NudgePass(this.parts.datapath, this.sender, this.pace, options);
    const due = (): boolean => run === this.run && this.parts.active();
    try {
      while (due() && !pass.step()) await pause(LOOK_MS);
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
