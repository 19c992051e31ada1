// After a takeover nobody knows which of the flows still live: a client may have gone while no node
// answered it. Those for which no packet has come are asked, and leave the table when nobody answers.
import { type Datapath, SPLICE_MARK } from '../kernel/datapath.js';
import { ProbeSender } from '../kernel/probe.js';
import type { Entry } from '../kernel/table.js';
import { Breath, pause } from './breath.js';
import type { Log } from './log.js';

/** Entries asked, two packets each: a million idle flows take seven minutes a round; see rate(). */
const ENTRIES_A_SECOND = 2500;
/** Of the time that an entry has after a commit: it is asked, and may answer, before the rest is over. */
const SHARE_FOR_ROUND = 0.5;
const SHARE_BEFORE_ROUND = 0.25;
/** Entries asked at once: no queue on the way has to hold many packets. */
const BURST = 25;

export interface ProberParts {
  readonly datapath: Datapath;
  readonly log: Log;
  /** This node is the one that the ends' packets reach. */
  readonly active: () => boolean;
  /** Between two rounds, and how long an entry has to be idle. */
  readonly periodMs: () => number;
  /** What a committed entry has left unless a packet comes; 0: as much as it had. */
  readonly commitTimeoutMs: () => number;
}

export class Prober {
  readonly counters = { probe_rounds: 0, probes_sent: 0, probes_unsent: 0 };
  private readonly sender = new ProbeSender(SPLICE_MARK);
  private timer: NodeJS.Timeout | undefined;
  private round: Promise<void> = Promise.resolve();
  private stopped = false;
  /** Entries of the last commit: so many may have to be asked in one round. */
  private taken = 0;

  constructor(private readonly parts: ProberParts) {}

  start(): void {
    this.wait();
  }

  /** Resolves when a round that is under way has come to its end. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.round;
  }

  restart(): void {
    if (this.timer) this.wait();
  }

  /** So many entries have been put in. Flows that live have one period to show it by themselves. */
  committed(entries: number): void {
    this.taken = entries;
    this.restart();
  }

  private get periodMs(): number {
    const { periodMs, commitTimeoutMs } = this.parts;
    const least = commitTimeoutMs() * SHARE_BEFORE_ROUND;
    return least > 0 ? Math.min(periodMs(), least) : periodMs();
  }

  /** Entries a second: with CommitTimeout as many as it takes to ask all of them before they expire. */
  private get rate(): number {
    const roundMs = this.parts.commitTimeoutMs() * SHARE_FOR_ROUND;
    return roundMs > 0
      ? Math.max(ENTRIES_A_SECOND, (1000 * this.taken) / roundMs)
      : ENTRIES_A_SECOND;
  }

  private wait(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.round = this.ask().finally(() => {
        this.sender.close();
        if (!this.stopped) this.wait();
      });
    }, this.periodMs);
  }

  private async ask(): Promise<void> {
    const { datapath, active, log } = this.parts;
    if (!active()) return;
    const before = datapath.counter('probe_expired');
    this.counters.probe_rounds++;
    await this.walk();
    const expired = datapath.counter('probe_expired') - before;
    if (expired > 0) log.info({ expired }, 'flows of which neither end has answered are gone');
  }

  private async walk(): Promise<void> {
    const breath = new Breath();
    const began = performance.now();
    let asked = 0;
    // with CommitTimeout there is no time for another round: all are asked that nobody has proven
    const idleMs = this.parts.commitTimeoutMs() > 0 ? 0 : this.periodMs;
    for (const batch of this.parts.datapath.table.unproven(idleMs)) {
      for (let at = 0; at < batch.length; at += BURST) {
        const burst = batch.slice(at, at + BURST);
        this.probe(burst);
        asked += burst.length;
        const ahead = (1000 * asked) / this.rate - (performance.now() - began);
        if (ahead > 1) await pause(ahead);
        else await breath.take();
        if (this.stopped || !this.parts.active()) return;
      }
      await breath.take();
    }
  }

  private probe(entries: readonly Entry[]): void {
    for (const { record, probes } of entries) {
      for (const leg of [0, 1] as const) this.sender.probe(record, leg, probes);
    }
    const { sent, unsent } = this.sender.flush();
    this.counters.probes_sent += sent;
    this.counters.probes_unsent += unsent;
  }
}
