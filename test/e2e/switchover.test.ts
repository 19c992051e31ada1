// serial, deadline: 60
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { whatIsMissing } from '../lab/preflight.js';
import { type LabRun, runTakeover } from '../lab/run-in-test.js';

// The drawing of the network stands in test/lab/topology.ts.
const switchover = suite('takeover: the active load balancer is told to hand over');
const missing = whatIsMissing();
if (missing) console.log(`skipped: ${missing}`);
const test = missing ? switchover.skip : switchover;
let run: LabRun;

test('the lab runs to its end', async () => {
  run = await runTakeover('switchover');
  assert.is(run.result.flows, 60, run.told.join('\n'));
});

test('no transfer breaks at all', () => {
  assert.is(run.result.broken, 0, JSON.stringify(run.result));
  assert.is(run.result.completed, 60);
});

test('the peer held a copy of every transfer under way', () => {
  const { live_at_takeover, replicated_at_takeover } = run.result;
  assert.ok(live_at_takeover > 30, JSON.stringify(run.result));
  assert.ok(replicated_at_takeover > 30, JSON.stringify(run.result));
});

test('... of each family, and of IPv6 clients of IPv4 servers', () => {
  const { by_family } = run.result;
  assert.equal(Object.keys(by_family), ['4-4', '6-6', '6-4']);
  for (const [family, part] of Object.entries(by_family)) {
    assert.ok(part.replicated_at_takeover > 8, `${family}: ${JSON.stringify(part)}`);
    assert.is(part.completed, part.flows, `${family}: ${JSON.stringify(part)}`);
  }
});

test('no connection is answered by a RST', () => {
  assert.is(run.resets, 0);
});

test('the lab leaves nothing behind', () => {
  assert.equal(run.remains, []);
});

switchover.run();
