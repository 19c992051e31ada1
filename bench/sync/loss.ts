// SPDX-License-Identifier: MIT
/** How long it takes until the peer has everything when the link loses packets, both ways. */
import type { Part, Row } from '../bench.js';
import { row } from '../bench.js';
import { median } from '../measure.js';
import { begin, untilHeld } from './round.js';
import type { System } from './system.js';
import { PEER, SystemName, Systems } from './systems.js';

const PERCENTS = [1, 10];
const COUNT = 10_000;
const ROUNDS = 9;
/** Finer than what is measured, and still cheap to ask. */
const LOOK_MS = 5;

/** Seconds until b holds COUNT more entries than before. */
async function converge(system: System, first: number, percent: number): Promise<number> {
  system.network.lose(percent);
  try {
    const began = await system.insert(first, COUNT);
    return ((await untilHeld(system, first + COUNT, LOOK_MS)) - began) / 1000;
  } finally {
    system.network.lose(0);
  }
}

export const loss: Part = {
  needs: ['conntrackd', 'clang', 'nft=nftables'],
  async run({ lab, quick, tell }) {
    const { all } = Systems.of(lab);
    const rounds = quick ? 1 : ROUNDS;
    const seconds = new Map<string, number[]>();
    let first = 0;
    try {
      await Promise.all(all.map(begin));
      for (let i = 0; i < rounds; i++) {
        for (const percent of PERCENTS) {
          for (const system of all) {
            tell(`${percent} % lost, round ${i + 1} of ${rounds}: ${system.name}`);
            const key = `${system.name} ${percent}`;
            const took = await converge(system, first, percent);
            seconds.set(key, [...(seconds.get(key) ?? []), took]);
          }
          first += COUNT;
        }
      }
    } finally {
      for (const system of all) await system.stop();
    }
    const of = (system: string, percent: number) =>
      median(seconds.get(`${system} ${percent}`) ?? []);
    return PERCENTS.flatMap((percent): Row[] =>
      all
        .filter(({ name }) => name !== PEER)
        .map(({ name }) =>
          row({
            name: `convergence of ${COUNT.toLocaleString('en')} at ${percent} % loss${name === SystemName.SEALED ? ', sealed' : ''}`,
            unit: 's',
            better: 'lower',
            ours: of(name, percent),
            peers: { [PEER]: of(PEER, percent) },
            aim: { [PEER]: 1 },
          }),
        ),
    );
  },
};
