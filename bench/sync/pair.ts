// SPDX-License-Identifier: MIT
/** Pairs side by side: what it takes to replicate, to resynchronise, to dump and to commit N entries. */
import type { Context, Part, Row } from '../bench.js';
import { row } from '../bench.js';
import { median } from '../measure.js';
import type { Arrivals } from './arrivals.js';
import { begin, dump, lags, percentile, replicate, resync, takeOver } from './round.js';
import type { System } from './system.js';
import { PEER, SystemName, Systems } from './systems.js';

const SIZES = [10_000, 100_000];
const ROUNDS = 5;
const CHANGES = 1000;
const CHANGES_QUICK = 300;

interface Metric {
  name(count: string): string;
  unit: string;
  better: 'higher' | 'lower';
  /** Only told, no aim. */
  told?: true;
}

const of = (text: string) => (count: string) => `${text} of ${count}`;
const METRICS = {
  perSecond: { name: of('replication'), unit: 'entries/s', better: 'higher' },
  sender: { name: of('CPU at the sender, replication'), unit: 'µs/entry', better: 'lower' },
  receiver: { name: of('CPU at the receiver, replication'), unit: 'µs/entry', better: 'lower' },
  machine: {
    name: of('CPU of the machine, replication'),
    unit: 'µs/entry',
    better: 'lower',
    told: true,
  },
  octets: { name: of('link, replication'), unit: 'octets/entry', better: 'lower' },
  senderMemory: { name: of('memory at the sender,'), unit: 'octets/entry', better: 'lower' },
  receiverMemory: { name: of('memory at the receiver,'), unit: 'octets/entry', better: 'lower' },
  lagMedian: {
    name: (count) => `lag of one change beside ${count}, median`,
    unit: 'µs',
    better: 'lower',
  },
  lagWorst: {
    name: (count) => `lag of one change beside ${count}, p99`,
    unit: 'µs',
    better: 'lower',
  },
  resync: { name: of('resync on request'), unit: 's', better: 'lower' },
  text: { name: of('dump as text'), unit: 's', better: 'lower' },
  xml: { name: of('dump as XML'), unit: 's', better: 'lower' },
  commit: { name: of('commit'), unit: 's', better: 'lower' },
} satisfies Record<string, Metric>;
type MetricName = keyof typeof METRICS;
type Sample = Record<MetricName, number>;

async function round(context: Context, system: System, arrivals: Arrivals, count: number) {
  await begin(system);
  try {
    const replicated = await replicate(system, arrivals, count);
    const changes = await lags(system, arrivals, context.quick ? CHANGES_QUICK : CHANGES);
    return {
      ...replicated,
      lagMedian: percentile(changes, 0.5),
      lagWorst: percentile(changes, 0.99),
      resync: await resync(system, arrivals, count),
      text: await dump(context.lab, system, 'text', count),
      xml: await dump(context.lab, system, 'xml', count),
      commit: await takeOver(system, count),
    } satisfies Sample;
  } finally {
    await system.stop();
  }
}

function rows(count: number, samples: Map<string, Sample[]>): Row[] {
  const shown = count.toLocaleString('en');
  const of = (system: string, name: MetricName) =>
    median((samples.get(system) ?? []).map((sample) => sample[name]));
  const ours = [...samples.keys()].filter((name) => name !== PEER);
  return (Object.keys(METRICS) as MetricName[]).flatMap((name) => {
    const metric: Metric = METRICS[name];
    return ours.map((system) =>
      row({
        name: metric.name(shown) + (system === SystemName.SEALED ? ', sealed' : ''),
        unit: metric.unit,
        better: metric.better,
        ours: of(system, name),
        peers: { [PEER]: of(PEER, name) },
        aim: metric.told ? {} : { [PEER]: 1 },
      }),
    );
  });
}

export const pair: Part = {
  needs: ['conntrackd', 'clang'],
  async run(context) {
    const systems = Systems.of(context.lab);
    const all: Row[] = [];
    for (const count of SIZES) {
      const samples = new Map<string, Sample[]>(systems.all.map(({ name }) => [name, []]));
      const rounds = context.quick ? 1 : ROUNDS;
      for (let i = 0; i < rounds; i++) {
        const order = i % 2 ? systems.all : [...systems.all].reverse();
        for (const system of order) {
          context.tell(`${count} entries, round ${i + 1} of ${rounds}: ${system.name}`);
          samples.get(system.name)?.push(await round(context, system, systems.arrivals, count));
        }
      }
      all.push(...rows(count, samples));
    }
    return all;
  },
};
