// SPDX-License-Identifier: MIT
/** What a client of the soak asks for, in the first line of its connection. */
import type { Family } from '../../../kernel/endpoint.js';

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

/** Between whole numbers, the upper one excluded; the same for the same seed (mulberry32). */
export function generator(seed: number): (low: number, high: number) => number {
  let state = seed >>> 0;
  return (low, high) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return low + Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * (high - low));
  };
}
