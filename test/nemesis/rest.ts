// SPDX-License-Identifier: MIT
/** What has to be so when all is over: nothing is left, nothing is missing, and everybody lives. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { call, type StatusResult } from '../../daemon/control/index.js';
import { WEB_SERVERS } from '../lab/topology.js';
import { monotonicMs } from '../support/clock.js';
import type { Bed } from './bed.js';
import type { Node } from './node.js';
import { PROGRAMS } from './schedule.js';

export interface Rest {
  /** Sentences; empty when all is as it has to be. */
  readonly wrong: string[];
  /** Counters of the last daemon on each node that tell of something lost. */
  readonly counters: Record<string, number>;
  /** Connections that a RST ended, by the ends' kernels. */
  readonly resets: { client: number; servers: number };
}

/** Requests that wait for an answer give up after half a minute (test/load). */
const ENDED_MS = 45_000;
const EMPTY_S = 40;
const LOOK_MS = 100;
/** Entries that are shown of those that are left. */
const ROWS_MAX = 5;
/** Whatever happens outside, these do not. */
const NEVER = new Set([
  'drop_store',
  'verify_differing',
  'digests_differ',
  'rejected_crc',
  'rejected_length',
  'rejected_magic',
  'commit_invalid',
]);
/** What is lost is counted: said here, for the eye. */
const TOLD = new Set([
  'events_lost',
  'lost_for_good',
  'resend_overflows',
  'beyond_repair',
  'given_up',
  'table_full',
  'commit_table_full',
  'commit_tuple_taken',
  'repaired_datagrams',
  'guard_held',
  'late_reset',
  'local_rst',
  'probe_expired',
  'rejected_duplicate',
]);

export async function atRest(bed: Bed): Promise<Rest> {
  const wrong = bed.ended.map((what) => `${what} has ended by itself`);
  await flowsEnded(bed, wrong);
  await tablesEmpty(bed, wrong);
  for (const node of bed.all) {
    await verified(node, wrong);
    lives(node, wrong);
    sockets(bed, node, wrong);
  }
  const counters: Record<string, number> = {};
  for (const node of bed.all) await countLosses(node, counters, wrong);
  const resets = {
    client: resetsAt(bed, 'client'),
    servers: WEB_SERVERS.reduce((sum, web) => sum + resetsAt(bed, web), 0),
  };
  const lost = bed.traffic.losses.length;
  if (resets.client > lost) {
    wrong.push(`${resets.client} connections of the client were reset, and only ${lost} were lost`);
  }
  return { wrong, counters, resets };
}

async function flowsEnded(bed: Bed, wrong: string[]): Promise<void> {
  const deadline = monotonicMs() + ENDED_MS;
  for (;;) {
    const { open } = await bed.traffic.totals();
    if (open === 0) return;
    if (monotonicMs() > deadline) {
      wrong.push(`${open} flows do not come to an end`);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Neither the kernels nor the caches hold anything: what was known of has ended, and all have heard. */
async function tablesEmpty(bed: Bed, wrong: string[]): Promise<void> {
  const left = async () => {
    const all = await Promise.all(bed.all.map(({ balancer }) => balancer.status()));
    return all.flatMap((status) => {
      return status ? entriesLeft(status) : ['a daemon does not answer'];
    });
  };
  const deadline = monotonicMs() + EMPTY_S * 1000;
  for (;;) {
    const found = await left();
    if (found.length === 0) return;
    if (monotonicMs() > deadline) {
      wrong.push(`entries are left: ${found.join(', ')}`);
      for (const node of bed.all) wrong.push(...rowsOf(node).slice(0, ROWS_MAX));
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Entries by kind; those that a kernel holds for the other node are no flows of its own. */
export function entriesLeft({
  node,
  table,
  internal,
  external,
}: Pick<StatusResult, 'node' | 'table' | 'internal' | 'external'>): string[] {
  const counts = {
    'of its own in the kernel': table.live - table.held,
    'standby in the kernel': table.held,
    'in the internal cache': internal.entries,
    'in the external cache': external.entries,
  };
  return Object.entries(counts).flatMap(([what, n]) => (n > 0 ? `${n} ${what} of ${node}` : []));
}

function rowsOf({ name, balancer }: Node): string[] {
  const text = readFileSync(join(balancer.pinPath, 'table'), 'utf8').trimEnd();
  return text
    .split('\n')
    .slice(1)
    .map((row) => `${name}: ${row.replace(/\s+/g, ' ')}`);
}

async function verified({ balancer, name }: Node, wrong: string[]): Promise<void> {
  const { peers } = await call(balancer.socket, 'verify', {}, {}, {});
  for (const peer of peers) {
    if (peer.outcome !== 'equal') wrong.push(`verify on ${name}: ${peer.name} ${peer.outcome}`);
  }
  if (peers.length === 0) wrong.push(`verify on ${name}: no peer`);
}

function lives(node: Node, wrong: string[]): void {
  for (const program of PROGRAMS) {
    if (!node.runs(program)) wrong.push(`${program} does not run on ${node.name}`);
  }
}

/** Of a process: those that nobody has any more the kernel gives up by itself, as TCP has it. */
function sockets(bed: Bed, { name }: Node, wrong: string[]): void {
  const open = bed.lab.exec(name, 'ss', '-Htanp', 'state', 'connected').split('\n');
  const left = open.filter((line) => line.includes('users:'));
  if (left.length > 0) wrong.push(`${left.length} sockets on ${name}: ${left[0]} ...`);
}

/** Connections that a RST ended: EstabResets of /proc/net/snmp (RFC 1213, tcpEstabResets). */
function resetsAt(bed: Bed, box: string): number {
  const snmp = bed.lab.exec(box, 'cat', '/proc/net/snmp').split('\n');
  const [names, values] = snmp.filter((line) => line.startsWith('Tcp:'));
  return Number(values.split(' ')[names.split(' ').indexOf('EstabResets')]);
}

/** What the daemons have counted since their last start. */
async function countLosses(
  { balancer, name }: Node,
  counters: Record<string, number>,
  wrong: string[],
): Promise<void> {
  const { sections } = await call(balancer.socket, 'stats', {}, {}, {});
  for (const { name: section, values } of sections) {
    for (const [counter, value] of Object.entries(values)) {
      const count = Number(value);
      const where = `${section} ${counter} on ${name}`;
      if (count > 0 && NEVER.has(counter)) wrong.push(`${where}: ${count}`);
      if (count > 0 && TOLD.has(counter)) counters[where] = count;
    }
  }
}
