/**
 * What sync/ needs from the world and is given as arguments, so that a simulation can own it: time,
 * randomness, and a link that carries datagrams.
 */

/** A call that has been put off; cancelling one that has been made is harmless. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds, never going back. Its zero means nothing: no time of day, no other machine's clock. */
  now(): number;
  /** Call fn once, ms from now; 0: as soon as the events that are at hand have been dealt with. */
  after(ms: number, fn: () => void): Timer;
}

export interface Random {
  /** An unsigned 32-bit integer. */
  u32(): number;
}

/** Counters of a link since it was opened, by name (datagrams, octets, and each kind of error). */
export type LinkStats = Readonly<Record<string, number>>;

/**
 * A group of nodes, each of which hears what another one sends: usually, once, and in order. There may
 * be several paths to them (dedicated links of conntrackd's); whoever sends chooses one.
 */
export interface Link {
  /** Octets of the largest datagram that every path takes. */
  readonly mtu: number;
  /** How many paths there are: they are numbered from 0, the preferred one first. */
  readonly paths: number;
  /** What each of them is called: "multicast eth2". */
  readonly names?: readonly string[];
  /**
   * Send to all other nodes by one path. The bytes belong to the caller again when the call returns.
   * False: not sent and counted, because the bounded queue is full or the path is down; it is as good
   * as lost.
   */
  send(datagram: Uint8Array, path: number): boolean;
  /** Why this path carries nothing now, as far as is known here; undefined: it may well. */
  fault?(path: number): string | undefined;
  stats(): LinkStats;
  /** It seals what it carries: what it delivers has been written by a node that has the key, so. */
  readonly sealed?: boolean;
  /** Datagrams that it did not deliver, by the name of the reason (as Rejection in wire.ts). */
  rejections?(): LinkStats;
}
