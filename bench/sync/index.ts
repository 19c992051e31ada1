// SPDX-License-Identifier: MIT
import type { Bench } from '../bench.js';
import { loss } from './loss.js';
import { million } from './million.js';
import { pair } from './pair.js';

export const sync: Bench = {
  name: 'sync',
  about: 'replication beside conntrackd: rate, CPU, octets, lag, resync, dump, commit, loss',
  parts: { pair, loss, million },
};
