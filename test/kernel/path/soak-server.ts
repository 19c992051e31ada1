// SPDX-License-Identifier: MIT
/** The real server of the soak, a process of its own: tells its parent of every byte that is wrong. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { ADDRESS } from './network.js';
import { type Request, readRequest } from './soak-protocol.js';
import { receive, send } from './transfer.js';

const KEEPALIVE_MS = 1000;

async function serve(socket: Socket, { kind, up, down }: Request): Promise<void> {
  if (kind === 'cut') {
    await send(socket, down >> 1);
    socket.resetAndDestroy();
    return;
  }
  if (kind === 'both') {
    await Promise.all([receive(socket, up), send(socket, down)]);
    await once(socket.resume(), 'end');
  } else {
    if (up > 0) await receive(socket, up);
    if (kind === 'half') await once(socket.resume(), 'end');
    await send(socket, down);
  }
  socket.end();
  if (kind !== 'both' && kind !== 'half') await once(socket.resume(), 'end');
}

async function accept(socket: Socket): Promise<void> {
  socket.setKeepAlive(true, KEEPALIVE_MS);
  const [head] = (await once(socket, 'data')) as [Buffer];
  socket.pause();
  const { request, rest } = readRequest(head);
  if (rest.length > 0) socket.unshift(rest);
  await serve(socket, request).catch((error) => {
    if (request.kind === 'abort') return;
    process.send?.({ bad: `server: ${JSON.stringify(request)}: ${error.message}` });
  });
}

const servers = Object.values(ADDRESS.server).map((address) =>
  createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    accept(socket).catch(() => socket.destroy());
  }).listen(9000, address),
);
await Promise.all(servers.map((server) => once(server, 'listening')));
process.on('disconnect', () => process.exit());
process.send?.('ready');
