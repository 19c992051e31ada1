// SPDX-License-Identifier: MIT
/** Traffic by way of each system in turn, and what it cost the machine. */
import { type Context, type Part, type Row, row } from '../bench.js';
import { type Duration, type Load, type Look, look, median } from '../measure.js';
import type { Family } from './bed.js';
import { download, request } from './loads.js';
import { SYSTEMS, type SystemName, Systems } from './systems.js';

const PEERS = ['forwarding', 'haproxy'] as const;
const NEEDS = ['haproxy', 'iperf3', 'wrk', 'ethtool'];
const GB = 1e9;

interface Cell {
  name: string;
  offload?: boolean;
  start(systems: Systems, system: SystemName): Promise<Load>;
  rows(looks: Looks): Row[];
}

type Looks = Record<SystemName, Look[]>;

/** All systems after one another, then all again: what disturbs the machine disturbs each of them. */
async function interleave(
  { lab, tell }: Context,
  cells: Cell[],
  rounds: number,
  duration: Duration,
): Promise<Row[]> {
  const systems = await Systems.of(lab);
  const looks = cells.map((): Looks => ({ direct: [], forwarding: [], haproxy: [], ours: [] }));
  for (let round = 0; round < rounds; round++) {
    for (const [at, cell] of cells.entries()) {
      tell(`${cell.name}, round ${round + 1} of ${rounds}`);
      systems.bed.offload(cell.offload ?? true);
      for (let i = 0; i < SYSTEMS.length; i++) {
        const system = SYSTEMS[(i + round) % SYSTEMS.length];
        await systems.choose(system);
        looks[at][system].push(await look(() => cell.start(systems, system), duration));
      }
    }
  }
  systems.bed.offload(true);
  return cells.flatMap((cell, at) => cell.rows(looks[at]));
}

function pick(value: (system: SystemName) => number) {
  const peers = Object.fromEntries(PEERS.map((peer) => [peer, value(peer)]));
  return { ours: value('ours'), peers };
}

/** What a unit of work costs by way of a system beyond what it costs without a balancer. */
function ownCost(looks: Looks, system: SystemName): number {
  return median(looks[system].map((one, round) => one.cpuEach - looks.direct[round].cpuEach));
}

function established(streams: number, offload: boolean, family: Family): Cell {
  const name = [
    `${streams} ${streams === 1 ? 'stream' : 'streams'}`,
    offload ? 'GSO' : 'no GSO',
    ...(family === 6 ? ['IPv6'] : []),
  ].join(', ');
  return {
    name,
    offload,
    start: (systems, system) => download(systems, system, { streams, family }),
    rows: (looks) => [
      row({
        name,
        unit: 'Gbit/s',
        better: 'higher',
        ...pick((system) => (median(looks[system].map((l) => l.perSecond)) * 8) / GB),
        aim: { forwarding: 1 },
      }),
      row({
        name: `${name}: CPU`,
        unit: 's/GB',
        better: 'lower',
        ...pick((system) => median(looks[system].map((l) => l.cpuEach)) * GB),
        aim: { forwarding: 1 },
      }),
      row({
        name: `${name}: CPU of the balancer's own`,
        unit: 's/GB',
        better: 'lower',
        ...pick((system) => ownCost(looks, system) * GB),
        aim: { forwarding: 1, haproxy: 1.5 },
      }),
    ],
  };
}

function requests(name: string, connections: number, keep: boolean, aimed: boolean): Cell {
  return {
    name,
    start: (systems, system) => request(systems, system, { connections, keep }),
    rows: (looks) => [
      row({
        name,
        unit: '1/s',
        better: 'higher',
        ...pick((system) => median(looks[system].map((l) => l.perSecond))),
        aim: aimed ? { forwarding: 1 } : {},
      }),
      row({
        name: `${name}: CPU`,
        unit: 'µs each',
        better: 'lower',
        ...pick((system) => median(looks[system].map((l) => l.cpuEach)) * 1e6),
        aim: aimed ? { forwarding: 1 } : {},
      }),
      row({
        name: `${name}: CPU of the balancer's own`,
        unit: 'µs each',
        better: 'lower',
        ...pick((system) => ownCost(looks, system) * 1e6),
        aim: aimed ? { forwarding: 1, haproxy: 1.5 } : {},
      }),
    ],
  };
}

function part(cells: Cell[], rounds: number, windowMs: number): Part {
  return {
    needs: NEEDS,
    run: (context) =>
      context.quick
        ? interleave(context, cells, 1, { warmupMs: 100, windowMs: windowMs / 2 })
        : interleave(context, cells, rounds, { warmupMs: 200, windowMs }),
  };
}

/** Connections that carry on for long, spliced before the measuring begins. */
export const throughput = part(
  [
    established(1, true, 4),
    established(8, true, 4),
    established(1, false, 4),
    established(8, false, 4),
    established(1, true, 6),
    established(1, false, 6),
  ],
  7,
  800,
);
export const keepAlive = part([requests('keep-alive requests', 64, true, true)], 7, 1000);
/** Each connection is accepted, connected on and spliced for one small object: all set-up. */
export const connections = part([requests('new connections', 64, false, false)], 5, 1000);
