// SPDX-License-Identifier: MIT
/** Whether a packet fits the leg that it is to leave on, and what is done when it does not. */
import type { Entry, Leg } from './entry.js';
import { fragmentOf, ipHeaderLength, ipLength, isMapped, type Packet } from './packet.js';
import type { Route } from './world.js';

/** What every host can put together (RFC 791), and what every link can carry (RFC 8200). */
const MTU_MIN = { 4: 576, 6: 1280 };
const TCP_HEADER = 20;
/** Less is not worth a packet. */
const PAYLOAD_MIN = 8;

/** What a packet's IP header grows by on a leg of the other family. */
const EXCHANGE = 20;

/**
 * The longest IP packet for a leg: of its route, and of the segment size that its far end has named
 * (which leaves out the headers without options, RFC 6691). 0: it has named none.
 */
export function lengthLimit(e: Entry, out: Leg, route: Route): number {
  const version = isMapped(e.tuple[out].far) ? 4 : 6;
  if (e.mss[out] === 0) return route.mtu;
  const accepted = e.mss[out] + TCP_HEADER + (version === 4 ? 20 : 40);
  return Math.min(route.mtu, Math.max(accepted, MTU_MIN[version]));
}

/** Octets that the IP header is longer on the leg that it leaves on, IP options left out of it. */
function growth({ ip }: Packet, out: 4 | 6): number {
  if (ip.version === out) return 0;
  return out === 6 ? EXCHANGE - (ipHeaderLength(ip) - 20) : -EXCHANGE;
}

export type Fit =
  | { kind: 'fits' }
  /** Cut to this. Its sender will send the rest again. */
  | { kind: 'cut'; packet: Packet }
  /** The sender must hear of this limit; undefined: it is a fragment, whose sender would not know what for. */
  | { kind: 'too big'; mtu: number | undefined };

export function fit(packet: Packet, e: Entry, out: Leg, limit: number): Fit {
  const version = isMapped(e.tuple[out].far) ? 4 : 6;
  const { ip, payload } = packet;
  const length = ipLength(packet) + growth(packet, version);
  if (length <= limit) return { kind: 'fits' };
  if (fragmentOf(ip)) return { kind: 'too big', mtu: undefined };
  const headers = length - payload.length;
  if (ip.version === 4 && !ip.dontFragment && limit > headers + PAYLOAD_MIN) {
    const fits = (limit - headers) & ~1; // an even number: the sum's words stay aligned
    return { kind: 'cut', packet: cut(packet, fits) };
  }
  const here = ip.version === version ? 0 : version === 6 ? -EXCHANGE : EXCHANGE;
  return { kind: 'too big', mtu: limit + here };
}

function cut(packet: Packet, octets: number): Packet {
  const { tcp, payload } = packet;
  return {
    ...packet,
    tcp: { ...tcp, flags: { ...tcp.flags, fin: false, psh: false } },
    payload: payload.subarray(0, octets),
    padding: Buffer.alloc(0),
  };
}
