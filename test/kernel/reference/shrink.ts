// SPDX-License-Identifier: MIT
/** A smaller case that still shows a disagreement: what can be left out of it, is. */
import { type Case, tryCase } from './case.js';
import type { Difference } from './compare.js';
import type { Entry } from './entry.js';
import { type Packet, serialise } from './packet.js';
import { parse } from './parse.js';
import type { Rig } from './rig.js';

const NOTHING = Buffer.alloc(0);

/** Each makes a packet a little plainer. */
const PLAINER: ((packet: Packet) => Packet)[] = [
  (p) => ({ ...p, payload: NOTHING }),
  (p) => ({ ...p, padding: NOTHING }),
  (p) => ({ ...p, tcp: { ...p.tcp, options: NOTHING } }),
  (p) => ({ ...p, tcp: { ...p.tcp, sumError: 0 } }),
  (p) => ({ ...p, tcp: { ...p.tcp, reserved: 0, urgent: 0 } }),
  (p) => ({ ...p, tcp: { ...p.tcp, window: 0 } }),
  (p) => ({
    ...p,
    tcp: { ...p.tcp, flags: { ...p.tcp.flags, ece: false, cwr: false, urg: false, psh: false } },
  }),
  (p) => ({ ...p, ip: { ...p.ip, trafficClass: 0 } }),
  (p) => ({ ...p, ip: { ...p.ip, hopLimit: 64 } }),
  ({ ip, ...p }) => ({
    ...p,
    ip: ip.version === 4 ? { ...ip, options: NOTHING, sumError: 0 } : { ...ip, extensions: [] },
  }),
];

/** Who it is, and what it is in: without these it is another case. */
const KEPT: (keyof Entry)[] = ['id', 'state', 'tuple', 'lastSeenNs', 'timeoutMs', 'open'];

function plainerPacket(one: Case, step: (packet: Packet) => Packet): Case {
  const parsed = parse(one.frame);
  return parsed.kind === 'tcp' ? { ...one, frame: serialise(step(parsed.packet)) } : one;
}

function plainerEntry(one: Case, name: keyof Entry): Case {
  const value = one.entry[name];
  const plain = Array.isArray(value) ? value.map(zero) : zero(value);
  return { ...one, entry: { ...one.entry, [name]: plain } };
}

function zero(value: unknown): unknown {
  return typeof value === 'bigint' ? 0n : typeof value === 'boolean' ? false : 0;
}

/** @returns undefined when it agrees by itself: then what was sent before it matters */
export function smallest(rig: Rig, one: Case): { one: Case; found: Difference[] } | undefined {
  const attempt = (tried: Case): Difference[] =>
    tryCase(rig, { ...tried, entry: rig.place(tried.entry) }).found;
  const names = (Object.keys(one.entry) as (keyof Entry)[]).filter((name) => !KEPT.includes(name));
  const steps = [
    ...PLAINER.map((step) => (tried: Case) => plainerPacket(tried, step)),
    ...names.map((name) => (tried: Case) => plainerEntry(tried, name)),
  ];
  let best = { one, found: attempt(one) };
  if (best.found.length === 0) return undefined;
  const wanted = best.found[0].what;
  for (const step of steps) {
    const plainer = step(best.one);
    const found = attempt(plainer);
    if (found.some(({ what }) => what === wanted)) best = { one: plainer, found };
  }
  return best;
}
