// SPDX-License-Identifier: MIT
/**
 * Fragments. Only the first carries TCP's header: it is translated like a segment, and the later ones
 * follow it by their addresses and identification.
 */
import { type Entry, other } from './entry.js';
import { losesMark } from './forward.js';
import { isOpen } from './life.js';
import { fragmentOf, isMapped, serialiseIp } from './packet.js';
import type { Datagram } from './parse.js';
import { crossed } from './translate.js';
import type { Outcome, Passage } from './world.js';

/** The local sockets are gone, and no header changes its length. */
export function mayBeFragmented(e: Entry): boolean {
  return !isOpen(e) && isMapped(e.tuple[0].far) === isMapped(e.tuple[1].far);
}

/** Undefined: its first fragment was no splice's. */
export function laterFragment(p: Passage, datagram: Datagram): Outcome | undefined {
  const { ethernet, ip, body, padding } = datagram;
  const { source, destination } = ip;
  const e = p.entry;
  const leg = p.world.fragmentLeg({ source, destination, id: fragmentOf(ip)?.id ?? 0 });
  if (!e || leg === undefined) return undefined;
  if (ip.hopLimit <= 1) return p.drop('drop_ttl');
  if (!mayBeFragmented(e)) return p.drop('drop_fragment');
  if (losesMark(ip, e, leg)) return p.drop('drop_ecn');
  const out = other(leg);
  const { far, near } = e.tuple[out];
  const route = p.world.route(far);
  if (!route) return p.drop('drop_route');
  const packet = serialiseIp(crossed(ip, near, far, e.ecn[out]), body);
  if (packet.length > route.mtu) return p.drop('drop_mtu');
  if (ip.version === 4 && ip.options.length > 0) p.count('ip_options');
  p.count('fragments');
  return p.send(Buffer.concat([ethernet, packet, padding]));
}
