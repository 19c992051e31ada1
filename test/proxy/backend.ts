/** Real servers for the tests, and what they need. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcp,
  type Server,
  type Socket,
} from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoName } from '../../kernel/error.js';
import { fdOf, pendingError } from '../../kernel/socket.js';

/** Bytes that are different everywhere, so that a lost, doubled or moved one shows. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i + 4 <= length; i += 4) bytes.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i);
  return bytes;
}

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export interface Backend {
  readonly port: number;
  /** Connections taken so far, by the port they came from. */
  readonly connections: number[];
  close(): Promise<void>;
}

async function open(server: Server, address: string, port = 0): Promise<Backend> {
  const connections: number[] = [];
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    connections.push(socket.remotePort ?? 0);
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  server.listen(port, address);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    connections,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** GET /N answers with pattern(N), PUT with the SHA-256 of what came; Server says who it was. */
export function webServer(address: string, port = 0): Promise<Backend> {
  const server = createHttp((request, response) => {
    response.setHeader('Server', address);
    if (request.method === 'PUT') {
      const hash = createHash('sha256');
      request.on('data', (chunk) => hash.update(chunk));
      request.on('end', () => response.end(hash.digest('hex')));
    } else {
      response.end(pattern(Number(request.url?.slice(1))));
    }
  });
  server.keepAliveTimeout = 0; // an idle connection is the client's to end
  return open(server, address, port);
}

/** Runs `serve` on every connection; both directions end on their own. */
export function tcpServer(address: string, serve: (socket: Socket) => void): Promise<Backend> {
  return open(createTcp({ allowHalfOpen: true }, serve), address);
}

/** A port where nobody listens, free a moment ago. */
export async function freePort(address: string): Promise<number> {
  const backend = await open(createTcp(), address);
  await backend.close();
  return backend.port;
}

/**
 * Until the far end has ended its direction; an RST is an error. (libuv tells an RST that comes
 * with the last data as an end; see proxy/relay.ts.)
 */
function ended(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('end', () => {
      const error = pendingError(fdOf(socket) as number);
      if (error === 0) resolve();
      else reject(Object.assign(new Error('reset'), { code: errnoName(error) }));
    });
  });
}

/** Sends, ends its own direction when told to, and reads to the end; an RST is an error. */
export async function exchange(
  address: string,
  port: number,
  send: Uint8Array | string,
  options: { end?: boolean } = {},
): Promise<Buffer> {
  const socket = connectTcp({ host: address, port, allowHalfOpen: true });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk as Buffer));
  socket.write(send);
  if (options.end) socket.end();
  try {
    await ended(socket);
  } finally {
    socket.destroy();
  }
  return Buffer.concat(chunks);
}

export async function deadline<T>(promise: Promise<T>, ms = 5_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for it; the test's own deadline is the bound. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}
