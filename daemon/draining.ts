// New connections to the virtual addresses wait for their next owner: their SYNs are dropped, and come
// again. There may be several reasons for it at once.
import type { Datapath } from '../kernel/datapath.js';

/** Who holds them back. */
export type DrainReason = 'handover' | 'takeover';

export class Draining {
  private readonly reasons = new Set<DrainReason>();

  constructor(private readonly datapath: Datapath) {}

  /** Whatever an earlier daemon has left behind. */
  reset(): void {
    this.reasons.clear();
    this.datapath.setDraining(false);
  }

  set(reason: DrainReason, on: boolean): void {
    if (on) this.reasons.add(reason);
    else this.reasons.delete(reason);
    this.datapath.setDraining(this.reasons.size > 0);
  }
}
