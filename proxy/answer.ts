/** The few answers that the load balancer gives itself, and the close that lets them arrive. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';

const LINGER_MS = 2_000;
const LINGER_BYTES_MAX = 256 * 1024;

/**
 * Answers, closes, and comes back when the socket is gone. What the client is still sending is
 * read and thrown away for a while: closing with unread bytes in the socket sends an RST, and an
 * RST takes the answer back (RFC 9112 section 9.6).
 */
export function answer(
  client: Socket,
  status: number,
  reason: string,
  withBody = true,
): Promise<void> {
  const body = `${reason}\n`;
  const head =
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n` +
    `Content-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
    'Connection: close\r\n\r\n';
  return new Promise((resolve) => {
    if (client.destroyed) return resolve();
    let left = LINGER_BYTES_MAX;
    const timer = setTimeout(() => client.destroy(), LINGER_MS);
    client.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    client.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) client.destroy();
    });
    client.end(withBody ? head + body : head);
    client.resume();
  });
}
