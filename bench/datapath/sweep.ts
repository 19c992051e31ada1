// SPDX-License-Identifier: MIT
/** The longest time for which the sweep of a full table holds one processor. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { command } from '../../test/lab/lab.js';
import { type Part, row } from '../bench.js';
import { Helper } from '../helper.js';
import type { TableFunctions } from './table.js';
import { TimerTrace } from './trace.js';

const TABLE_SIZE = 1_048_576;
/** A little more than the sweep takes to visit every slot. */
const ROUND_MS = 3000;
const EXPIRY_MS = 500;
/** The whole of it takes a quarter of a minute, and its moments are alike. */
const EXPIRY_LOOK_MS = 5000;
const EXPIRY_LOOK_QUICK_MS = 2000;

/** The timer that worked longest: others may have tables on this machine too, but none like this one. */
function busiest(durations: Map<string, number[]>): number[] {
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  return [...durations.values()].sort((a, b) => sum(b) - sum(a))[0] ?? [];
}

export const sweep: Part = {
  needs: [],
  async run({ lab, quick, tell }) {
    const trace = new TimerTrace(lab);
    try {
      command('ip', ['netns', 'add', lab.namespace('table')]);
      const table = new Helper<TableFunctions>(lab, 'table', './datapath/table.ts');
      const pinPath = join(lab.mount('bpf', 'table/bpf'), 'datapath');
      tell(`filling a table with ${TABLE_SIZE} splices`);
      await table.call('open', pinPath, lab.group('table'), TABLE_SIZE);
      await table.call('fill');
      tell('the sweep, all living');
      trace.start();
      await sleep(ROUND_MS);
      const living = busiest(trace.stop());
      tell('the sweep, all expiring');
      await table.call('shorten', EXPIRY_MS);
      await sleep(EXPIRY_MS);
      trace.start();
      await sleep(quick ? EXPIRY_LOOK_QUICK_MS : EXPIRY_LOOK_MS);
      const expiring = busiest(trace.stop());
      if ((await table.call('expired')) === 0) throw new Error('nothing has expired');
      const common = { unit: 'ms', better: 'lower', peers: {}, aim: {} } as const;
      const name = 'longest pause that the sweep of 1,048,576 splices makes';
      return [
        row({ name: `${name}, all living`, ours: Math.max(...living), ...common }),
        row({ name: `${name}, all expiring`, ours: Math.max(...expiring), ...common }),
      ];
    } finally {
      trace.close();
    }
  },
};
