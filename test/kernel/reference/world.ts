// SPDX-License-Identifier: MIT
/** What a program is given beside the packet, and what it makes of both. */
import type { CounterName, TimeoutName } from '../../../kernel/record/layout.js';
import type { Entry, Leg } from './entry.js';
import type { Address } from './packet.js';

export interface Route {
  mtu: number;
  /** Ethernet header, its type aside, of packets to this destination; undefined: still to be asked for. */
  ethernet?: Buffer;
}

/** A datagram whose first fragment has passed: its addresses and identification. */
export interface FragmentKey {
  source: Address;
  destination: Address;
  id: number;
}

/** What happens to packets for virtual addresses that belong to nothing here. */
export interface Guard {
  addresses: Set<Address>;
  /** Held back until then; 0: never. */
  untilNs: bigint;
  /** New connections are for the next owner. */
  draining: boolean;
  /** This node has yielded: it is not to be heard under these addresses. */
  silent: boolean;
  /** A socket that would take the packet: one that listens, or one of this very connection. */
  socket(source: Address, sourcePort: number, address: Address, port: number): Socket | undefined;
}
export type Socket = 'listening' | 'connected';

export interface World {
  /** The splice in the table. One is enough: a packet concerns one at most. */
  entry: Entry | undefined;
  nowNs: bigint;
  timeoutMs: Record<TimeoutName, number>;
  /** Of translated packets on their way out. */
  mark: number;
  /** The way to an address; undefined when there is none. */
  route(destination: Address): Route | undefined;
  /** The leg on which a datagram's first fragment came in; undefined: none has passed. */
  fragmentLeg(key: FragmentKey): Leg | undefined;
  /** Bits of Option (those of leg 0) that clients of a listening address are not to negotiate. */
  aligned(address: Address, port: number): number | undefined;
  guard: Guard;
  /** How many ICMP errors a node may say is limited: one more may be said now. */
  mayComplain: boolean;
}

/** `send`: out of the node, by the program's own doing. */
export type Verdict = 'stack' | 'drop' | 'send';

export interface Outcome {
  verdict: Verdict;
  /** The frame as the program leaves it; undefined where nobody will see it. */
  frame: Buffer | undefined;
  /** What of the frame anybody reads: its Ethernet header, IP options, what is behind the IP packet. */
  read: { ethernet: boolean; options: boolean; padding: boolean };
  /** Frames sent beside it. */
  copies: Buffer[];
  counts: Map<CounterName, number>;
  /** What is in the table afterwards. */
  entry: Entry | undefined;
  /** A first fragment, noted for those that follow it. */
  noted: { key: FragmentKey; leg: Leg } | undefined;
  /** Change of the number of live splices of the real server. */
  live: number;
}

/** One packet's way through a program, as it is being found out. */
export class Passage {
  readonly counts = new Map<CounterName, number>();
  readonly copies: Buffer[] = [];
  noted: Outcome['noted'];
  live = 0;

  constructor(
    readonly world: World,
    public entry: Entry | undefined,
  ) {}

  count(name: CounterName, by = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + by);
  }

  /** The packet as it came, or a little changed. */
  end(verdict: Verdict, frame?: Buffer): Outcome {
    return this.#outcome(verdict, frame, { ethernet: true, options: true, padding: true });
  }

  /** A packet of the node's own making, in the place of the one that came. */
  answer(frame: Buffer): Outcome {
    return this.#outcome('send', frame, { ethernet: true, options: true, padding: false });
  }

  /** The same, by the neighbour layer. */
  relay(frame: Buffer): Outcome {
    return this.#outcome('send', frame, { ethernet: false, options: true, padding: false });
  }

  /** A packet on its way, to the neighbour layer, which writes an Ethernet header of its own. */
  send(frame: Buffer): Outcome {
    return this.#outcome('send', frame, { ethernet: false, options: true, padding: true });
  }

  /**
   * What is left of a packet for the local socket. Its Ethernet header may be that of a copy sent, and its
   * IP options, which concern the way here, may have ended.
   */
  handUp(frame: Buffer): Outcome {
    return this.#outcome('stack', frame, { ethernet: false, options: false, padding: false });
  }

  /** Nothing that the packet would have told is kept: whoever sent it will have to say it again. */
  drop(name: CounterName): Outcome {
    this.forget();
    this.count(name);
    return this.#outcome('drop', undefined, { ethernet: false, options: false, padding: false });
  }

  /** As if the packet had not come. */
  forget(): void {
    this.entry = this.world.entry;
    this.counts.clear();
    this.noted = undefined;
    this.live = 0;
  }

  #outcome(verdict: Verdict, frame: Buffer | undefined, read: Outcome['read']): Outcome {
    const { copies, counts, entry, noted, live } = this;
    return { verdict, frame, read, copies, counts, entry, noted, live };
  }
}
