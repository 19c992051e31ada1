// SPDX-License-Identifier: MIT
/** Somebody at an end who sends packets of its connection by hand, beside the end's own stack. */
import type { Endpoint } from '../../../kernel/endpoint.js';
import type { Flow } from './flow.js';
import { type Forged, inject, segment } from './forge.js';
import type { Network, Side } from './network.js';
import { numbers } from './tcp.js';

/** Segments as the end itself might send them next, but for what is said. */
export interface Impostor {
  /** The two ends of the connection on this leg: the end itself, and this process. */
  here: Endpoint;
  there: Endpoint;
  seq: number;
  ack: number;
  make(what: Partial<Forged>): Buffer;
  send(what: Partial<Forged>): void;
}

/** For an idle flow: its numbers are read now. */
export function impostor(network: Network, flow: Flow, side: Side): Impostor {
  const { localAddress, localPort, remoteAddress, remotePort } = flow[side];
  const here = { address: localAddress as string, port: localPort as number };
  const there = { address: remoteAddress as string, port: remotePort as number };
  const next = numbers(flow[side]);
  const make = (what: Partial<Forged>): Buffer => segment(here, there, { ...next, ...what });
  return { here, there, ...next, make, send: (what) => inject(network.end[side], make(what)) };
}
