// SPDX-License-Identifier: MIT
/** The ingress program alone, on one packet. No peer has anything to put beside it. */
import { type Part, row } from '../bench.js';
import { Bed } from './bed.js';

const REPEATS = 200_000;

export const packet: Part = {
  needs: [],
  async run({ lab, quick, tell }) {
    const bed = await Bed.of(lab);
    tell('the program on one packet, again and again');
    const { hit, miss } = await bed.balancer.call('packet', quick ? REPEATS / 4 : REPEATS);
    const common = { unit: 'ns', better: 'lower', peers: {}, aim: {} } as const;
    return [
      row({ name: 'a packet of a splice, in the program', ours: hit, ...common }),
      row({ name: 'a packet of none, in the program', ours: miss, ...common }),
    ];
  },
};
