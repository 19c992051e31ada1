/**
 * Relaying in user space: the fallback for a flow that cannot be spliced. Both sockets are of
 * allowHalfOpen, so that the end of one direction leaves the other open; stream.pipe() gives the
 * back-pressure.
 */
import type { Socket } from 'node:net';
import { fdOf, pendingError } from '../kernel/socket.js';

/** A flow that moves nothing in either direction for this long is ended, and counted. */
export const RELAY_IDLE_MS = 3_600_000;
/** After this time without traffic the kernel asks the end whether it is still there. */
const KEEPALIVE_MS = 60_000;

export type RelayEnd = 'completed' | 'broken' | 'idle';

/** What was read from each side and is still owed to the other. */
export interface Owed {
  toServer: Uint8Array;
  toClient: Uint8Array;
}

/**
 * An RST that comes with the last data is told by libuv as an end (it takes POLLHUP after a short
 * read for one); the error is still pending in the socket.
 */
function brokenOff(socket: Socket): boolean {
  const fd = fdOf(socket);
  return fd !== undefined && pendingError(fd) !== 0;
}

/**
 * Copies both ways until both directions have ended, or one end breaks. A break goes to the other
 * end as an RST: a FIN would pass a truncated transfer off as a complete one.
 */
export function relay(
  client: Socket,
  server: Socket,
  owed: Owed,
  idleMs = RELAY_IDLE_MS,
): Promise<RelayEnd> {
  return new Promise((resolve) => {
    const sockets = [client, server];
    let open = sockets.length;
    let end: RelayEnd = 'completed';
    let moved = -1;

    const reset = (why: RelayEnd) => {
      if (end === 'completed') end = why;
      for (const socket of sockets) if (!socket.destroyed) socket.resetAndDestroy();
    };
    const onClose = (socket: Socket) => {
      if (!socket.readableEnded || !socket.writableFinished) reset('broken');
      if (--open > 0) return;
      clearInterval(timer);
      resolve(end);
    };
    // Two looks that find the same count of bytes: idle for idleMs at least, twice that at most.
    const timer = setInterval(() => {
      const now = client.bytesRead + server.bytesRead;
      if (now === moved) reset('idle');
      moved = now;
    }, idleMs);

    for (const socket of sockets) {
      socket.setKeepAlive(true, KEEPALIVE_MS);
      socket.on('error', () => reset('broken'));
      socket.once('end', () => {
        if (brokenOff(socket)) reset('broken');
      });
      if (socket.closed) onClose(socket);
      else socket.once('close', () => onClose(socket));
    }
    if (end !== 'completed') return;
    if (owed.toServer.length > 0) server.write(owed.toServer);
    if (owed.toClient.length > 0) client.write(owed.toClient);
    client.pipe(server);
    server.pipe(client);
  });
}
