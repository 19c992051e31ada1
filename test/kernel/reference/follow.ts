// SPDX-License-Identifier: MIT
/** What a packet that is not dropped tells of the splice: its sender's data, the other side's, FIN among them. */
import { type Entry, type Leg, other } from './entry.js';
import { acknowledgesFin, acknowledgesOwn, inWindow, learn, segmentEnd } from './judge.js';
import { setFlags, touch } from './life.js';
import { fragmentOf, type Packet } from './packet.js';
import type { Passage } from './world.js';

export function follow(p: Passage, packet: Packet, e: Entry, leg: Leg): void {
  const { ip, tcp } = packet;
  const news: Parameters<typeof setFlags>[2] = [];
  if (tcp.flags.fin) {
    // where the data end that a first fragment begins, and so the FIN, is not known
    if (!fragmentOf(ip)) {
      e.finKnown[leg] = true;
      e.finEnd[leg] = segmentEnd(packet);
    }
    news.push({ fin: leg });
  }
  if (acknowledgesFin(e, leg, packet)) news.push({ finAcked: other(leg) });
  if (e.open[leg] && acknowledgesOwn(e, leg, tcp.ack)) news.push({ acked: leg });
  const acceptable = inWindow(e, leg, tcp.seq);
  setFlags(p, e, news);
  if (acceptable) learn(e, leg, packet);
  touch(p, e);
}
