import { once } from 'node:events';
import type { Server } from 'node:net';
import { type Endpoint, endpointText } from './endpoint.js';
import { KernelError } from './error.js';
import { boundSocket, fdOf, setMss } from './socket.js';

export interface ListenOptions extends Endpoint {
  backlog: number;
  /** Clamp of the clients' segments, so that they fit the server legs too; 0 leaves it to the path. */
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
      `${endpointText(options)} is in use; end its owner or change the port`,
    );
  }
  setMss(fd, options.mss ?? 0);
  server.listen({ fd }, options.backlog); // with a descriptor, node:net does not look at options.backlog
  await once(server, 'listening');
}

/** Another clamp for the connections to come. */
export function clamp(server: Server, mss: number): void {
  const fd = fdOf(server);
  if (fd !== undefined) setMss(fd, mss);
}
