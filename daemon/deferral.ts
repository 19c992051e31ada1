// Defer: the commit of a splice waits until a peer has it, as long as there is a peer to wait for.
import type { Datapath } from '../kernel/datapath.js';
import { Result } from '../kernel/record/layout.js';
import type { SyncEngine } from '../sync/api.js';

export class Deferral {
  readonly counters = { confirmed: 0 };

  /** @param timeoutMs that a commit waits at most; 0: Defer is off */
  constructor(
    private readonly datapath: Datapath,
    private readonly timeoutMs: number,
  ) {}

  /** Nobody is waited for who is not there. */
  peersChanged(sync: SyncEngine): void {
    this.wait(sync.peers().some((peer) => peer.alive));
  }

  /** A peer has these, or there is none any more. */
  replicated(records: Uint8Array): void {
    for (const result of this.datapath.table.confirm(records)) {
      if (result === Result.OK) this.counters.confirmed++;
    }
  }

  /** Without a daemon nobody would say that a peer has them. */
  stop(): void {
    this.wait(false);
  }

  private wait(on: boolean): void {
    this.datapath.deferMs = on ? this.timeoutMs : 0;
  }
}
