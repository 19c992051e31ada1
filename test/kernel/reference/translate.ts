// SPDX-License-Identifier: MIT
/**
 * A packet of one leg, said again on the other. The proxy's kernel chose the sequence numbers that the
 * client sees, the server's kernel those that the server sends; between the two lies a constant, and
 * so between their timestamps. What is added to one way's numbers is taken from the other way's echo.
 */
import { type Entry, type Leg, other } from './entry.js';
import {
  blanked,
  isTimestamp,
  OptionKind,
  type TcpOption,
  timestamp,
  withEdges,
  withTimestamp,
  writeOptions,
} from './options.js';
import type { Ipv4, Ipv6, Packet } from './packet.js';
import { isMapped } from './packet.js';
import { add, subtract } from './serial.js';

const WINDOW_MAX = 0xffff;
const NOP = 1;
/** The lowest two bits of the traffic class (RFC 3168 section 5). */
const ECN_BITS = 3;
export const CONGESTION_EXPERIENCED = 3;

/**
 * @param options the packet's, read
 * @param clamp the proxy's own data on the leg that it comes from are not all acknowledged yet: the
 *   other end must not hear of bytes that it never sent
 */
export function translate(
  packet: Packet,
  options: TcpOption[],
  e: Entry,
  direction: Leg,
  clamp = false,
): Packet {
  const { tcp } = packet;
  const out = other(direction);
  const { far, near, farPort, nearPort } = e.tuple[out];
  const unacknowledged = clamp ? subtract(e.ownEnd[direction], tcp.ack) : 0;
  const window = tcp.window * 2 ** (e.wscaleIn[direction] & 15) - unacknowledged;
  const acknowledge = (n: number): number => subtract(n, e.seqDelta[out]);
  const ecn = e.ecn[out];
  return {
    ...packet,
    ip: crossed(packet.ip, near, far, ecn),
    tcp: {
      ...tcp,
      sourcePort: nearPort,
      destinationPort: farPort,
      seq: add(tcp.seq, e.seqDelta[direction]),
      ack: tcp.flags.ack ? acknowledge(add(tcp.ack, unacknowledged)) : tcp.ack,
      reserved: ecn ? tcp.reserved : tcp.reserved & ~1, // AE, once NS
      flags: ecn ? tcp.flags : { ...tcp.flags, ece: false, cwr: false },
      window: Math.min(WINDOW_MAX, Math.floor(Math.max(0, window) / 2 ** (e.wscaleOut[out] & 15))),
      options: writeOptions(
        options.map((option) => {
          if (isTimestamp(option)) {
            if (!e.timestamps[out]) return blanked(option);
            const { value, echo } = timestamp(option);
            return withTimestamp(
              option,
              add(value, e.tsvalDelta[direction]),
              subtract(echo, e.tsvalDelta[out]),
            );
          }
          if (option.kind === OptionKind.SACK) {
            return clamp ? blanked(option) : withEdges(option, acknowledge);
          }
          return option;
        }),
      ),
    },
  };
}

/** The IP header, of the family of the leg that it leaves on. */
export function crossed(
  ip: Ipv4 | Ipv6,
  source: string,
  destination: string,
  ecn: boolean,
): Ipv4 | Ipv6 {
  const common = {
    source,
    destination,
    trafficClass: ecn ? ip.trafficClass : ip.trafficClass & ~ECN_BITS,
    hopLimit: ip.hopLimit - 1,
  };
  if (isMapped(destination)) {
    if (ip.version === 4)
      return { ...ip, ...common, options: Buffer.alloc(ip.options.length, NOP) };
    return {
      version: 4,
      ...common,
      id: 0,
      reserved: false,
      dontFragment: true,
      moreFragments: false,
      fragmentOffset: 0,
      options: Buffer.alloc(0),
      sumError: 0,
    };
  }
  if (ip.version === 6) return { ...ip, ...common };
  return { version: 6, ...common, flowLabel: 0, extensions: [] };
}

/** TSval of a packet that is about to leave, by which the proxy's own are judged. */
export function newestTimestamp(options: TcpOption[]): number | undefined {
  const last = options.findLast(isTimestamp);
  return last && timestamp(last).value;
}
