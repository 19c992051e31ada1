// SPDX-License-Identifier: MIT
/** The pairs that are compared, and what is told of their takeovers. */
import type { Lab } from '../../test/lab/lab.js';
import { type Row, row } from '../bench.js';
import { median } from '../measure.js';
import { ConntrackdPair } from './conntrackd.js';
import type { Pair } from './pair.js';
import type { Sample } from './round.js';
import { SplicedPair } from './spliced.js';

export const HOT = 'ours';
export const COMMIT = 'commit';
export const PEER = 'conntrackd';
export const NEEDS = ['conntrackd', 'ucarp', 'clang', 'nft=nftables', 'arping=iputils-arping'];

/** How much longer than the outage a transfer may stand still. */
const BEYOND_OUTAGE_MS = 50;
const TABLE_SIZE = 262_144;

/** Names of namespaces are short, so a pair's is not its row's. */
const PAIRS: Record<string, (lab: Lab) => Pair> = {
  [HOT]: (lab) => new SplicedPair(lab, 'hot', { hot: true, tableSize: TABLE_SIZE }),
  [COMMIT]: (lab) => new SplicedPair(lab, 'cold', { hot: false, tableSize: TABLE_SIZE }),
  [PEER]: (lab) => new ConntrackdPair(lab, 'ct'),
};
export const SYSTEMS = Object.keys(PAIRS);

const opened = new WeakMap<Lab, Map<string, Promise<Pair>>>();

/** That of a lab: made the first time, the same for all parts of a bench. */
export function pairOf(lab: Lab, system: string): Promise<Pair> {
  const pairs = opened.get(lab) ?? new Map<string, Promise<Pair>>();
  opened.set(lab, pairs);
  const pair = pairs.get(system) ?? openPair(PAIRS[system](lab));
  pairs.set(system, pair);
  return pair;
}

async function openPair(pair: Pair): Promise<Pair> {
  await pair.open();
  return pair;
}

type Metric = Exclude<keyof Sample, 'of' | 'told'>;
const METRICS: [Metric, name: string, unit: string, better: Row['better']][] = [
  ['kept', 'flows kept', 'flows', 'higher'],
  ['resets', 'resets seen', 'RST', 'lower'],
  ['outage', 'outage', 'ms', 'lower'],
  ['takeover', 'address to first packet', 'ms', 'lower'],
  ['messages', 'messages of a live flow in 10 s', '', 'higher'],
  ['stallMedian', 'stall, median', 'ms', 'lower'],
  ['stallWorst', 'stall, p99', 'ms', 'lower'],
];

/** What no takeover of ours may be beyond. */
function limitOf(metric: Metric, samples: readonly Sample[]): number | undefined {
  if (metric === 'kept') return median(samples.map((sample) => sample.of));
  if (metric === 'resets') return 0;
  if (metric === 'messages') return 1;
  if (metric !== 'stallWorst') return undefined;
  return median(samples.map((sample) => sample.outage)) + BEYOND_OUTAGE_MS;
}

/** Ours beside the peer; and ours without hot standby in rows of its own. @param what takes over, of what */
export function rows(what: string, samples: ReadonlyMap<string, readonly Sample[]>): Row[] {
  const of = (system: string, metric: Metric) =>
    median((samples.get(system) ?? []).map((sample) => sample[metric]));
  const ours = [HOT, COMMIT].filter((system) => samples.has(system));
  return METRICS.flatMap(([metric, name, unit, better]) =>
    ours.map((system) => {
      const peers: Record<string, number> = {};
      if (samples.has(PEER)) peers[PEER] = of(PEER, metric);
      const limit = limitOf(metric, samples.get(system) ?? []);
      if (limit !== undefined) peers.limit = limit;
      const suffix = system === COMMIT ? ', commit' : '';
      return row({
        name: `${name}, ${what}${suffix}`,
        unit,
        better,
        ours: of(system, metric),
        peers,
        aim: Object.fromEntries(
          // How much is sent is the load's doing, and no merit.
          Object.keys(peers)
            .filter((peer) => metric !== 'messages' || peer !== PEER)
            .map((peer) => [peer, 1]),
        ),
      });
    }),
  );
}
