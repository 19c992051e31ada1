// One pass over the flows that were taken over: see nudge.ts.
import type { Datapath } from '../kernel/datapath.js';
import type { ProbeSender } from '../kernel/probe.js';
import { BATCH_ITEMS, Look } from '../kernel/record/layout.js';
import type { Leg } from '../kernel/record/record.js';
import type { NudgeStatus } from './control/protocol.js';
import type { Pace } from './pace.js';
import { Watched } from './watched.js';

/** Flows that are under way at once. */
const WATCHED_MAX = 16_384;
/** Flows looked at, and flows asked, before others have their turn: two milliseconds' work. */
const LOOKS_A_STEP = 2048;
const ASKED_A_STEP = 256;
/** An end answers such questions twice a second at most; who has not answered is asked once more. */
const AGAIN_MS = 550;
/** After that a flow is left to itself. */
const PATIENCE_MS = 1200;
/** Errors at once, step by step: each one takes back one doubling of the sender's timer. */
const STEPS = [2, 2, 6];
/** Between two steps: the sender may have begun to send. */
const STEP_MS = 10;
const HEARD = Look.HEARD0 | Look.HEARD1;

export interface NudgeOptions {
  /** Flows that come first, n × RECORD_SIZE bytes: their last owner has said that they were busy. */
  readonly busy?: Uint8Array;
  /** Only ask: nobody's timer can have backed off yet. */
  readonly gently?: boolean;
}

/** So far. */
export type NudgeResult = { -readonly [name in keyof NudgeStatus]: NudgeStatus[name] };

/** What the sums of a pass begin with. */
const NOTHING: NudgeResult = {
  asked: 0,
  busy: 0,
  owed: 0,
  moved: 0,
  unanswered: 0,
  probes: 0,
  errors: 0,
  took_ms: 0,
};

export class NudgePass {
  readonly result: NudgeResult = { ...NOTHING };
  unsent = 0;
  private readonly watched = new Watched(WATCHED_MAX);
  private readonly began = performance.now();
  private readonly rest: Generator<Uint8Array>;
  private ended = false;
  /** Where the next look begins. */
  private cursor = 0;

  constructor(
    private readonly datapath: Datapath,
    private readonly sender: ProbeSender,
    private readonly pace: Pace,
    private readonly options: NudgeOptions,
  ) {
    this.rest = datapath.table.stalled();
    if (options.busy) this.watched.addRecords(options.busy, datapath.table);
    this.result.busy = this.watched.size;
  }

  /** Some of what can be done now. @returns whether that was all */
  step(): boolean {
    const { watched } = this;
    if (watched.asked > 0) this.tend();
    this.fetch();
    this.ask();
    this.unsent += this.sender.flush().unsent;
    this.result.took_ms = Math.round(performance.now() - this.began);
    return this.ended && watched.size === 0;
  }

  /** There is more to be done at once. */
  get hurries(): boolean {
    const { watched, pace, ended } = this;
    return (watched.asked < watched.size || !ended) && pace.allowed >= 2;
  }

  /** Flows that nobody has heard of, when all that are known have been asked. */
  private fetch(): void {
    const { watched } = this;
    if (this.ended || watched.asked < watched.size || watched.room < BATCH_ITEMS) return;
    const { value, done } = this.rest.next();
    this.ended = done === true;
    if (value) watched.addItems(value);
  }

  /** Both ends of those that are next, as many as may be sent. */
  private ask(): void {
    const { watched } = this;
    const now = performance.now();
    const most = Math.min(ASKED_A_STEP, Math.floor(this.pace.allowed / 2));
    const end = Math.min(watched.size, watched.asked + most);
    this.result.asked += end - watched.asked;
    while (watched.asked < end) {
      this.probe(watched.asked, 0, 1);
      this.probe(watched.asked, 1, 1);
      watched.nextWasAsked(now);
    }
  }

  private probe(flow: number, leg: Leg, round: number): void {
    this.sender.probe(this.watched.recordOf(flow), leg, round);
    this.pace.took(1);
    this.result.probes++;
  }

  /** What has come of those that were asked, and what is to be done for them. */
  private tend(): void {
    const { watched } = this;
    if (this.cursor >= watched.asked) this.cursor = 0;
    const end = Math.min(watched.asked, this.cursor + LOOKS_A_STEP);
    watched.look(this.datapath.table, this.cursor, end);
    const now = performance.now();
    for (let flow = end - 1; flow >= this.cursor; flow--) {
      if (!this.tendTo(flow, watched.result(flow), now)) watched.remove(flow);
    }
    this.cursor = end;
  }

  /** @returns whether there may be something left to do */
  private tendTo(flow: number, look: number, now: number): boolean {
    if (look & Look.GONE) return false;
    const late = this.watched.sinceAsked(flow, now) > PATIENCE_MS;
    if ((look & HEARD) !== HEARD) {
      if (late) this.result.unanswered++;
      else this.askAgain(flow, look, now);
      return !late;
    }
    const waits = [this.push(flow, 0, look, now), this.push(flow, 1, look, now)];
    if (!waits.includes(true) && this.watched.wasOwed(flow)) this.result.moved++;
    return waits.includes(true) && !late;
  }

  private askAgain(flow: number, look: number, now: number): void {
    const { watched } = this;
    if (watched.askedAgain(flow) || watched.sinceAsked(flow, now) < AGAIN_MS) return;
    if (this.pace.allowed < 2) return;
    if (!(look & Look.HEARD0)) this.probe(flow, 0, 2);
    if (!(look & Look.HEARD1)) this.probe(flow, 1, 2);
    watched.wasAskedAgain(flow);
  }

  /** @returns whether the sender of a direction waits for its timer */
  private push(flow: number, direction: Leg, look: number, now: number): boolean {
    const { watched, options } = this;
    if (!(look & (Look.OWED0 << direction)) || look & (Look.MOVED0 << direction)) return false;
    if (!watched.wasOwed(flow)) this.result.owed++;
    watched.isOwed(flow);
    const step = watched.step(flow, direction);
    if (options.gently || step >= STEPS.length || !watched.isDue(flow, direction, now)) return true;
    if (this.pace.allowed < STEPS[step]) return true;
    const seq = watched.firstOwed(flow, direction);
    for (let i = 0; i < STEPS[step]; i++) {
      this.sender.unreachable(watched.recordOf(flow), direction, seq);
    }
    this.pace.took(STEPS[step]);
    this.result.errors += STEPS[step];
    watched.nextStep(flow, direction, now + STEP_MS);
    return true;
  }
}
