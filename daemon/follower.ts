// Kernel to internal cache: events as they come, and the whole table when they do not suffice.
import type { Datapath } from '../kernel/datapath.js';
import { EVENT_SIZE, EventOffset, EventType, Flag, RecordOffset } from '../kernel/record/layout.js';
import type { SyncEngine } from '../sync/api.js';
import { Breath, pause } from './breath.js';
import type { Log } from './log.js';

const FLAGS_AT = EventOffset.record + RecordOffset.flags;
/** Events lost in one burst are made up for by one resync: it waits for the burst to be over. */
const AFTER_LOSS_MS = 100;

export interface ResyncResult {
  /** In the internal cache afterwards. */
  readonly records: number;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
}

export class Follower {
  readonly counters = { events: 0, events_lost: 0, ends_held_back: 0, resyncs: 0 };
  private ring: ReturnType<Datapath['watch']> | undefined;
  private owning = true;
  /** The cache and the table differ by what was held back, or missed, while not owning. */
  private behind = false;
  private last: Promise<unknown> = Promise.resolve();
  private lossPending = false;

  constructor(
    private readonly datapath: Datapath,
    private readonly sync: SyncEngine,
    private readonly log: Log,
  ) {}

  start(): void {
    this.ring = this.datapath.watch((events, count, lost) => this.take(events, count, lost));
  }

  /** Resolves when a resync that is under way has come to its end. */
  async stop(): Promise<void> {
    this.ring?.close();
    await this.last;
  }

  /**
   * Whether this node is the one that packets reach. Where none arrive, entries only age: that one
   * ends here says nothing about the flow, which a peer may own by now or is about to take over. So
   * its end is not announced; whoever owns it knows better. It is made up for when this node owns
   * again.
   */
  async setOwning(owning: boolean): Promise<void> {
    this.owning = owning;
    if (owning && this.behind) await this.resync('what ended while this node was not the owner');
  }

  /** Packets reach this node from now on. What was held back before is left to the next setOwning(true). */
  begin(): void {
    this.owning = true;
  }

  /** What the kernel has told until now has been taken in when this returns. */
  drain(): void {
    this.ring?.drain();
  }

  /** The internal cache anew from the kernel table. One at a time; a second one waits. */
  resync(why: string): Promise<ResyncResult> {
    return this.oneByOne(() => this.readTable(why, this.owning));
  }

  /**
   * A peer has taken over, and did not take what has aged here since: it is nobody's. So its end is
   * announced now, although no packets arrive, or it would stand in all caches until this node owns again.
   */
  forgetAged(): Promise<ResyncResult> {
    return this.oneByOne(() => this.readTable('what a peer did not take over has aged', true));
  }

  private oneByOne(read: () => Promise<ResyncResult>): Promise<ResyncResult> {
    const run = this.last.then(read);
    this.last = run.catch(() => {});
    return run;
  }

  private take(events: Uint8Array, count: number, lost: number): void {
    this.counters.events += count;
    if (count > 0) this.sync.local(this.owning ? events : this.withoutEnds(events, count));
    if (lost > 0) this.missed(lost);
  }

  private withoutEnds(events: Uint8Array, count: number): Uint8Array {
    const view = new DataView(events.buffer, events.byteOffset, events.byteLength);
    let kept = 0;
    let heldEnds = 0; // of what is held for others: no concern of anybody's while packets go elsewhere
    for (let i = 0; i < count; i++) {
      const from = i * EVENT_SIZE;
      if (view.getUint32(from + EventOffset.type, true) === EventType.DESTROY) {
        if (view.getUint16(from + FLAGS_AT, true) & Flag.STANDBY) heldEnds++;
        continue;
      }
      if (kept !== from) events.copyWithin(kept, from, from + EVENT_SIZE);
      kept += EVENT_SIZE;
    }
    const held = count - kept / EVENT_SIZE - heldEnds;
    if (held > 0) {
      this.counters.ends_held_back += held;
      this.behind = true;
    }
    return events.subarray(0, kept);
  }

  private missed(lost: number): void {
    this.counters.events_lost += lost;
    if (this.lossPending) return;
    this.lossPending = true;
    this.log.warn({ lost }, 'the event ring was full and events were lost: resync from the kernel');
    void pause(AFTER_LOSS_MS).then(async () => {
      this.lossPending = false;
      await this.resync('lost events');
      if (!this.lossPending) this.log.info('the lost events are made up for');
    });
  }

  private async readTable(why: string, announceEnds: boolean): Promise<ResyncResult> {
    const began = performance.now();
    const breath = new Breath();
    this.behind = false;
    this.counters.resyncs++;
    this.sync.resyncBegin();
    for (const chunk of this.datapath.table.dump({ announced: true, reused: true })) {
      this.sync.resyncRecords(chunk);
      await breath.take();
    }
    // what is not there any more where no packets arrive has aged, see setOwning
    this.behind ||= !announceEnds;
    const result = { records: 0, ...this.sync.resyncEnd(announceEnds) };
    result.records = this.sync.internal.size;
    const took_ms = Math.round(performance.now() - began);
    this.log.info({ why, ...result, took_ms }, 'internal cache read from the kernel table');
    return result;
  }
}
