// SPDX-License-Identifier: MIT
/**
 * A real server, on both of its addresses. One request a connection, a line:
 *   GET n         n bytes of the pattern, then FIN
 *   PUT n         reads n bytes, answers "n sha256", then FIN
 *   SLOW n ms     as PUT, but reads nothing for ms
 *   ALL           reads until FIN, answers as PUT
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { pattern } from './pattern.js';
import { serverLeg } from './plan.js';

async function write(socket: Socket, data: Buffer): Promise<void> {
  if (!socket.write(data)) await new Promise((resolve) => socket.once('drain', resolve));
}

async function serve(socket: Socket): Promise<void> {
  const pieces = socket.iterator({ destroyOnReturn: false });
  let head = Buffer.alloc(0);
  while (!head.includes(10)) {
    const { value, done } = await pieces.next();
    if (done) {
      socket.destroy(); // nothing was asked
      return;
    }
    head = Buffer.concat([head, value]);
  }
  const end = head.indexOf(10);
  const [verb, size, pause] = head.toString('latin1', 0, end).split(' ');
  if (verb === 'GET') {
    for (const piece of pattern(Number(size))) await write(socket, piece);
    socket.end();
    return;
  }
  if (verb === 'SLOW') await sleep(Number(pause));
  const wanted = verb === 'ALL' ? Number.POSITIVE_INFINITY : Number(size);
  const hash = createHash('sha256');
  let got = 0;
  for (let piece: Buffer = head.subarray(end + 1); ; ) {
    hash.update(piece);
    got += piece.length;
    if (got >= wanted) break;
    const { value, done } = await pieces.next();
    if (done) break;
    piece = value;
  }
  socket.end(`${got} ${hash.digest('hex')}`);
}

for (const family of [4, 6] as const) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    serve(socket).catch(() => socket.destroy());
  });
  server.listen(serverLeg.port, serverLeg[family].there);
  await once(server, 'listening');
}
process.send?.('ready');
process.on('disconnect', () => process.exit());
