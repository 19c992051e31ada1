// SPDX-License-Identifier: MIT
/**
 * What a takeover costs with hot standby and so many entries: `ENTRIES=1000000 node --import tsx
 * test/daemon/measure-claims.ts`.
 * Says how long the step takes after which packets are this node's to translate, how long until all entries are
 * its own, and the longest turn of the event loop meanwhile. Needs root; all it makes ends with it.
 */
import { Golden } from '../support/golden.js';
import { isolate } from '../support/isolate.js';
import { ClaimsRig } from './claims-rig.js';

isolate(import.meta.url);

const entries = Number(process.env.ENTRIES ?? 1_000_000);
const CHUNK = 20_000;
const golden = await Golden.open(entries + 1000);
const rig = new ClaimsRig(golden.datapath, entries + 1000);
try {
  for (let made = 0; made < entries; made += CHUNK) rig.born(Math.min(CHUNK, entries - made));
  const { held } = rig.counts();
  console.log(`${held} entries held for the peer, and nothing owned`);
  const { claims } = rig.life;
  let longest = 0;
  let last = performance.now();
  const look = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (claims.status) setImmediate(look);
  };
  const began = performance.now();
  golden.datapath.takenOver();
  const left = claims.begin(undefined);
  const took = performance.now() - began;
  last = performance.now();
  look();
  while (claims.status) await new Promise((resolve) => setTimeout(resolve, 1));
  const all = performance.now() - began;
  const { own } = rig.counts();
  console.log(
    `taken over in ${took.toFixed(2)} ms with ${left} to be claimed; ${own} claimed after ${all.toFixed(0)} ms; longest turn ${longest.toFixed(1)} ms`,
  );
} finally {
  await rig.life.claims.stop();
  rig.end();
  await golden.close();
}
process.exit();
