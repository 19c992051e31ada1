/** What the system allows this process, and what follows from it. */
import { readFileSync } from 'node:fs';

/** Descriptors that are not a client's: log, listening sockets, epoll, the door to the datapath. */
const FILES_RESERVED = 64;
const FILES_PER_CONNECTION = 2;
/** Beyond this the memory of a process is the limit, not its file table. */
const CONNECTIONS_MAX = 100_000;

/** Connections in hand at once: being set up, relayed, or waiting for their last acknowledgement. */
export function connectionsMax(virtualServers: number): number {
  const open = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  const files = open && open[1] !== 'unlimited' ? Number(open[1]) : Number.POSITIVE_INFINITY;
  const room = Math.floor((files - FILES_RESERVED - virtualServers) / FILES_PER_CONNECTION);
  return Math.max(1, Math.min(room, CONNECTIONS_MAX));
}

/** The kernel cuts a larger backlog down to this without a word. */
export function backlogMax(): number {
  return Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
}
