// SPDX-License-Identifier: MIT
/** A takeover with a million entries in the table besides the live flows: they must not be in its way. */
import type { Part } from '../bench.js';
import { Helper } from '../helper.js';
import type { LoadFunctions } from '../sync/splice-load.js';
import { compilePrograms, Load } from './load.js';
import { managerText, QUICK } from './managers.js';
import { round, type Sample } from './round.js';
import { SplicedPair } from './spliced.js';
import { COMMIT, HOT, NEEDS, rows } from './systems.js';

const ENTRIES = 1_000_000;
const TABLE_SIZE = 2_097_152;
const FLOWS = 1_000;
const ROUNDS = 2;

/** Puts the entries into the kernel of the active node, as splice() would. */
async function fill(pair: SplicedPair): Promise<void> {
  const { node, pinPath, cgroup, tableSize } = pair.table(pair.active);
  const loader = new Helper<LoadFunctions>(pair.lab, node, './sync/splice-load.ts');
  await loader.call('open', pinPath, cgroup, pair.active, tableSize);
  await loader.call('insert', 0, ENTRIES);
}

export const million: Part = {
  needs: NEEDS,
  async run({ lab, quick, named, tell }) {
    if (quick && !named) return [];
    const programs = compilePrograms(lab);
    const samples = new Map<string, Sample[]>([
      [HOT, []],
      [COMMIT, []],
    ]);
    for (const [system, mine] of samples) {
      const hot = system === HOT;
      const pair = new SplicedPair(lab, hot ? 'hot-m' : 'cold-m', { hot, tableSize: TABLE_SIZE });
      tell(`${system}: ${FLOWS} flows are made, and ${ENTRIES} entries`);
      await pair.open();
      await pair.manage(QUICK);
      const load = await Load.open(pair, programs, FLOWS);
      await load.live(FLOWS);
      await fill(pair);
      for (let i = 0; i < (quick ? 1 : ROUNDS); i++) {
        tell(`${system}: round ${i + 1}`);
        mine.push(await round(pair, load, ENTRIES));
      }
      await load.stop();
      await pair.close();
    }
    const shown = ENTRIES.toLocaleString('en');
    return rows(
      `${FLOWS.toLocaleString('en')} flows and ${shown} entries, ${managerText(QUICK)}`,
      samples,
    );
  },
};
