// A takeover measured on the running pair: what stands before it, the move itself, what came of it.
import { placesOf } from '../kernel/announce.js';
import type { Datapath } from '../kernel/datapath.js';
import type { SyncEngine } from '../sync/api.js';
import { pause } from './breath.js';
import type {
  HandoverResult,
  MoveReport,
  OutageReport,
  RehearsalReport,
} from './control/protocol.js';
import type { Handover, Progress } from './handover.js';
import type { Log } from './log.js';
import { Outage } from './outage.js';
import { type Census, census, survey } from './survey.js';
import type { AddressWatch } from './watch.js';

const OUTAGE_MS_MAX = 5000;
/** After that, packets have found their way to the other node. */
const AFTERWARDS_MS = 500;
const LOOK_MS = 5;

export interface RehearsalParts {
  readonly datapath: Datapath;
  readonly sync: SyncEngine;
  readonly node: number;
  readonly nodeName: string;
  readonly handover: Handover;
  readonly watch: AddressWatch;
  readonly log: Log;
  readonly hotStandby: boolean;
}

export class Rehearsal {
  constructor(private readonly parts: RehearsalParts) {}

  /** @param moves false: what a takeover would find, and nothing is moved. Throws DaemonError. */
  async run(moves: boolean, progress: Progress): Promise<RehearsalReport> {
    const { nodeName, handover, watch, log } = this.parts;
    if (moves) handover.recipient(); // what keeps it from beginning is no report
    const { census: found, ...before } = await survey({ ...this.parts, here: watch.here });
    const report = { node: nodeName, at: new Date().toISOString(), before };
    if (!moves) return { ...report, move: null, ok: before.problems.length === 0 };
    const move = await this.move(found, progress);
    const ok = before.problems.length === 0 && move.failed === null && move.lost === 0;
    const result = { ...report, move, ok };
    log.info(result, 'rehearsal');
    return result;
  }

  private async move(found: Census, progress: Progress): Promise<MoveReport> {
    const { handover, datapath, node } = this.parts;
    const outages = this.targets(found);
    const before = new Map(COUNTED.map((name) => [name, datapath.counter(name)]));
    let atGone: ReadonlyMap<string, number> = before;
    let handedOver: HandoverResult | undefined;
    let failed: string | null = null;
    try {
      handedOver = await handover.run(progress, () => {
        const goneAt = performance.now();
        for (const outage of outages) this.begin(outage, goneAt);
        atGone = new Map(COUNTED.map((name) => [name, datapath.counter(name)]));
      });
      await progress('measuring what comes after');
    } catch (error) {
      failed = (error as Error).message;
    }
    const measured = await this.measured(outages, handedOver !== undefined);
    const since = (name: (typeof COUNTED)[number]): number =>
      datapath.counter(name) - (atGone.get(name) ?? 0);
    const dropped = since('guard_held') + since('fenced_unspliced') + since('drop_route');
    const after = await census(datapath, node);
    const kept = handedOver?.entries ?? Math.max(0, found.own - after.own);
    return {
      failed,
      handover: handedOver ?? null,
      kept,
      lost: failed === null ? after.own : 0,
      lost_names: failed === null ? after.names : [],
      not_spliced: after.unfinished,
      outages: measured,
      translated_here: handedOver ? since('translated') : 0,
      dropped_here: handedOver ? dropped : 0,
      stall_ms: stall(handedOver, measured, dropped),
    };
  }

  private targets({ ports }: Census): Outage[] {
    return placesOf(this.parts.watch.here).map(
      (place) => new Outage({ ...place, port: ports.get(place.address) }),
    );
  }

  private begin(outage: Outage, goneAt: number): void {
    try {
      outage.begin(goneAt);
    } catch (error) {
      this.parts.log.warn((error as Error).message);
    }
  }

  private async measured(outages: readonly Outage[], moved: boolean): Promise<OutageReport[]> {
    const deadline = performance.now() + (moved ? OUTAGE_MS_MAX : 0);
    while (performance.now() < deadline && !outages.every(({ over }) => over)) await pause(LOOK_MS);
    if (moved) await pause(AFTERWARDS_MS);
    return outages.map((outage) => outage.end());
  }
}

const COUNTED = ['translated', 'guard_held', 'fenced_unspliced', 'drop_route'] as const;

/**
 * How long a live flow stood still, at most, as far as it can be told from here: not at all where both
 * nodes translated it all the time. null: it cannot be told.
 */
function stall(
  result: HandoverResult | undefined,
  outages: readonly OutageReport[],
  dropped: number,
): number | null {
  if (!result) return null;
  if (result.entries !== null && dropped === 0) return 0;
  const longest = outages.map(({ answered_ms }) => answered_ms);
  return longest.includes(null) ? null : Math.max(0, ...(longest as number[]));
}
