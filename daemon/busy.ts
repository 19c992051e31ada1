// Tells the peers now and then which flows have data under way, so that who takes over knows whom to care for
// first.
import type { Datapath } from '../kernel/datapath.js';
import { BATCH_ITEM_SIZE, RECORD_SIZE } from '../kernel/record/layout.js';
import type { SyncEngine } from '../sync/api.js';
import { BUSY_MAX } from '../sync/busy.js';
import { Breath } from './breath.js';

/** Between two walks over the table, at least; and at least so many times as long as the last one took. */
const PERIOD_MS = 500;
const REST = 50;
/** What was heard last so long ago is not under way: its end has gone, or waits for a timer of its own. */
const RECENT_MS = 2000;

export interface BusyParts {
  readonly datapath: Datapath;
  readonly sync: SyncEngine;
  readonly enabled: () => boolean;
  /** This node is the one that the ends' packets reach. */
  readonly active: () => boolean;
}

export class BusyTeller {
  private readonly records = new Uint8Array(BUSY_MAX * RECORD_SIZE);
  private timer: NodeJS.Timeout | undefined;
  private walk: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(private readonly parts: BusyParts) {}

  start(): void {
    this.wait(PERIOD_MS);
  }

  /** Resolves when a walk that is under way has come to its end. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.walk;
  }

  private wait(ms: number): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      const began = performance.now();
      this.walk = this.look().finally(() =>
        this.wait(Math.max(PERIOD_MS, REST * (performance.now() - began))),
      );
    }, ms);
  }

  private async look(): Promise<void> {
    const { datapath, sync, enabled, active } = this.parts;
    const due = (): boolean => !this.stopped && enabled() && active();
    if (!due() || !sync.peers().some((peer) => peer.alive)) return;
    const breath = new Breath();
    let found = 0;
    for (const items of datapath.table.busy(RECENT_MS)) {
      found = this.take(items, found);
      if (found === BUSY_MAX) break;
      await breath.take();
      if (!due()) return;
    }
    sync.sayBusy(this.records.subarray(0, found * RECORD_SIZE));
  }

  /** @returns how many there are now */
  private take(items: Uint8Array, found: number): number {
    const end = Math.min(BUSY_MAX, found + items.length / BATCH_ITEM_SIZE);
    for (let i = 0; found < end; i++, found++) {
      const at = i * BATCH_ITEM_SIZE;
      this.records.set(items.subarray(at, at + RECORD_SIZE), found * RECORD_SIZE);
    }
    return found;
  }
}
