// SPDX-License-Identifier: MIT
/**
 * `npm run nemesis -- --machines`: flows go from one kernel to another and back, each in a machine of its
 * own, with another uptime, another date and other secrets (of sequence numbers and timestamps).
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Lab, LabError } from '../lab/lab.js';
import { build } from '../lab/topology.js';
import { fetchKernel, SUITES } from '../machine/kernels.js';
import { monotonicMs } from '../support/clock.js';
import { MACHINES, Machine } from './machine.js';
import { Traffic } from './traffic.js';
import { sleep, until } from './until.js';
import { flowKey } from './watch.js';

/** So much longer one of them runs, at least. */
const APART_MS = 30_000;
/** Of what the two say of one flow at moments that are not quite the same. */
const SKEW_MS = 20_000;
const NEEDS = ['qemu-system-x86_64=qemu-system-x86', 'busybox=busybox-static', 'depmod=kmod'];

interface Row {
  client: { address: string; port: number };
  virtual: { port: number };
  idle_ms: number;
  timeout_s: number;
  owner: string;
  timestamps: { client: boolean; server: boolean };
}

function rowsOf(text: string): Map<string, Row> {
  const rows = text.split('\n').filter((line) => line.startsWith('{"client"'));
  return new Map(
    rows.map((line) => {
      const row = JSON.parse(line) as Row;
      return [flowKey(row.client.address, row.client.port, row.virtual.port), row];
    }),
  );
}

/** @throws LabError with the first thing that is not as it has to be */
export async function twoKernels(lab: Lab, o: { flows: number; say: (text: string) => void }) {
  const began = monotonicMs();
  const say = (text: string) =>
    o.say(`${((monotonicMs() - began) / 1000).toFixed(1).padStart(6)} s  ${text}`);
  const script = fileURLToPath(new URL('../../setup/install.sh', import.meta.url));
  spawnSync('bash', [script, ...NEEDS], { stdio: ['ignore', 2, 2] });
  const kernel = fetchKernel(SUITES['6.1'], join(MACHINES, '6.1'), false);
  build(lab);
  const traffic = new Traffic(lab);
  await traffic.start();
  const [a, b] = [new Machine(lab, 'lb-a'), new Machine(lab, 'lb-b')];
  const first = a.boot(kernel, '2031-03-01T00:00:00');
  await sleep(APART_MS);
  await Promise.all([first, b.boot(kernel, '2019-11-05T12:00:00')]);
  const [uptimeA, uptimeB] = [await uptime(a), await uptime(b)];
  say(`lb-a is up, in 2031, and lb-b, in 2019, ${Math.round(uptimeA - uptimeB)} s after it`);
  await a.addresses(true);
  const begun = monotonicMs();
  await traffic.begin({ flows: o.flows, rate: 0 });
  await held(b, traffic, 'external');
  const { open } = await traffic.totals();
  say(`${open} flows are spliced on lb-a, and lb-b holds all of them`);
  const rows = await compare(a, b, begun);
  check(
    'timestamps are in use',
    [...rows.values()].every(({ timestamps: t }) => t.client && t.server),
  );

  const taken = monotonicMs();
  await a.addresses(false);
  await b.addresses(true);
  await held(b, traffic, 'internal');
  await moving(traffic, 'by way of lb-b');
  say('all flows go on through lb-b');
  await held(a, traffic, 'external');
  await compare(b, a, taken);

  await b.ask("date -s '2033-01-01' >/dev/null");
  await sleep(2000);
  await b.ask("date -s '2001-01-01' >/dev/null");
  await moving(traffic, "with lb-b's clock set forward and back");
  await compare(b, a, taken);
  say('the clock of lb-b was set 14 years forward, and 32 back');

  b.switchOff();
  await a.addresses(true);
  await held(a, traffic, 'internal');
  await moving(traffic, 'by way of lb-a again');
  say('lb-b lost its power, and all flows go on through lb-a');
  await traffic.end();
  await until('the end of all flows', 60, async () => (await traffic.totals()).open === 0);
  const totals = await traffic.totals();
  for (const { group, lost } of traffic.losses) say(`LOST: ${group}: ${lost}`);
  check('every flow came to its right end', totals.ended === totals.begun && totals.wrong === 0);
  say(`${totals.ended} flows have ended right, ${(totals.bytes / 1e6).toFixed(1)} MB checked`);
}

function check(what: string, holds: boolean): void {
  if (!holds) throw new LabError('ENDED_EARLY', `not so: ${what}`);
}

async function uptime(machine: Machine): Promise<number> {
  return Number.parseFloat(await machine.ask('cat /proc/uptime'));
}

/** Waits until the machine has all flows that are open in this cache. */
async function held(machine: Machine, traffic: Traffic, where: 'internal' | 'external') {
  let found = 0;
  await until(`all flows in the ${where} cache of ${machine.name}`, 120, async () => {
    const { open, begun } = await traffic.totals();
    check('no flow is lost', open === begun);
    found = rowsOf(await machine.splicectl('dump', where, '--json')).size;
    return found === open;
  }).catch(async (error: Error) => {
    const status = await machine.splicectl('status');
    throw new LabError('NOT_READY', `${error.message}, but ${found} are:\n${status}`);
  });
}

/** All groups that have anything to say go on. */
async function moving(traffic: Traffic, how: string): Promise<void> {
  const before = await traffic.progress();
  await until(`all flows to go on ${how}`, 60, async () => {
    const now = await traffic.progress();
    return [...now].every(([name, octets]) => name === 'idle' || octets > (before.get(name) ?? 0));
  });
}

/**
 * What the owner says of each flow's times is what the other one says, whenever either has booted. A copy is
 * as old as the last thing that the owner had to say of the flow: since then it knows of no packet.
 * @param since from when on the owner has the flows
 */
async function compare(owner: Machine, other: Machine, since: number): Promise<Map<string, Row>> {
  const mine = rowsOf(await owner.splicectl('dump', 'kernel', '--json'));
  const theirs = rowsOf(await other.splicectl('dump', 'external', '--json'));
  const older = monotonicMs() - since + SKEW_MS;
  const fits = (ms: number) => ms > -SKEW_MS && ms < older;
  for (const [key, row] of mine) {
    const copy = theirs.get(key);
    check(`${other.name} has a copy of ${key}`, copy !== undefined);
    if (!copy) continue;
    check(
      `${key} has as much time left on both: ${row.timeout_s} s, ${copy.timeout_s} s`,
      fits((row.timeout_s - copy.timeout_s) * 1000),
    );
    check(
      `${key} is idle for as long on both: ${row.idle_ms} ms, ${copy.idle_ms} ms`,
      fits(copy.idle_ms - row.idle_ms),
    );
  }
  return mine;
}
