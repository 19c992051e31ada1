// SPDX-License-Identifier: MIT
/** What each kind of fault does, and how it is healed. */
import { addressOf, type Net } from '../lab/topology.js';
import { monotonicMs } from '../support/clock.js';
import type { Bed } from './bed.js';
import type { Moment } from './judge.js';
import type { Kind, Program, Step } from './schedule.js';

/** Undoes it; resolves when that is done. */
export type Heal = () => void | Promise<void>;
type Fault = (bed: Bed, step: Step) => Heal | Promise<Heal>;

/** A switchd that ends leaves what it relays so much time, and then resets it. */
const RELAYED_MS_MAX = 40_000;
/** Connections at once: as many as fill the table, beside the flows that are there. */
const BURST = 300;

const nothing: Heal = () => {};

function kill(program: Program): Fault {
  return async (bed, { node }) => {
    const one = bed.nodes[node];
    await bed.watch.look();
    const moment = program === 'switchd' ? mark(bed, { kind: 'switchd gone', node }) : undefined;
    if (moment) moment.until = Number.POSITIVE_INFINITY;
    const trouble = program === 'spliced' ? bed.trouble(`spliced of ${node} was killed`) : nothing;
    one.kill(program);
    return async () => {
      await one.ensure(program);
      if (program === 'spliced') await one.answers();
      await trouble();
      if (!moment) return;
      await one.serves();
      moment.until = monotonicMs();
    };
  };
}

function stop(program: Program): Fault {
  return async (bed, { node }) => {
    const one = bed.nodes[node];
    await bed.watch.look();
    const moment = program === 'switchd' ? mark(bed, { kind: 'switchd stopped', node }) : undefined;
    const trouble = program === 'spliced' ? bed.trouble(`spliced of ${node} stood still`) : nothing;
    one.signal(program, 'SIGSTOP');
    return async () => {
      one.signal(program, 'SIGCONT');
      if (moment) moment.until = monotonicMs();
      await trouble();
    };
  };
}

function restart(program: Program): Fault {
  return async (bed, { node }) => {
    await bed.watch.look();
    // it finishes what it has in hand, relayed flows within 30 s: what is left then it resets
    const moment = program === 'switchd' ? mark(bed, { kind: 'switchd gone', node }) : undefined;
    const trouble =
      program === 'spliced' ? bed.trouble(`spliced of ${node} was restarted`) : nothing;
    await bed.nodes[node].restart(program);
    if (moment) moment.until = monotonicMs() + RELAYED_MS_MAX;
    await trouble();
    if (program === 'switchd') await bed.nodes[node].serves();
    return nothing;
  };
}

function link(net: Net, how: (bed: Bed, step: Step) => Heal): Fault {
  return (bed, step) => {
    const trouble = net === 'sync' ? bed.trouble(`the sync link: ${step.kind}`) : nothing;
    const heal = how(bed, step);
    return async () => {
      await heal();
      await trouble();
    };
  };
}

const cut = (net: Net): Fault => link(net, (bed, { node }) => bed.fabric.cut(node, net));
const block = (net: Net): Fault =>
  link(net, (bed, { node, way }) => bed.fabric.block(node, net, way));

/** A flow goes on only where its server does: so these lose what they have. */
async function killWeb(bed: Bed, { web }: Step): Promise<Heal> {
  await bed.watch.look();
  const servers = (['4', '6'] as const).map((family) => addressOf(web, 'servers', family));
  const moment = mark(bed, { kind: 'web server gone', servers });
  bed.traffic.signalServer(web, 'SIGKILL');
  return async () => {
    await bed.traffic.startServer(web);
    moment.until = monotonicMs();
  };
}

function stopWeb(bed: Bed, { web }: Step): Heal {
  bed.traffic.signalServer(web, 'SIGSTOP');
  return () => bed.traffic.signalServer(web, 'SIGCONT');
}

async function fillTable(bed: Bed): Promise<Heal> {
  const moment = mark(bed, { kind: 'table full' });
  const end = await bed.traffic.burst(BURST);
  return async () => {
    await end();
    moment.until = monotonicMs();
  };
}

function freezeNode(bed: Bed, { node }: Step): Heal {
  const trouble = bed.trouble(`${node} stood still`);
  const moment = mark(bed, { kind: 'switchd stopped', node });
  bed.nodes[node].freeze(true);
  return () => {
    bed.nodes[node].freeze(false);
    moment.until = monotonicMs();
    return trouble();
  };
}

async function crashNode(bed: Bed, { node, forgets }: Step): Promise<Heal> {
  const one = bed.nodes[node];
  if (!one.alive) return nothing;
  await bed.watch.look();
  mark(bed, { kind: 'node crashed', node });
  const trouble = bed.trouble(`${node} had crashed`);
  one.crash();
  return async () => {
    await one.comeBack(forgets);
    await trouble();
  };
}

/** By whichever node has the addresses; it may well be refused. */
async function handover(bed: Bed): Promise<Heal> {
  await bed.watch.look();
  const [node] = bed.watch.holders;
  if (node === undefined) return nothing;
  try {
    await bed.nodes[node].balancer.splicectl('handover');
    bed.say(`handed over by ${node}`);
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim().split('\n').pop() ?? `${error}`;
    bed.say(`no handover by ${node}: ${said}`);
  }
  return nothing;
}

function mark(bed: Bed, what: Omit<Moment, 'from' | 'until'>): Moment {
  const from = monotonicMs();
  const moment = { ...what, from, until: from };
  bed.moments.push(moment);
  return moment;
}

export const FAULTS: Record<Kind, Fault> = {
  'kill-spliced': kill('spliced'),
  'stop-spliced': stop('spliced'),
  'restart-spliced': restart('spliced'),
  'kill-switchd': kill('switchd'),
  'stop-switchd': stop('switchd'),
  'restart-switchd': restart('switchd'),
  'kill-keepalived': kill('keepalived'),
  'stop-keepalived': stop('keepalived'),
  'restart-keepalived': restart('keepalived'),
  'kill-web': killWeb,
  'stop-web': stopWeb,
  'cut-sync': cut('sync'),
  'cut-clients': cut('clients'),
  'cut-servers': cut('servers'),
  'block-sync': block('sync'),
  'block-clients': block('clients'),
  'block-servers': block('servers'),
  'lose-sync': link('sync', (bed, { node, share }) => bed.fabric.lose(node, 'sync', share)),
  'double-sync': link('sync', (bed, { node, share }) => bed.fabric.double(node, share)),
  'reorder-sync': link('sync', (bed, { node, share }) => bed.fabric.delay(node, share)),
  'fill-table': fillTable,
  'fill-disk': (bed, { node }) => bed.nodes[node].fillDisk(),
  'freeze-node': freezeNode,
  'crash-node': crashNode,
  handover,
};
