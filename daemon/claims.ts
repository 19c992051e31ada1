// Hot standby: after a takeover what peers owned is translated already, by entries that the kernel holds for
// them. They become this node's own in the background, a few at a time:
//
//   held      what is in the external caches and in the kernel, where it stands
//   rest      what the kernel had no room for, as a commit puts it in
//   orphans   what the kernel holds for nodes that are gone, and that no cache knows: this daemon was started
//             anew since it heard of them
//
// What is not claimed when a peer takes over, or when this daemon ends, stays as it is, and is that one's or
// the next one's to claim. What ends meanwhile ends under this node's claim (sync/ownership.ts).
import { RECORD_SIZE, type ResultName } from '../kernel/record/layout.js';
import { Breath, pause } from './breath.js';
import { type CommitParts, drain, putIn, type Taken } from './commit.js';
import type { ClaimsStatus } from './control/protocol.js';
import type { Follower } from './follower.js';
import type { Log } from './log.js';

/** Between two pieces of work of some milliseconds: packets need the processor more urgently. */
const REST_MS = 1;

export interface ClaimsParts extends CommitParts {
  readonly follower: Follower;
  readonly log: Log;
  /** So many entries have become this node's. */
  readonly committed: (entries: number) => void;
}

export class Claims {
  readonly counters = { claims: 0, claimed: 0, claims_cut_short: 0, orphans_claimed: 0 };
  private number = 0;
  private total = 0;
  private looked = 0;
  private underWay = false;
  private last: Promise<void> = Promise.resolve();

  constructor(private readonly parts: ClaimsParts) {}

  /** null: none are under way. */
  get status(): ClaimsStatus | null {
    if (!this.underWay) return null;
    return { total: this.total, left: Math.max(0, this.total - this.looked) };
  }

  /**
   * Begins, in place of those that may be under way. Costs nothing for each entry.
   * @param peer node id: only what this peer owns
   * @returns how many there are
   */
  begin(peer: number | undefined): number {
    const { sync, standby, follower, commitTimeoutMs } = this.parts;
    const number = ++this.number;
    follower.begin();
    standby.flush();
    const caches = peer === undefined ? [...sync.external.values()] : [sync.external.get(peer)];
    this.total = caches.reduce((sum, cache) => sum + (cache?.size ?? 0), 0);
    this.looked = 0;
    this.underWay = true;
    this.counters.claims++;
    const held = sync.plan(peer, commitTimeoutMs());
    this.last = this.last.then(() => this.run(number, held, peer));
    return this.total;
  }

  /** Resolves when none are under way: all are made, or what is left is not to be. */
  async settled(): Promise<void> {
    while (this.underWay) await this.last;
  }

  /** What is not claimed yet stays held for its owner. Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.number++;
    this.underWay = false;
    await this.last;
  }

  private async run(
    number: number,
    held: Iterable<Uint8Array>,
    peer: number | undefined,
  ): Promise<void> {
    const began = performance.now();
    const taken: Taken = { committed: 0, refused: {} };
    try {
      await this.claim(number, held, peer, taken);
    } catch (error) {
      this.parts.log.error({ error: (error as Error).message }, 'claims: not all are made');
    }
    const cut = number !== this.number;
    if (cut) this.counters.claims_cut_short++;
    else this.underWay = false;
    this.counters.claimed += taken.committed;
    const { committed: claimed, refused } = taken;
    const took_ms = Math.round(performance.now() - began);
    this.tell({ claimed, left: cut ? this.total - this.looked : 0, refused, took_ms }, cut);
  }

  private async claim(
    number: number,
    held: Iterable<Uint8Array>,
    peer: number | undefined,
    taken: Taken,
  ): Promise<void> {
    const { sync, follower, datagrams, commitTimeoutMs } = this.parts;
    await drain(datagrams);
    await this.put(number, held, taken, true);
    delete taken.refused.NOT_FOUND; // the rest, if they have not ended
    if (number !== this.number) return;
    // what has ended meanwhile is known to have ended before anything is put in anew
    follower.drain();
    await this.put(number, sync.plan(peer, commitTimeoutMs()), taken, false);
    if (peer === undefined) await this.orphans(number, taken);
    if (number !== this.number) return;
    await follower.setOwning(true);
    this.parts.committed(taken.committed);
  }

  private async put(
    number: number,
    plan: Iterable<Uint8Array>,
    taken: Taken,
    known: boolean,
  ): Promise<void> {
    const breath = new Breath();
    const counted = function* (this: Claims): Generator<Uint8Array> {
      for (const chunk of plan) {
        if (number !== this.number) return;
        if (known) this.looked += chunk.length / RECORD_SIZE;
        yield chunk;
      }
    };
    for (const due of putIn(this.parts, counted.call(this), taken, breath, known)) {
      if (due) await this.rest(breath);
    }
  }

  private async orphans(number: number, taken: Taken): Promise<void> {
    const { datapath, sync, standby } = this.parts;
    const breath = new Breath();
    const before = taken.committed;
    for (const chunk of datapath.table.dump({ reused: true })) {
      if (number !== this.number) break;
      standby.flush();
      const orphans = sync.orphans(chunk);
      if (orphans.length > 0) {
        taken.committed += sync.committed(orphans, datapath.table.insert(orphans, { known: true }));
      }
      if (breath.due) await this.rest(breath);
    }
    this.counters.orphans_claimed += taken.committed - before;
  }

  private async rest(breath: Breath): Promise<void> {
    await pause(REST_MS);
    await breath.take();
  }

  private tell(
    result: {
      claimed: number;
      left: number;
      refused: Partial<Record<ResultName, number>>;
      took_ms: number;
    },
    cut: boolean,
  ): void {
    const { log } = this.parts;
    if (cut) log.info(result, 'claims: cut short; what is left stays held for its owner');
    else if (Object.keys(result.refused).length > 0)
      log.warn(result, 'claims: the kernel refused records');
    else log.info(result, 'claims: all that this node has taken over is its own');
  }
}
