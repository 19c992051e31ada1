// SPDX-License-Identifier: MIT
/** What a client of the soak asks for, in the first line of its connection. */
import type { Family } from '../../../kernel/endpoint.js';
import { generator } from '../../support/random.js';

/**
 * download, upload: one way, then the server closes. both: both ways at once, then the client closes.
 * half: the client closes its half before the server begins. abort: the client resets at any moment.
 * cut: the server resets when it has sent half.
 */
export const KINDS = ['download', 'upload', 'both', 'half', 'abort', 'cut'] as const;
export type Kind = (typeof KINDS)[number];

export interface Request {
  kind: Kind;
  /** Bytes from the client, and from the server. */
  up: number;
  down: number;
  /** Of the server's leg. */
  family: Family;
}

export const requestLine = (r: Request): string => `${r.kind} ${r.up} ${r.down} ${r.family}\n`;

/** The request in the first bytes of a connection, and what follows it. */
export function readRequest(head: Buffer): { request: Request; rest: Buffer } {
  const end = head.indexOf(10);
  const [kind, up, down, family] = head.toString('latin1', 0, end).split(' ');
  const request: Request = {
    kind: kind as Kind,
    up: Number(up),
    down: Number(down),
    family: Number(family) as Family,
  };
  return { request, rest: head.subarray(end + 1) };
}

/** Between whole numbers, the upper one excluded; the same for the same seed. */
export function numbers(seed: number): (low: number, high: number) => number {
  const random = generator(seed);
  return (low, high) => low + Math.floor(random() * (high - low));
}
