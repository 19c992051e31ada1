/** One of the paths that a link is made of: a multicast group, UDP or TCP to the other nodes. */
import type { LinkStats } from '../ports.js';
import type { LinkSettings } from './settings.js';

export interface Path {
  /** Octets of the largest datagram that it takes. */
  readonly mtu: number;
  /** Why it carries nothing now; undefined: it may well. */
  readonly fault: string | undefined;
  /** For the start: what keeps it from opening is thrown. @throws SyncError */
  open(): Promise<void>;
  /** Interfaces or addresses of this host have changed, or time has passed: open anew if need be. */
  look(): void;
  /** False: not sent, and counted. The bytes belong to the caller again. */
  send(datagram: Uint8Array): boolean;
  stats(): LinkStats;
  close(): void;
}

/** What a path hands up; the bytes are valid during the call. */
export type Receive = (datagram: Uint8Array) => void;

/** Octets of a socket's buffers where the configuration names none. */
export const SEND_BUFFER = 1 << 20;
/** Some 40,000 records, which may come while the event loop has other work. */
export const RECEIVE_BUFFER = 8 << 20;

export function pathName({ kind, interface: device, local }: LinkSettings): string {
  return `${kind} ${device ?? local}`;
}
