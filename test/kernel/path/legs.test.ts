// SPDX-License-Identifier: MIT
// deadline: 90
/** Legs that have not negotiated the same, over real paths; see the drawing in network.ts. */
import * as assert from 'uvu/assert';
import { isolateOrSkip } from '../../support/isolate.js';
import { type Families, nameOf, SAME } from './flow.js';
import { SIDES } from './network.js';
import { stage } from './stage.js';
import { finish, transfer, WAYS } from './transfer.js';

await isolateOrSkip(import.meta.url);

/** Times what is needed on an idle machine: a stall of TCP takes 200 ms at least, a collapse seconds. */
const CLEAN_MS = 1000;
const LOSSY_MS = 5000;
const { network, flows, test, run } = stage('legs that differ');

/** Up, down and to the end, over flows of these families side by side. */
async function all(
  kinds: Families[],
  { length, ms, refusal }: { length: number; ms: number; refusal?: string | undefined },
): Promise<void> {
  const one = async (families: Families) => {
    const flow = await flows.open({ families });
    assert.is(flow.refusal, refusal, nameOf(families));
    for (const way of WAYS) await transfer(flow, way, length, { ms });
    await finish(flow);
  };
  await Promise.all(kinds.map(one));
}

/** Clean and in bundles first, then segment by segment with losses before either end. */
async function cleanAndLossy(kinds: Families[], refusal?: string): Promise<void> {
  await all(kinds, { length: 3_000_000, ms: CLEAN_MS, refusal });
  network.bundles(false);
  for (const side of SIDES) network.lose(side, 1);
  await all(kinds, { length: 500_000, ms: LOSSY_MS, refusal });
}

test('legs that agree', () => cleanAndLossy(SAME));

for (const side of SIDES) {
  for (const [name, what] of [
    ['tcp_timestamps', 'timestamps'],
    ['tcp_window_scaling', 'window scaling'],
    ['tcp_sack', 'SACK'],
  ]) {
    // a server without SACK is heard of when the client's leg has it already
    const refusal = name === 'tcp_sack' && side === 'server' ? 'sack_mismatch' : undefined;
    test(`no ${what} at the ${side}, which is ${refusal ? 'relayed' : 'spliced'}`, () => {
      network.sysctl(network.end[side], `ipv4/${name}`, 0);
      return cleanAndLossy(SAME, refusal);
    });
  }
}

run();
