// SPDX-License-Identifier: MIT
/** A node that dies and another one that takes its flows over, as the ends see it, on one node. */
import { BATCH_ITEMS, RECORD_SIZE } from '../../../kernel/record/layout.js';
import { RecordView } from '../../../kernel/record/record.js';
import type { Table } from '../../../kernel/table.js';
import { type Network, SIDES } from './network.js';

/** From now on nothing passes, until it ends. */
export function beginOutage(network: Network): { end(): void } {
  for (const side of SIDES) network.rule(network.router[side], 'forward', 'drop');
  return {
    end() {
      for (const side of SIDES) network.rule(network.router[side], 'forward', '');
    },
  };
}

/** What the table holds is in it as records of another node's are after a commit: nothing learnt, no packet seen. */
export function takeOver(table: Table): RecordView[] {
  const taken = Buffer.concat([...table.dump()]);
  table.delete(taken);
  table.insert(taken);
  if (taken.length > BATCH_ITEMS * RECORD_SIZE) throw new RangeError('too many for a test');
  return Array.from(
    { length: taken.length / RECORD_SIZE },
    (_, i) => new RecordView(taken, i * RECORD_SIZE),
  );
}
