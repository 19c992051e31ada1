// SPDX-License-Identifier: MIT
import type { Bench } from '../bench.js';
import { live, packet } from './packet.js';
import { sweep } from './sweep.js';
import { connections, keepAlive, throughput } from './traffic.js';

export const datapath: Bench = {
  name: 'datapath',
  about: 'splices beside IP forwarding and HAProxy: Gbit/s, requests, CPU, ns a packet, the sweep',
  parts: { throughput, keepAlive, connections, packet, live, sweep },
};
