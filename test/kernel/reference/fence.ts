// SPDX-License-Identifier: MIT
/**
 * A node that has yielded its virtual addresses (docs/datapath.md, "Fence"): what no splice takes does not
 * reach the stack when it is for one of them, and does not leave when it is from one.
 */
import type { CounterName } from '../../../kernel/record/layout.js';
import { mapped } from './packet.js';
import type { Outcome, Passage } from './world.js';

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const ICMPV6 = 58;
/** Where things stand in a frame. */
const NEXT_HEADER = 20;
const IPV4 = { in: 30, out: 26 } as const;
const IPV6 = { in: 38, out: 22 } as const;
const ICMPV6_TYPE = 54;
const TARGET = 62;

type Way = 'in' | 'out';
/** Neighbour discovery (RFC 4861): what asks for an address, and what says that it is here. */
const DISCOVERY = {
  in: { type: 135, counter: 'fenced_resolution' },
  out: { type: 136, counter: 'fenced_announcement' },
} as const;
const OTHER = { in: 'fenced_unspliced', out: 'fenced_sent' } as const;

function fencedAs(p: Passage, frame: Buffer, way: Way): CounterName | undefined {
  const { addresses, silent } = p.world.guard;
  if (!silent) return undefined;
  const ipv6At = (at: number): boolean => addresses.has(frame.toString('hex', at, at + 16));
  switch (frame.readUInt16BE(12)) {
    case ETHERTYPE_IPV4:
      return addresses.has(mapped(frame.subarray(IPV4[way], IPV4[way] + 4)))
        ? OTHER[way]
        : undefined;
    case ETHERTYPE_IPV6: {
      const { type, counter } = DISCOVERY[way];
      if (frame[NEXT_HEADER] === ICMPV6 && frame[ICMPV6_TYPE] === type && ipv6At(TARGET))
        return counter;
      return ipv6At(IPV6[way]) ? OTHER[way] : undefined;
    }
  }
  return undefined;
}

/** The end of the packet's way, if the fence is that; else undefined. What was counted stays. */
export function fenced(p: Passage, frame: Buffer, way: Way): Outcome | undefined {
  const counter = fencedAs(p, frame, way);
  if (counter === undefined) return undefined;
  p.count(counter);
  return p.end('drop');
}

/** To the stack or, from it, to the network, unless the fence is in the way. */
export function pass(p: Passage, frame: Buffer, way: Way): Outcome {
  return fenced(p, frame, way) ?? p.end('stack', frame);
}
