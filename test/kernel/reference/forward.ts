// SPDX-License-Identifier: MIT
/** A translated packet's way out. */
import { complain } from './answer.js';
import { type Entry, type Leg, other } from './entry.js';
import { fit, lengthLimit } from './fit.js';
import { readOptions, type TcpOption } from './options.js';
import { fragmentOf, isMapped, type Packet, serialise } from './packet.js';
import { after } from './serial.js';
import { CONGESTION_EXPERIENCED, newestTimestamp, translate } from './translate.js';
import type { Outcome, Passage, Route } from './world.js';

/** A packet that can go out, with its options read: or the reason why it cannot. */
export interface Ready {
  packet: Packet;
  options: TcpOption[];
  route: Route;
  /** It has been cut to fit. */
  trimmed: boolean;
}

/** Its headers cannot be said on the other leg, so that no end of a live splice can have sent them. */
export function isUnreadable({ ip, tcp }: Packet, e: Entry, leg: Leg): boolean {
  // to be left out, extension headers would have to be understood
  const exchanged = ip.version === 6 && isMapped(e.tuple[other(leg)].far);
  return !readOptions(tcp.options) || (exchanged && ip.extensions.length > 0);
}

/** All else that decides whether a packet goes out; what it means for the splice comes after. */
export function prepare(p: Passage, packet: Packet, e: Entry, leg: Leg): Ready | Outcome {
  const out = other(leg);
  const route = p.world.route(e.tuple[out].far);
  if (!route) return p.drop('drop_route');
  const limit = lengthLimit(e, out, route);
  const fitting = fit(packet, e, out, limit);
  if (fitting.kind === 'too big') {
    if (fitting.mtu === undefined) return p.drop('drop_mtu');
    return complain(p, packet, 'drop_mtu', fitting.mtu);
  }
  const trimmed = fitting.kind === 'cut';
  const options = readOptions(packet.tcp.options) ?? [];
  return { packet: trimmed ? fitting.packet : packet, options, route, trimmed };
}

/** A mark that nobody on the other leg would echo to its sender becomes a loss, which the sender notices. */
export function losesMark(ip: Packet['ip'], e: Entry, leg: Leg): boolean {
  return (ip.trafficClass & 3) === CONGESTION_EXPERIENCED && !e.ecn[other(leg)];
}

/** Translates the packet and sends it. */
export function forward(p: Passage, ready: Ready, e: Entry, leg: Leg, clamp = false): Outcome {
  const translated = sent(p, ready, e, leg, clamp);
  const fragment = fragmentOf(ready.packet.ip);
  if (fragment) {
    const { source, destination } = ready.packet.ip;
    p.count('fragments');
    p.noted = { key: { source, destination, id: fragment.id }, leg };
  }
  return p.send(serialise(translated));
}

/**
 * Translates the packet and sends a copy, beside what the local socket gets of it. A copy cannot wait
 * for a neighbour to be asked for, and is not made to fit: then all of the packet goes the usual way,
 * and the socket waits for the next.
 */
export function forwardBeside(
  p: Passage,
  ready: Ready,
  e: Entry,
  leg: Leg,
  clamp: boolean,
): Outcome | undefined {
  const { ethernet } = ready.route;
  if (!ethernet || ready.trimmed) return forward(p, ready, e, leg, clamp);
  p.copies.push(
    serialise({ ...sent(p, ready, e, leg, clamp), ethernet: framed(ethernet, e, leg) }),
  );
  return undefined;
}

/** With the type of the family that it leaves in. */
function framed(addresses: Buffer, e: Entry, leg: Leg): Buffer {
  const type = isMapped(e.tuple[other(leg)].far) ? [0x08, 0x00] : [0x86, 0xdd];
  return Buffer.concat([addresses, Buffer.from(type)]);
}

function sent(
  p: Passage,
  { packet, options, trimmed }: Ready,
  e: Entry,
  leg: Leg,
  clamp: boolean,
): Packet {
  const out = other(leg);
  const translated = translate(packet, options, e, leg, clamp);
  const newest = newestTimestamp(readOptions(translated.tcp.options) ?? []);
  if (newest !== undefined && after(newest, e.tsSent[out])) e.tsSent[out] = newest;
  e.packets[leg] += 1n;
  e.bytes[leg] += BigInt(packet.payload.length);
  p.count('translated');
  p.count('translated_bytes', packet.payload.length);
  if (clamp) p.count('clamped');
  if (trimmed) p.count('trimmed');
  if (packet.ip.version === 4 && packet.ip.options.length > 0) p.count('ip_options');
  return { ...translated, ethernet: framed(packet.ethernet.subarray(0, 12), e, leg) };
}
