/**
 * Sends what a node says by itself to the ends of a flow: probes (probe-segment.ts), and errors that take
 * back their back-off (unreachable.ts). The datapath lets them pass by their mark.
 */
import type { Family } from './endpoint.js';
import { KernelError } from './error.js';
import { isIpv4 } from './ip-header.js';
import { writeProbe } from './probe-segment.js';
import { RawPackets } from './raw-packets.js';
import type { Leg, RecordView, TupleView } from './record/record.js';
import { writeUnreachable } from './unreachable.js';

/** Sockets kept; each serves one address of this node. */
const SOCKETS_MAX = 64;

/** What became of what was put in; a packet that cannot be sent (no route, no such address here) is lost. */
export interface SendCounts {
  sent: number;
  unsent: number;
  /** The system's name of the last error, as EHOSTUNREACH. */
  error?: string;
}

/**
 * One socket for each of this node's addresses, bound to it, so that routes which go by the source
 * address hold for these packets too.
 */
export class ProbeSender {
  readonly #mark: number;
  readonly #sockets = new Map<string, RawPackets | undefined>();
  #counts: SendCounts = { sent: 0, unsent: 0 };

  /** @param mark skb mark of translated packets */
  constructor(mark: number) {
    this.#mark = mark;
  }

  /** Ask the far end of a leg. It leaves when a batch is full, or with flush(). */
  probe(record: RecordView, leg: Leg, round: number): void {
    this.#put(record.tuple(leg), (into, at) => writeProbe(into, at, record, leg, round));
  }

  /** Take back one step of the back-off of a leg's far end, whose first unacknowledged octet is seq. */
  unreachable(record: RecordView, leg: Leg, seq: number): void {
    this.#put(record.tuple(leg), (into, at) => writeUnreachable(into, at, record, leg, seq));
  }

  /** All has left when this returns. @returns what became of it since the last call */
  flush(): SendCounts {
    for (const socket of this.#sockets.values()) if (socket) this.#send(socket);
    const counts = this.#counts;
    this.#counts = { sent: 0, unsent: 0 };
    return counts;
  }

  #put(tuple: TupleView, write: (into: Buffer, at: number) => number): void {
    const socket = this.#socket(tuple);
    this.#counts.sent++;
    if (!socket) {
      this.#failed(1, 'EADDRNOTAVAIL');
      return;
    }
    socket.put(tuple, write);
    if (socket.full) this.#send(socket);
  }

  #send(socket: RawPackets): void {
    const { unsent, error } = socket.send();
    if (error !== undefined) this.#failed(unsent, error);
  }

  #failed(unsent: number, error: string): void {
    this.#counts.sent -= unsent;
    this.#counts.unsent += unsent;
    this.#counts.error = error;
  }

  /** Undefined: this node does not have the address. */
  #socket(tuple: TupleView): RawPackets | undefined {
    const { bytes, offset } = tuple;
    const key = Buffer.from(bytes.buffer, bytes.byteOffset + offset + 16, 16).toString('latin1');
    if (this.#sockets.has(key)) return this.#sockets.get(key);
    if (this.#sockets.size >= SOCKETS_MAX) this.close();
    const family: Family = isIpv4(tuple) ? 4 : 6;
    let socket: RawPackets | undefined;
    try {
      socket = new RawPackets(tuple.destination, family, this.#mark);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
    }
    this.#sockets.set(key, socket);
    return socket;
  }

  /** Let go of the sockets; the next packet opens what it needs. What waits is sent first. */
  close(): void {
    for (const socket of this.#sockets.values()) {
      if (!socket) continue;
      this.#send(socket);
      socket.close();
    }
    this.#sockets.clear();
  }
}
