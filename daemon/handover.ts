// A planned move of the addresses to the peer, in an order in which nothing breaks:
//
//   1. no new connections: their SYNs are dropped, and come again to the next owner
//   2. wait until what the proxy still holds in user space has been spliced or has ended, and until
//      the peer has acknowledged every record
//   3. the track file: keepalived goes to FAULT, sends priority 0, and the peer takes over
//   4. when the address is gone: back to normal, so that this node can take over again
import type { Datapath } from '../kernel/datapath.js';
import type { SyncEngine } from '../sync/api.js';
import { pause } from './breath.js';
import { DaemonError } from './error.js';
import type { Log } from './log.js';
import type { Ownership } from './ownership.js';
import { socketsOn } from './sockets.js';
import type { TrackFile } from './track.js';
import type { AddressWatch } from './watch.js';

/** Without fewer flows left for so long, the rest (an idle keep-alive connection) is not waited for. */
const STANDSTILL_MS_MAX = 5000;
const SETTLE_MS_MAX = 15_000;
const LET_GO_MS_MAX = 10_000;
const TAKEN_MS_MAX = 5000;
const LOOK_MS = 10;

export interface HandoverParts {
  readonly datapath: Datapath;
  readonly sync: SyncEngine;
  readonly ownership: Ownership;
  readonly track: TrackFile;
  readonly watch: AddressWatch;
  readonly log: Log;
  /** Writes what the track file says in normal times. */
  readonly restoreTrack: () => void;
}

export class Handover {
  private running = false;
  private drain = false;

  constructor(private readonly parts: HandoverParts) {}

  get active(): boolean {
    return this.running;
  }

  get draining(): boolean {
    return this.drain;
  }

  /** Resolves with the milliseconds it took when the peer has the addresses. */
  async run(progress: (sentence: string) => Promise<void>): Promise<number> {
    this.check();
    const began = performance.now();
    this.running = true;
    try {
      await this.settle(progress);
      await this.letGo(progress);
    } finally {
      this.setDraining(false);
      this.parts.restoreTrack();
      this.running = false;
    }
    const took = Math.round(performance.now() - began);
    this.parts.log.info({ took_ms: took }, 'handed over');
    return took;
  }

  private check(): void {
    const { track, watch, sync } = this.parts;
    if (this.running) throw new DaemonError('BUSY', 'a handover is under way already');
    if (!track.configured) {
      throw new DaemonError(
        'NOT_OWNER',
        'keepalived cannot be told to let go: set TrackFile in Failover, and track_file in keepalived.conf',
      );
    }
    if (watch.here.length === 0) {
      throw new DaemonError('NOT_OWNER', 'this node has none of the virtual addresses');
    }
    if (!sync.peers().some((peer) => peer.alive)) {
      throw new DaemonError('NO_PEER', 'no peer is alive: nobody would take the addresses over');
    }
  }

  private async settle(progress: (sentence: string) => Promise<void>): Promise<void> {
    const { sync, watch, log } = this.parts;
    this.setDraining(true);
    await progress('new connections wait for the next owner');
    const left = async (): Promise<{ sockets: number; unacknowledged: number }> => ({
      sockets: await socketsOn(watch.here),
      unacknowledged: sync.unacknowledged(),
    });
    let fewest = Number.POSITIVE_INFINITY;
    let progressed = performance.now();
    await within(SETTLE_MS_MAX, async () => {
      const { sockets, unacknowledged } = await left();
      const now = performance.now();
      if (sockets + unacknowledged < fewest) {
        fewest = sockets + unacknowledged;
        progressed = now;
      }
      return fewest === 0 || now - progressed > STANDSTILL_MS_MAX;
    });
    const settled = fewest === 0;
    if (settled) {
      await progress('every flow is spliced, and the peer has all of them');
      return;
    }
    const rest = await left();
    log.warn(rest, 'handover: what is left in user space, or not acknowledged, will break');
    await progress(
      `still ${rest.sockets} sockets and ${rest.unacknowledged} unacknowledged records, and no fewer: they will break`,
    );
  }

  private async letGo(progress: (sentence: string) => Promise<void>): Promise<void> {
    const { track, watch, sync, ownership } = this.parts;
    track.write('handover');
    const gone = await within(LET_GO_MS_MAX, () => watch.here.length === 0);
    if (!gone) {
      throw new DaemonError(
        'NO_PEER',
        `keepalived has not let go of the address within ${LET_GO_MS_MAX / 1000} s: has its instance a track_file statement for TrackFile?`,
      );
    }
    await ownership.setRole('backup');
    this.setDraining(false);
    await progress('the addresses are gone from this node');
    // Only now may keepalived think well of this node again: before, it could take them back.
    const taken = await within(TAKEN_MS_MAX, () => sync.internal.size === 0);
    await progress(
      taken
        ? 'the peer owns every flow'
        : `${sync.internal.size} flows have not been taken over within ${TAKEN_MS_MAX / 1000} s`,
    );
  }

  private setDraining(on: boolean): void {
    this.drain = on;
    this.parts.datapath.setDraining(on);
  }
}

async function within(ms: number, holds: () => boolean | Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) return false;
    await pause(LOOK_MS);
  }
  return true;
}
