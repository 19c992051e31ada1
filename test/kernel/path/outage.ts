// SPDX-License-Identifier: MIT
/** A node that dies and another one that takes its flows over, as the ends see it, on one node. */
import type { Datapath } from '../../../kernel/datapath.js';
import { ADDRESS, type Network, SIDES } from './network.js';

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
export function takeOver(datapath: Datapath): void {
  const { table } = datapath;
  // what comes in the moment without an entry must not be answered by a reset
  datapath.setGuard([...Object.values(ADDRESS.virtual), ...Object.values(ADDRESS.source)]);
  datapath.guardArm();
  const taken = Buffer.concat([...table.dump()]);
  table.delete(taken);
  table.insert(taken);
  datapath.guardRelease(0);
}
