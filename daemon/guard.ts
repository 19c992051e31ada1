// Packets to the virtual addresses that belong to no splice: held back while it is not sure yet whose
// they are, since the stack of a node that does not know a flow answers it with a reset.
import type { Datapath } from '../kernel/datapath.js';
import type { FailoverSettings } from './config.js';
import type { StatusResult } from './control/protocol.js';

export class Guard {
  private releaseAt = 0; // performance.now(); 0: armed

  constructor(
    private readonly datapath: Datapath,
    private readonly failover: () => FailoverSettings,
  ) {}

  get status(): Omit<StatusResult['guard'], 'held' | 'addresses'> {
    if (this.failover().virtualAddresses.length === 0) return { state: 'off', remaining_ms: 0 };
    if (this.armed) return { state: 'armed', remaining_ms: 0 };
    const remaining_ms = Math.max(0, Math.ceil(this.releaseAt - performance.now()));
    return { state: remaining_ms > 0 ? 'releasing' : 'off', remaining_ms };
  }

  /** Until it is released. */
  get armed(): boolean {
    return this.releaseAt === 0;
  }

  arm(): void {
    this.releaseAt = 0;
    this.datapath.guardArm();
  }

  /** It ends GuardTimeout from now. */
  release(): void {
    const ms = this.failover().guardTimeoutMs;
    this.releaseAt = performance.now() + ms;
    this.datapath.guardRelease(ms);
  }
}
