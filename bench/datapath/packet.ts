// SPDX-License-Identifier: MIT
/** The ingress program alone, on one packet. No peer has anything to put beside it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { command } from '../../test/lab/lab.js';
import { type Part, row } from '../bench.js';
import { Bed } from './bed.js';
import { download } from './loads.js';
import { Systems } from './systems.js';

const REPEATS = 200_000;
const LIVE_MS = 1000;
const COMMON = { unit: 'ns', better: 'lower', peers: {}, aim: {} } as const;

export const packet: Part = {
  needs: [],
  async run({ lab, quick, tell }) {
    const bed = await Bed.of(lab);
    tell('the program on one packet, again and again');
    const { hit, miss } = await bed.balancer.call('packet', quick ? REPEATS / 4 : REPEATS);
    return [
      row({ name: 'a packet of a splice, in the program', ours: hit, ...COMMON }),
      row({ name: 'a packet of none, in the program', ours: miss, ...COMMON }),
    ];
  },
};

interface Timed {
  run_time_ns: number;
  run_cnt: number;
}

/** The same program among real traffic, timed by the kernel: caches are shared with all else there. */
export const live: Part = {
  needs: ['haproxy', 'iperf3', 'ethtool'],
  async run({ lab, tell }) {
    const systems = await Systems.of(lab);
    const { bed } = systems;
    const timed = (): Timed =>
      JSON.parse(
        command('bpftool', ['-j', 'prog', 'show', 'pinned', `${bed.pinPath}/prog_ingress`]),
      );
    tell('the program among real packets');
    bed.offload(false);
    await systems.choose('ours');
    const load = await download(systems, 'ours', { streams: 1, family: 4 });
    try {
      await bed.balancer.call('stats', true);
      await sleep(LIVE_MS / 4);
      const before = timed();
      await sleep(LIVE_MS);
      const after = timed();
      const ours = (after.run_time_ns - before.run_time_ns) / (after.run_cnt - before.run_cnt);
      return [row({ name: 'a packet of a splice, in the program, live', ours, ...COMMON })];
    } finally {
      await bed.balancer.call('stats', false);
      await load.stop();
      bed.offload(true);
    }
  },
};
