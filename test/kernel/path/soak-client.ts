// SPDX-License-Identifier: MIT
/** A client process of the soak: transfers one after the other in so many rows, until it is told to stop. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { within } from '../../support/within.js';
import { ADDRESS } from './network.js';
import { KINDS, numbers, type Request, requestLine } from './soak-protocol.js';
import { untilReset } from './tcp.js';
import { receive, send } from './transfer.js';

const [seed, rows] = process.argv.slice(2).map(Number);
const KEEPALIVE_MS = 1000;
/** SYNs that are lost twice cost 3 s. */
const TRANSFER_MS = 20_000;
const between = numbers(seed);
const done: Record<string, number> = {};
let stopped = false;

const size = (): number => 1 + Math.floor(2 ** (between(0, 18_000) / 1000)); // to 256 KB, small ones more often

function request(): Request {
  const kind = KINDS[between(0, KINDS.length)];
  return {
    kind,
    up: kind === 'download' || kind === 'cut' ? 0 : size(),
    down: kind === 'upload' ? 2 : size(),
    family: between(0, 2) ? 6 : 4,
  };
}

/** No byte more, but a FIN. */
async function end(socket: Socket): Promise<void> {
  const many = (bytes: Buffer) => socket.destroy(new Error(`${bytes.length} bytes too many`));
  socket.once('data', many);
  await once(socket.resume(), 'end');
}

/** What has come is right, and then the connection breaks. */
async function broken(socket: Socket, length: number): Promise<void> {
  const error = await receive(socket, length).then(
    () => new Error('all came, and no reset'),
    (reason) => reason,
  );
  if (/wrong bytes/.test(error.message)) throw error;
  await untilReset(socket, TRANSFER_MS);
  socket.destroy();
}

async function transfer(r: Request): Promise<void> {
  const host = ADDRESS.virtual[between(0, 2) ? 6 : 4];
  const moment = between(0, 60);
  const socket = connect({ host, port: 80, allowHalfOpen: true });
  socket.setKeepAlive(true, KEEPALIVE_MS);
  socket.on('error', () => socket.destroy());
  await once(socket, 'connect');
  socket.pause();
  socket.write(requestLine(r));
  if (r.kind === 'abort') {
    const both = Promise.all([send(socket, r.up), receive(socket, r.down)]);
    await Promise.race([both.catch(() => {}), sleep(moment)]);
    socket.resetAndDestroy();
    await both.catch((error) => {
      if (/wrong bytes/.test(error.message)) throw error;
    });
    return;
  }
  if (r.kind === 'cut') {
    await broken(socket, r.down);
    return;
  }
  if (r.kind === 'both') {
    await Promise.all([send(socket, r.up), receive(socket, r.down)]);
    socket.end();
  } else {
    await send(socket, r.up);
    if (r.kind === 'half') {
      await sleep(moment); // before it is spliced, while it is, or afterwards
      socket.end();
    }
    await receive(socket, r.down);
  }
  await end(socket);
  socket.end();
  if (!socket.closed) await once(socket, 'close');
}

async function row(): Promise<void> {
  while (!stopped) {
    const r = request();
    try {
      await within(TRANSFER_MS, 'transfer', transfer(r));
      done[r.kind] = (done[r.kind] ?? 0) + 1;
    } catch (error) {
      process.send?.({ bad: `client ${seed}: ${JSON.stringify(r)}: ${(error as Error).message}` });
    }
  }
}

process.on('message', () => {
  stopped = true;
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
await Promise.all(Array.from({ length: rows }, row));
process.send?.({ done });
