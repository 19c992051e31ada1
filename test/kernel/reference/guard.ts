// SPDX-License-Identifier: MIT
/**
 * Packets for a virtual address that belong to no splice. While this node is about to take over, the
 * stack's answer to them would be the end of flows that are still to be committed: they are held back,
 * and TCP sends them again. During a planned hand-over SYNs are held back, for the next owner.
 */
import type { Packet } from './packet.js';
import type { Passage } from './world.js';

export function isHeld(p: Passage, { ip, tcp }: Packet): 'drain_syn' | 'guard_held' | undefined {
  const { addresses, untilNs, draining, socket } = p.world.guard;
  if (!addresses.has(ip.destination)) return undefined;
  const { syn, ack, rst } = tcp.flags;
  const opening = syn && !ack && !rst;
  if (draining && opening) return 'drain_syn';
  if (p.world.nowNs > untilNs) return undefined;
  const owner = socket(ip.source, tcp.sourcePort, ip.destination, tcp.destinationPort);
  if (owner === 'connected' || (owner === 'listening' && opening)) return undefined;
  return 'guard_held';
}
