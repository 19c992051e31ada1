// After a takeover nobody knows which of the flows still live: a client may have gone while no node
// answered it. Those for which no packet has come are asked, and leave the table when nobody answers.
import { type Datapath, SPLICE_MARK } from '../kernel/datapath.js';
import { ProbeSender } from '../kernel/probe.js';
import type { Entry } from '../kernel/table.js';
import { Breath, pause } from './breath.js';
import type { Log } from './log.js';

/** Entries asked, two packets each: a million idle flows take seven minutes a round. */
const ENTRIES_A_SECOND = 2500;
/** Entries asked at once: no queue on the way has to hold many packets. */
const BURST = 25;

export interface ProberParts {
  readonly datapath: Datapath;
  readonly log: Log;
  /** This node is the one that the ends' packets reach. */
  readonly active: () => boolean;
  /** Between two rounds, and how long an entry has to be idle. */
  readonly periodMs: () => number;
}

export class Prober {
  readonly counters = { probe_rounds: 0, probes_sent: 0, probes_unsent: 0 };
  private readonly sender = new ProbeSender(SPLICE_MARK);
  private timer: NodeJS.Timeout | undefined;
  private round: Promise<void> = Promise.resolve();
  private stopped = false;

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

  /** Flows that live have this long to show it by themselves. */
  restart(): void {
    if (this.timer) this.wait();
  }

  private wait(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.round = this.ask().finally(() => {
        this.sender.close();
        if (!this.stopped) this.wait();
      });
    }, this.parts.periodMs());
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
    for (const batch of this.parts.datapath.table.unproven(this.parts.periodMs())) {
      for (let at = 0; at < batch.length; at += BURST) {
        const burst = batch.slice(at, at + BURST);
        for (const entry of burst) this.probe(entry);
        asked += burst.length;
        const ahead = (1000 * asked) / ENTRIES_A_SECOND - (performance.now() - began);
        if (ahead > 1) await pause(ahead);
        if (this.stopped || !this.parts.active()) return;
      }
      await breath.take();
    }
  }

  private probe({ record, probes }: Entry): void {
    for (const leg of [0, 1] as const) {
      if (this.sender.send(record, leg, probes)) this.counters.probes_unsent++;
      else this.counters.probes_sent++;
    }
  }
}
