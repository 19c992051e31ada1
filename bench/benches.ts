// SPDX-License-Identifier: MIT
import type { Bench } from './bench.js';
import { datapath } from './datapath/index.js';
import { failover } from './failover/index.js';
import { sync } from './sync/index.js';

export const BENCHES: Bench[] = [datapath, sync, failover];
