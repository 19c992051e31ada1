// SPDX-License-Identifier: MIT
/** What every test file of this folder begins with: a network with flows on it, and tests with a deadline. */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite, type Test } from 'uvu';
import * as assert from 'uvu/assert';
import { within } from '../../support/within.js';
import { type Flow, Flows, type Opening } from './flow.js';
import { Network } from './network.js';

export interface Stage {
  network: Network;
  flows: Flows;
  /** Flows that are spliced, with their sockets closed. */
  spliced(opening?: Opening): Promise<Flow>;
  test(name: string, body: () => Promise<void>): void;
  run(): void;
}

/** Wait for something that is about to be so. */
export async function until(so: () => boolean, what: string, ms = 1000): Promise<void> {
  for (const deadline = performance.now() + ms; !so(); await sleep(5)) {
    assert.ok(performance.now() < deadline, `not within ${ms} ms: ${what}`);
  }
}

export function stage(name: string): Stage {
  const tests: Test = suite(name);
  const network = new Network();
  const flows = new Flows(network);
  tests.before(async () => {
    await network.start();
    await flows.start();
  });
  tests.before.each(() => {
    network.datapath.table.flush();
  });
  tests.after.each(async () => {
    flows.closeAll();
    network.calm();
    await sleep(1);
  });
  return {
    network,
    flows,
    async spliced(opening = {}) {
      const flow = await flows.open(opening);
      assert.is(flow.refusal, undefined);
      assert.is(await within(3000, 'the commit', flow.committed), 'committed');
      return flow;
    },
    test(title, body) {
      tests(title, () => within(15_000, title, body()));
    },
    run: () => tests.run(),
  };
}
