import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { account, holds, percentiles } from '../lab/account.js';
import { USED } from '../lab/services.js';
import type { Transfer } from '../lab/transfer.js';

const DEATH = 1000;

/** As much of a transfer as the account looks at. */
function transfer(port: number, o: Partial<Transfer>): Transfer {
  const usual = {
    kind: 'download',
    service: USED[4][0],
    begun: 0,
    firstByteAt: 10,
    ended: 2000,
    stall: 400,
    bytes: 10,
  };
  return { port, outcome: { ok: true }, ...usual, ...o } as Transfer;
}

const broken: Partial<Transfer> = { outcome: { ok: false, why: 'reset', said: '' } };

function of(transfers: Transfer[], mode: 'crash' | 'switchover' = 'crash') {
  const takeover = { at: DEATH, held: new Set([1]), states: new Map([[2, 'PRE_SPLICED']]) };
  return account(transfers, takeover, { mode, family: 'both', takeoverMs: 371.4, guardHeld: 0 });
}

const accounts = suite('account of a takeover');

accounts(
  'a broken transfer whose record the peer held is counted as such, and fails the run',
  () => {
    const result = of([transfer(1, broken), transfer(2, {})]);
    assert.is(result.broken, 1);
    assert.is(result.broken_replicated, 1);
    assert.equal(result.unreplicated, {});
    assert.not(holds(result));
  },
);

accounts('the other broken ones are counted by how far their splice was', () => {
  const result = of([
    transfer(2, broken),
    transfer(3, broken),
    transfer(4, { ...broken, begun: 1500 }),
    transfer(5, { ...broken, ended: 500 }),
  ]);
  assert.equal(result.unreplicated, {
    PRE_SPLICED: 1,
    NOT_SPLICED: 1,
    BEGUN_AFTER: 1,
    ENDED_BEFORE: 1,
  });
  assert.is(result.broken_replicated, 0);
  assert.ok(holds(result));
});

accounts('a switchover may break none at all', () => {
  assert.not(holds(of([transfer(3, broken)], 'switchover')));
  assert.ok(holds(of([transfer(3, {})], 'switchover')));
});

accounts('pauses are those of transfers that were under way and came through', () => {
  const result = of([
    transfer(1, { stall: 300 }),
    transfer(3, { ...broken, stall: 9000 }),
    transfer(4, { begun: 1500, stall: 8000 }),
  ]);
  assert.equal(result.stall_ms, { p50: 300, p99: 300, max: 300 });
  assert.is(result.live_at_takeover, 2);
  assert.is(result.replicated_at_takeover, 1);
});

accounts('who had no byte yet has not paused, but waited', () => {
  const result = of([transfer(1, {}), transfer(3, { begun: 900, firstByteAt: 2000, stall: 1100 })]);
  assert.is(result.stall_ms.max, 400);
  assert.equal(result.begun_in_gap, { flows: 1, wait_ms: { p50: 1100, p99: 1100, max: 1100 } });
});

accounts('each family has an account of its own', () => {
  const [v4, v6, mixed] = USED.both;
  const { by_family } = of([
    transfer(1, { service: v4 }),
    transfer(1, { ...broken, service: v6 }),
    transfer(2, { ...broken, service: v6 }),
    transfer(3, { service: mixed, begun: 1500 }),
  ]);
  const counts = USED.both.map(({ name }) => {
    const part = by_family[name];
    return [
      name,
      part?.flows,
      part?.completed,
      part?.replicated_at_takeover,
      part?.broken_replicated,
    ];
  });
  assert.equal(counts, [
    ['4-4', 1, 1, 1, 0],
    ['6-6', 2, 0, 1, 1],
    ['6-4', 1, 1, 0, 0],
  ]);
});

accounts('percentiles are of the nearest rank', () => {
  assert.equal(percentiles([]), { p50: 0, p99: 0, max: 0 });
  assert.equal(percentiles([5]), { p50: 5, p99: 5, max: 5 });
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.equal(percentiles(hundred), { p50: 50, p99: 99, max: 100 });
});

accounts.run();
