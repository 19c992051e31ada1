// SPDX-License-Identifier: MIT
/** Bytes from one socket to another, each of them compared with what was sent. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { within } from '../../support/within.js';
import { pattern } from '../ends/pattern.js';
import type { Flow } from './flow.js';
import type { Side } from './network.js';

export type Way = 'download' | 'upload';
export const WAYS: Way[] = ['download', 'upload'];
/** The way of what a side sends. */
export const way = (from: Side): Way => (from === 'client' ? 'upload' : 'download');

export interface Pace {
  /** Bytes written at a time. */
  piece?: number;
  /** Pause after each. */
  paceMs?: number;
}

/** Write so many bytes of the pattern, as fast as the socket takes them. */
export async function send(socket: Socket, length: number, pace: Pace = {}): Promise<void> {
  for (const piece of pattern(length, pace.piece)) {
    if (!socket.write(piece)) {
      await new Promise<void>((resolve, reject) => {
        const closed = () => reject(new Error('closed while sending'));
        socket.once('close', closed);
        socket.once('drain', () => {
          socket.off('close', closed);
          resolve();
        });
      });
    }
    if (pace.paceMs) await sleep(pace.paceMs);
  }
}

/** Read so many bytes; they must be the pattern's, from its beginning. */
export function receive(socket: Socket, length: number): Promise<void> {
  const expected = pattern(length);
  let due: Buffer = Buffer.alloc(0);
  let at = 0;
  /** Where the bytes go wrong, if they do. */
  const compare = (bytes: Buffer): number | undefined => {
    for (let i = 0; i < bytes.length; ) {
      if (due.length === 0) due = expected.next().value ?? Buffer.alloc(0);
      const n = Math.min(due.length, bytes.length - i);
      if (n === 0 || !bytes.subarray(i, i + n).equals(due.subarray(0, n))) return at;
      due = due.subarray(n);
      at += n;
      i += n;
    }
    return undefined;
  };
  return new Promise((resolve, reject) => {
    const done = (error?: Error): void => {
      socket.pause();
      socket.off('data', take).off('end', ended).off('close', ended);
      if (error) reject(error);
      else resolve();
    };
    const ended = (): void => done(new Error(`ended after ${at} of ${length} bytes`));
    const take = (bytes: Buffer): void => {
      const mine = bytes.subarray(0, length - at);
      if (mine.length < bytes.length) socket.pause().unshift(bytes.subarray(mine.length));
      const wrong = compare(mine);
      if (wrong !== undefined) done(new Error(`wrong bytes near ${wrong} of ${length}`));
      else if (at === length) done();
    };
    socket.on('data', take).on('end', ended).on('close', ended);
    socket.resume();
  });
}

/** Send over a flow, and compare all that arrives. Returns how long it took, in ms. */
export async function transfer(
  { client, server }: Pick<Flow, 'client' | 'server'>,
  way: Way,
  length: number,
  { ms, ...pace }: Pace & { ms: number },
): Promise<number> {
  const [from, to] = way === 'download' ? [server, client] : [client, server];
  const begun = performance.now();
  const both = Promise.all([send(from, length, pace), receive(to, length)]);
  await within(ms, `${way} of ${length} bytes`, both);
  return performance.now() - begun;
}

/** Close a flow in good order: the client first, or the server. Nothing more may come from either. */
export async function finish(
  { client, server }: Pick<Flow, 'client' | 'server'>,
  first: Side = 'client',
): Promise<void> {
  const [one, other] = first === 'client' ? [client, server] : [server, client];
  const ended = (socket: Socket) =>
    new Promise<void>((resolve, reject) => {
      socket.once('data', (bytes) => reject(new Error(`${bytes.length} bytes too many`)));
      socket.once('end', resolve).once('error', reject);
      socket.resume();
    });
  const atOther = ended(other);
  one.end();
  await within(2000, 'the first FIN', atOther);
  const atOne = ended(one);
  other.end();
  await within(2000, 'the second FIN', atOne);
}
