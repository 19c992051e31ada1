// SPDX-License-Identifier: MIT
/** What a bench is, to the frame that runs it. */
import type { Lab } from '../test/lab/lab.js';

/** One measured thing, ours beside the peers'. */
export interface Row {
  name: string;
  unit: string;
  better: 'higher' | 'lower';
  ours: number;
  peers: Record<string, number>;
  /** By peer: the least ratio that we want (see ratio()). */
  aim: Record<string, number>;
  /** Every aim is reached. A row without an aim, which only tells, holds. */
  holds: boolean;
}

export interface Context {
  lab: Lab;
  /** Fewer and shorter runs: an answer within 50 s. */
  quick: boolean;
  /** This part was asked for by its name. */
  named: boolean;
  /** What is going on, for a human who waits. */
  tell(text: string): void;
}

/** A part of a bench that can be run alone, with the programs that it needs (PROGRAM[=PACKAGE]). */
export interface Part {
  needs: string[];
  run(context: Context): Promise<Row[]>;
}

export interface Bench {
  name: string;
  about: string;
  parts: Record<string, Part>;
}

/**
 * How far ours is ahead of a peer: more is better, whichever way the unit goes. A cost that is lost in
 * the noise (a difference of two measurements that came out at nothing, or below) counts as none.
 */
export function ratio(row: Pick<Row, 'better' | 'ours' | 'peers'>, peer: string): number {
  const [ours, theirs] = [row.ours, row.peers[peer]];
  if (row.better === 'higher') return ours / theirs;
  if (ours > 0) return Math.max(theirs, 0) / ours;
  return theirs > 0 ? Number.POSITIVE_INFINITY : 1;
}

export function row(measured: Omit<Row, 'holds'>): Row {
  const holds = Object.entries(measured.aim).every(([peer, aim]) => ratio(measured, peer) >= aim);
  return { ...measured, holds };
}
