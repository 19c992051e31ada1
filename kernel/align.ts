import type { Server } from 'node:net';
import { type Endpoint, isWildcard } from './endpoint.js';
import { errno, libc } from './native.js';
import { ALIGN_SIZE, AlignOffset, SOL_SPLICE, SocketOption } from './record/layout.js';
import { parseAddress } from './record/record.js';
import { Errno, fdOf } from './socket.js';

/**
 * What clients of a listening address are not to negotiate from now on, since the servers behind it
 * cannot: the datapath takes it out of their SYNs.
 * @param options bits of Option, of leg 0; 0 lets them negotiate all again
 * @returns 0 or the errno that record.h names; ENOPROTOOPT where the datapath is not loaded, EADDRNOTAVAIL
 *   for a wildcard address, to which no SYN is sent
 */
export function withhold(listener: Server, at: Endpoint, options: number): number {
  const fd = fdOf(listener);
  if (fd === undefined) return Errno.ENOENT;
  if (isWildcard(at.address)) return Errno.EADDRNOTAVAIL;
  const align = Buffer.alloc(ALIGN_SIZE);
  parseAddress(at.address, align, AlignOffset.address);
  align.writeUInt16BE(at.port, AlignOffset.port);
  align[AlignOffset.options] = options;
  return libc.setsockopt(fd, SOL_SPLICE, SocketOption.ALIGN, align, align.length) ? errno() : 0;
}
