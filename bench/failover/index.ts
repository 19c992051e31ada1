// SPDX-License-Identifier: MIT
import type { Bench } from '../bench.js';
import { live } from './live.js';
import { million } from './million.js';

export const failover: Bench = {
  name: 'failover',
  about: 'takeovers under load beside conntrackd: flows kept, resets, outage, stalls',
  parts: { '1k': live(1_000), '10k': live(10_000), '100k': live(100_000), million },
};
