// SPDX-License-Identifier: MIT
import type { Bench } from './bench.js';
import { datapath } from './datapath/index.js';

export const BENCHES: Bench[] = [datapath];
