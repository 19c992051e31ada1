import { once } from 'node:events';
import type { Server } from 'node:net';
import { KernelError } from './error.js';
import { boundSocket, type Endpoint, setMss } from './socket.js';

export interface ListenOptions extends Endpoint {
  backlog: number;
  /** Clamp of the clients' segments, so that they fit the server legs too. */
  mss?: number;
}

/**
 * Listen on an address that this node may not own yet: a backup is ready before the address comes.
 * @throws KernelError SYSTEM_CALL when the port is in use
 */
export async function listen(server: Server, options: ListenOptions): Promise<void> {
  const fd = boundSocket(options);
  if (fd === undefined) {
    throw new KernelError(
      'SYSTEM_CALL',
      `${options.address}:${options.port} is in use; end its owner or change the port`,
    );
  }
  setMss(fd, options.mss ?? 0);
  server.listen({ fd }, options.backlog); // with a descriptor, node:net does not look at options.backlog
  await once(server, 'listening');
}
