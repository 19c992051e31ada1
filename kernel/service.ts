import type { Socket } from 'node:net';
import { type Endpoint, isScoped } from './endpoint.js';
import { libc } from './native.js';
import { SERVICE_SIZE, ServiceOffset, SOL_SPLICE, SocketOption } from './record/layout.js';
import { parseAddress } from './record/record.js';
import { fdOf } from './socket.js';

/** A real server as seen behind one virtual server. */
export interface Service {
  virtual: Endpoint;
  real: Endpoint;
}

/**
 * Live splices of a service, as the datapath counts them: right after a takeover too. Any open socket
 * of the proxy's will do to ask by.
 * @returns undefined where the datapath is not loaded, or cannot know the address
 */
export function liveCount(socket: Socket, { virtual, real }: Service): number | undefined {
  const fd = fdOf(socket);
  if (fd === undefined || isScoped(virtual.address)) return undefined;
  const service = Buffer.alloc(SERVICE_SIZE);
  parseAddress(virtual.address, service, ServiceOffset.vaddr);
  parseAddress(real.address, service, ServiceOffset.raddr);
  service.writeUInt16BE(virtual.port, ServiceOffset.vport);
  service.writeUInt16BE(real.port, ServiceOffset.rport);
  if (libc.setsockopt(fd, SOL_SPLICE, SocketOption.SERVICE, service, service.length)) {
    return undefined;
  }
  const live = Buffer.alloc(4);
  if (libc.getsockopt(fd, SOL_SPLICE, SocketOption.COUNT, live, [4])) return undefined;
  return live.readUInt32LE();
}
