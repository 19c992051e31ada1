// What the peers own becomes this node's, in its kernel and on the link: the part of a takeover that
// costs time for each entry.
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

/**
 * @param peer node id: only what this peer owns
 * @returns how many are this node's now, and how many the kernel refused, by reason
 */
export async function commit(
  parts: CommitParts,
  peer: number | undefined,
): Promise<Pick<CommitResult, 'committed' | 'refused'>> {
  const { datapath, sync, standby } = parts;
  const refused: Partial<Record<ResultName, number>> = {};
  let committed = 0;
  await drain(parts.datagrams);
  standby.flush();
  const breath = new Breath();
  const insertion = datapath.table.insertion((records, results) => {
    committed += sync.committed(records, results);
    count(results, refused);
  });
  for (const chunk of sync.plan(peer, parts.commitTimeoutMs())) {
    const last = breath.due;
    insertion.put(chunk, last);
    if (!last) continue;
    insertion.finish(); // a datagram may change what was planned: nothing is under way when one comes
    await breath.take();
  }
  insertion.finish();
  return { committed, refused };
}

async function drain(datagrams: () => number): Promise<void> {
  let quiet = 0;
  for (let i = 0; i < DRAIN_TURNS_MAX && quiet < QUIET_TURNS; i++) {
    const before = datagrams();
    await turn();
    quiet = datagrams() === before ? quiet + 1 : 0;
  }
}

function count(results: Uint32Array, into: Partial<Record<ResultName, number>>): void {
  for (const result of results) {
    if (result === Result.OK) continue;
    const name = RESULT_NAMES[result] ?? 'INVALID';
    into[name] = (into[name] ?? 0) + 1;
  }
}
