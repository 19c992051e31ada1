// What the peers own becomes this node's, in its kernel and on the link: the part of a takeover that
// costs time for each entry. With hot standby it is done in the background: claims.ts.
import type { Datapath } from '../kernel/datapath.js';
import { Result, type ResultName } from '../kernel/record/layout.js';
import type { SyncEngine } from '../sync/api.js';
import { Breath, turn } from './breath.js';
import type { CommitResult } from './control/protocol.js';
import type { Standby } from './standby.js';

/** Datagrams that have arrived already belong to what is committed: they are taken in first. */
const DRAIN_TURNS_MAX = 200;
/** Turns of the event loop without a datagram after which none is waiting. */
const QUIET_TURNS = 2;

const RESULT_NAMES = Object.fromEntries(
  Object.entries(Result).map(([name, value]) => [value, name as ResultName]),
);

export interface CommitParts {
  readonly datapath: Datapath;
  readonly sync: SyncEngine;
  readonly standby: Standby;
  /** What a committed entry gets; 0: what it had. */
  readonly commitTimeoutMs: () => number;
  /** Datagrams received so far. */
  readonly datagrams: () => number;
}

/** What has become of a plan so far. */
export interface Taken {
  committed: number;
  /** By the kernel's reason. */
  readonly refused: Partial<Record<ResultName, number>>;
}

/**
 * @param peer node id: only what this peer owns
 * @returns how many are this node's now, and how many the kernel refused, by reason
 */
export async function commit(
  parts: CommitParts,
  peer: number | undefined,
): Promise<Pick<CommitResult, 'committed' | 'refused'>> {
  const taken: Taken = { committed: 0, refused: {} };
  await drain(parts.datagrams);
  parts.standby.flush();
  const breath = new Breath();
  for (const due of putIn(parts, parts.sync.plan(peer, parts.commitTimeoutMs()), taken, breath)) {
    if (due) await breath.take();
  }
  return taken;
}

/**
 * Puts a plan into the kernel, a chunk at each step. Yields true when the time of this turn is up: nothing is
 * under way then, and a datagram may change what was planned.
 * @param known only where the kernel has the splice already
 */
export function* putIn(
  { datapath, sync }: Pick<CommitParts, 'datapath' | 'sync'>,
  plan: Iterable<Uint8Array>,
  taken: Taken,
  breath: Breath,
  known = false,
): Generator<boolean, void, void> {
  const insertion = datapath.table.insertion(
    (records, results) => {
      taken.committed += sync.committed(records, results);
      count(results, taken.refused);
    },
    { known },
  );
  for (const chunk of plan) {
    const last = breath.due;
    insertion.put(chunk, last);
    if (last) insertion.finish();
    yield last;
  }
  insertion.finish();
}

/** Datagrams that have arrived by now have been taken in when this is over. */
export async function drain(datagrams: () => number): Promise<void> {
  let quiet = 0;
  for (let i = 0; i < DRAIN_TURNS_MAX && quiet < QUIET_TURNS; i++) {
    const before = datagrams();
    await turn();
    quiet = datagrams() === before ? quiet + 1 : 0;
  }
}

function count(results: Uint32Array, into: Taken['refused']): void {
  for (const result of results) {
    if (result === Result.OK) continue;
    const name = RESULT_NAMES[result] ?? 'INVALID';
    into[name] = (into[name] ?? 0) + 1;
  }
}
