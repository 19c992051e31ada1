// serial, deadline: 60
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { call, type RehearsalReport } from '../../daemon/control/index.js';
import type { Balancer } from '../lab/balancer.js';
import type { Lab } from '../lab/lab.js';
import { Pair } from '../lab/pair.js';
import { whatIsMissing } from '../lab/preflight.js';
import { inLab } from '../lab/run-in-test.js';
import { forgetAddresses, plugCables, pullCables } from '../lab/topology.js';

/*
 *   lb-a ── dies ──► lb-b ── hands over ──► lb-a, back with the table that it died with
 *
 * The same transfers run all the way. The drawing of the network stands in test/lab/topology.ts.
 */
const FLOWS = 40;
const BYTES = 4 << 20;
const BYTES_PER_SECOND = BYTES / 8;

const failback = suite('there and back');
const missing = whatIsMissing();
if (missing) console.log(`skipped: ${missing}`);
const test = missing ? failback.skip : failback;

type Status = NonNullable<Awaited<ReturnType<Balancer['status']>>>;
interface Journey {
  broken: unknown[];
  /** How lb-b handed over to lb-a. */
  rehearsal: RehearsalReport;
  /** lb-b's takeover, when those that stood still had been nudged. */
  takeover: Status['takeover'];
  /** How lb-a stood when it had come back, and both at the end of the journey. */
  returned: Status | undefined;
  ended: (Status | undefined)[];
}
let journey: Journey & { resets: number; remains: string[] };

async function travel(lab: Lab): Promise<Journey> {
  const pair = new Pair(lab, {
    family: 'both',
    flows: FLOWS,
    bytes: BYTES,
    bytesPerSecond: BYTES_PER_SECOND,
    startsOverMs: 1000,
  });
  const { a, b, traffic } = pair;
  await pair.start();
  const ended = traffic.run();
  await lab.until(
    'copies of all on lb-b',
    10,
    async () => (await b.status())?.external.entries === FLOWS,
  );

  await lab.until('lb-a to have told of busy flows', 10, async () => {
    const { sections } = await call(b.socket, 'stats', { what: 'network' });
    return Number(sections[0]?.values.busy_heard) > 0;
  });
  pullCables(lab, 'lb-a');
  lab.killNode('lb-a');
  await pair.movedTo('lb-b');
  await lab.until(
    'all in the kernel of lb-b',
    10,
    async () => (await b.status())?.table.live === FLOWS,
  );

  await lab.until('lb-b to have nudged', 10, async () =>
    Boolean((await b.status())?.takeover?.nudged),
  );
  const takeover = (await b.status())?.takeover ?? null;

  forgetAddresses(lab, 'lb-a');
  plugCables(lab, 'lb-a');
  a.startDaemon();
  await a.ready();
  a.startProxy();
  pair.manager.start(a);
  await lab.until('copies of all on lb-a', 10, async () => {
    const status = await a.status();
    return status?.role === 'backup' && status.in_sync && status.external.entries === FLOWS;
  });
  const returned = await a.status();
  const rehearsal = JSON.parse(await b.splicectl('rehearse', '--yes', '--json'));
  await pair.movedTo('lb-a');
  await ended;
  // Its script comes by way of keepalived, which says "fault" first.
  await lab.until('lb-b to stand by', 30, async () => (await b.status())?.role === 'backup');
  return {
    broken: pair.broken(),
    rehearsal,
    takeover,
    returned,
    ended: [await a.status(), await b.status()],
  };
}

test('the journey comes to its end', async () => {
  journey = await inLab(travel);
});

test('a node that comes back with the table it died with gives way to the owner', () => {
  const { live, held } = journey.returned?.table ?? { live: -1, held: 0 };
  assert.is(live, held, 'what it has left is held for its owner');
  assert.is(journey.returned?.internal.entries, 0);
});

test('after a crash those that stand still are nudged', () => {
  // how many had data under way when lb-a last looked is chance; that it tells lb-b was waited for
  const { asked = 0, busy = 0, owed = 0, moved = 0 } = journey.takeover?.nudged ?? {};
  const why = JSON.stringify(journey.takeover);
  assert.ok(owed > 0 && moved > 0 && busy <= asked && asked <= FLOWS, why);
});

test('it hands over by a rehearsal, which finds nothing lost and sees the peer answer', () => {
  const { ok, move } = journey.rehearsal;
  assert.equal([ok, move?.failed, move?.lost], [true, null, 0], JSON.stringify(journey.rehearsal));
  assert.ok((move?.kept ?? 0) > 0);
  for (const { address, answered_ms } of move?.outages ?? []) {
    assert.ok(answered_ms !== null, `nobody answered for ${address}`);
  }
});

test('after a planned takeover nobody gets an error', () => {
  const nudged = journey.ended[0]?.takeover?.nudged;
  assert.is(nudged?.errors ?? 0, 0, JSON.stringify(journey.ended[0]?.takeover));
});

test('each takeover has its epoch, and both nodes know the last one', () => {
  const [a, b] = journey.ended;
  assert.equal([a?.role, b?.role], ['primary', 'backup']);
  assert.is(a?.epoch, b?.epoch);
  assert.ok((a?.epoch ?? 0) >= 2, `${a?.epoch}`);
});

test('every transfer that was there for both takeovers completes with the right SHA-256', () => {
  assert.equal(journey.broken, []);
});

test('no connection is answered by a RST', () => {
  assert.is(journey.resets, 0);
});

test('the lab leaves nothing behind', () => {
  assert.equal(journey.remains, []);
});

failback.run();
