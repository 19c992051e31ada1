// SPDX-License-Identifier: MIT
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { BalancerName } from '../lab/topology.js';
import { explain, type Loss, type Moment, type Trouble } from './judge.js';
import type { History, Span } from './watch.js';

const test = suite('judge of lost flows');
const KEY = '10.1.0.10:40001';
const DEATH = 100_000;

const span = (node: BalancerName, from: number, until: number): Span => ({ node, from, until });

/** A flow of lb-a, spliced there until `until`, that lb-b held from `heldFrom` on. */
function flow(spliced: number, heldFrom: number | undefined, until = DEATH): History {
  const here = span('lb-a', spliced, until);
  const there = heldFrom === undefined ? [] : [span('lb-b', heldFrom, DEATH + 20_000)];
  return { known: [here], spliced: [here], held: [here, ...there], server: '10.2.0.11' };
}

function why(
  history: History | undefined,
  o: { loss?: Partial<Loss>; moments?: Partial<Moment>[]; troubles?: Trouble[] },
): string | undefined {
  const loss = { key: KEY, what: 'down', error: 'ECONNRESET', began: 50_000, ended: DEATH + 3000 };
  const moment = { kind: 'node crashed', node: 'lb-a', from: DEATH, until: DEATH } as Moment;
  return explain(
    { ...loss, ...o.loss },
    {
      flows: new Map(history ? [[KEY, history]] : []),
      moments: (o.moments ?? [{}]).map((change) => ({ ...moment, ...change })),
      troubles: o.troubles ?? [],
    },
  );
}

test('a flow that the peer held when its node died was promised', () => {
  assert.is(why(flow(50_000, 51_000), {}), undefined);
});

test('one that was spliced a moment before the death was not', () => {
  assert.is(why(flow(DEATH - 500, undefined), {}), 'not replicated yet: node crashed');
});

test('one that was spliced for long, and still not held, needs a reason', () => {
  const cut = { what: 'the sync link: cut-sync', from: DEATH - 30_000, until: DEATH - 1000 };
  assert.is(why(flow(60_000, undefined), {}), undefined);
  assert.is(
    why(flow(60_000, undefined), { troubles: [cut] }),
    'not replicated (the sync link: cut-sync): node crashed',
  );
  const longAgo = { ...cut, until: DEATH - 20_000 };
  assert.is(why(flow(60_000, undefined), { troubles: [longAgo] }), undefined);
});

test('one that was not spliced dies with the proxy, the node and the address', () => {
  for (const kind of ['switchd gone', 'node crashed', 'addresses moved'] as const) {
    assert.is(why(undefined, { moments: [{ kind }] }), `not spliced: ${kind}`);
    const later = flow(DEATH + 2000, undefined, DEATH + 2500);
    assert.is(why(later, { moments: [{ kind }] }), `not spliced yet: ${kind}`);
  }
});

test('what is spliced does not die with the proxy', () => {
  assert.is(why(flow(50_000, 51_000), { moments: [{ kind: 'switchd gone' }] }), undefined);
  assert.is(why(flow(50_000, undefined), { moments: [{ kind: 'switchd gone' }] }), undefined);
});

test('a web server takes its own flows with it, and no others', () => {
  const gone = (server: string) => ({ kind: 'web server gone' as const, servers: [server] });
  assert.is(
    why(flow(50_000, 51_000), { moments: [gone('10.2.0.11')] }),
    'its web server was killed',
  );
  assert.is(why(flow(50_000, 51_000), { moments: [gone('10.2.0.12')] }), undefined);
});

test('while both have the addresses, what only one of them knows may be reset by the other', () => {
  const both = { kind: 'addresses on both' as const, from: DEATH, until: DEATH + 2000 };
  assert.is(why(flow(50_000, 51_000, DEATH + 3000), { moments: [both] }), undefined);
  assert.is(
    why(flow(DEATH + 500, undefined, DEATH + 3000), { moments: [both] }),
    'not replicated yet: addresses on both',
  );
});

test('nothing explains wrong bytes, nor a loss to which nothing has happened', () => {
  assert.is(why(undefined, { loss: { error: 'wrong bytes' } }), undefined);
  assert.is(why(flow(50_000, 51_000), { moments: [] }), undefined);
  const longAfter = { loss: { began: DEATH + 200_000, ended: DEATH + 201_000 } };
  assert.is(why(undefined, longAfter), undefined);
});

test.run();
