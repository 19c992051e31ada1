// serial, deadline: 60
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StatusResult } from '../../daemon/control/protocol.js';
import type { Balancer } from '../lab/balancer.js';
import type { Lab } from '../lab/lab.js';
import { Pair } from '../lab/pair.js';
import { whatIsMissing } from '../lab/preflight.js';
import { inLab } from '../lab/run-in-test.js';
import { pullCables, removeInterface, restoreInterface } from '../lab/topology.js';

/*
 *   lb-a: daemon and proxy restarted, in peace and by force; dies ──► lb-b: an interface goes, comes back
 *
 * Transfers begin and run meanwhile. What the restarts have left must be enough for the takeover, and
 * lb-b, alone by then, has nobody who would take over when its interface goes: the addresses go, and
 * come back to the same node. The drawing of the network stands in test/lab/topology.ts.
 */
const FLOWS = 36;
const BYTES = 2 << 20;
const TRANSFER_MS = 5500;
const STARTS_OVER_MS = 2000;
/** For as long as a driver takes to come back. */
const INTERFACE_GONE_MS = 300;

const maintenance = suite('work on a node in service');
const missing = whatIsMissing();
if (missing) console.log(`skipped: ${missing}`);
const test = missing ? maintenance.skip : maintenance;

type Takeover = NonNullable<StatusResult['takeover']>;

interface Account {
  /** Transfers that broke: those that were spliced at any of the steps, or held by lb-b at the end. */
  lost: unknown[];
  /** ... and those that were not, by how they broke: what was being set up when the proxy went. */
  others: Record<string, number>;
  /** Transfers that lived through some or all of it. */
  safe: number;
  /** Those that lb-b had copies of when lb-a died. */
  held: number;
  /** What the daemon of lb-a had taken over when it was primary again, after each restart. */
  restarts: unknown[];
  /** Entries that changed their owner: by the death of lb-a, and by lb-b's interface. */
  moved: { death: number; interface: number };
  /** lb-b had taken over before lb-a died. */
  early: boolean;
}
let service: Account & { resets: number; remains: string[] };

function splicedOn(balancer: Balancer): number[] {
  return [...balancer.statesByPort()].flatMap(([port, state]) => (state === 'SPLICED' ? port : []));
}

/** The first takeover with a higher epoch. */
async function takeoverOn(lab: Lab, balancer: Balancer, after = 0): Promise<Takeover> {
  let found: Takeover | undefined;
  await lab.until(`a takeover on ${balancer.name}`, 10, async () => {
    const takeover = (await balancer.status())?.takeover;
    if (takeover && takeover.epoch > after) found = takeover;
    return found !== undefined;
  });
  return found as Takeover;
}

async function serve(lab: Lab): Promise<Account> {
  const pair = new Pair(lab, {
    family: 'both',
    flows: FLOWS,
    bytes: BYTES,
    bytesPerSecond: Math.ceil((BYTES * 1000) / TRANSFER_MS),
    startsOverMs: STARTS_OVER_MS,
  });
  const { a, b, traffic } = pair;
  await pair.start();
  const ended = traffic.run();
  ended.catch(() => {});
  const safe = new Set<number>();
  const restarts: unknown[] = [];
  const restartDaemon = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    await a.restartDaemon(signal);
    await lab.until('lb-a to be primary', 10, async () => (await a.status())?.role === 'primary');
    restarts.push((await a.status())?.takeover);
  };
  const steps: (() => Promise<void>)[] = [
    () => restartDaemon('SIGTERM'),
    () => a.restartProxy('SIGTERM'),
    () => restartDaemon('SIGKILL'),
    () => a.restartProxy('SIGKILL'),
  ];
  await lab.until('the first transfers', 10, () => splicedOn(a).length > 3);
  for (const step of steps) {
    for (const port of splicedOn(a)) safe.add(port);
    await step();
  }
  await lab.until('copies of all on lb-b', 15, async () => {
    if (traffic.transfers.length < FLOWS) return false;
    const copies = await b.portsHeldFor('lb-a');
    return splicedOn(a).every((port) => copies.includes(port));
  });
  const held = await b.portsHeldFor('lb-a');
  for (const port of held) safe.add(port);
  const early = (await b.status())?.takeover !== null;
  pullCables(lab, 'lb-a');
  lab.killNode('lb-a');
  await pair.movedTo('lb-b');
  const death = await takeoverOn(lab, b);
  removeInterface(lab, 'lb-b', 'servers');
  await new Promise((resolve) => setTimeout(resolve, INTERFACE_GONE_MS));
  restoreInterface(lab, 'lb-b', 'servers');
  await pair.movedTo('lb-b');
  const back = await takeoverOn(lab, b, death.epoch);
  await ended;

  const broken = pair.broken();
  const others: Record<string, number> = {};
  for (const { port, outcome } of broken) {
    if (!safe.has(port)) others[outcome.why] = (others[outcome.why] ?? 0) + 1;
  }
  return {
    lost: broken.filter(({ port }) => safe.has(port)),
    others,
    safe: safe.size,
    held: held.length,
    restarts,
    moved: { death: death.entries, interface: back.entries },
    early,
  };
}

test('all of it comes to its end', async () => {
  service = await inLab(serve);
  console.log(`not spliced when switchd went, and broken: ${JSON.stringify(service.others)}`);
});

test('every transfer that was spliced completes with the right SHA-256', () => {
  assert.equal(service.lost, []);
  // those that begin while there is no proxy are not among them
  assert.ok(service.safe > FLOWS / 3, `${service.safe} were spliced`);
});

test('copies of the transfers that lived when the node died were on the peer', () => {
  assert.ok(service.held > 5, `${service.held} copies`);
});

test('no restart has moved anything: the death is the one change of owner', () => {
  const { death, interface: back } = service.moved;
  assert.not(service.early, 'lb-b has taken over while lb-a lived');
  assert.equal(service.restarts, [null, null]);
  assert.is(back, 0);
  assert.ok(death > 5, `${death} entries by the death`);
});

test('the lab leaves nothing behind', () => {
  assert.equal(service.remains, []);
});

maintenance.run();
