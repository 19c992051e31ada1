// SPDX-License-Identifier: MIT
/** A pair of daemons that replicate, and what can be asked of every such pair. */
import { readdirSync, readFileSync } from 'node:fs';
import { type Lab, LabError, type Started } from '../../test/lab/lab.js';
import type { Network, Side } from './network.js';

export type Format = 'text' | 'xml';

/** Times are milliseconds of CLOCK_MONOTONIC. */
export interface System {
  readonly name: string;
  readonly network: Network;
  /** Smallest datagram that carries an entry, in octets. */
  readonly datagramMin: number;
  /** Start both daemons with empty tables; resolves when they are in sync. */
  start(): Promise<void>;
  /** End both daemons, and empty the tables of the kernel. */
  stop(): Promise<void>;
  pid(side: Side): number;
  /** Octets on the link so far, both ways, Ethernet's header of every datagram included. */
  octets(): Promise<number>;
  /** Put new entries, numbered from `first`, into the kernel table of a. @returns when it began */
  insert(first: number, count: number): Promise<number>;
  /** Change entries of a's kernel table one by one, pauses between. @returns when each change began */
  update(first: number, count: number, pauseMs: number): Promise<number[]>;
  /** Entries in b's external cache. */
  held(): Promise<number>;
  /** Empty b's external cache. */
  forget(): Promise<void>;
  /** Let b ask a for all that it has; does not wait for the answer. */
  request(): Promise<void>;
  /** a's daemon dies, as what a takeover follows upon. */
  die(): Promise<void>;
  /** Put b's external cache into b's kernel table. */
  commit(): Promise<void>;
  /** Entries in b's kernel table. */
  committed(): Promise<number>;
  /** The command that writes b's external cache to its standard output. */
  dump(format: Format): string[];
}

/** The scheduling class and the nice value of every daemon. */
export const NICE = -20;

export function alike(lab: Lab, side: string, pid: number): void {
  lab.exec(side, 'chrt', '--other', '--all-tasks', '--pid', '0', `${pid}`);
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    lab.exec(side, 'renice', '-n', `${NICE}`, '-p', task);
  }
}

/** CPU that all threads of a process have used, in microseconds (sched-stats of the kernel). */
export function cpuMicroseconds(pid: number): number {
  let nanoseconds = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(
      readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0],
    );
  }
  return nanoseconds / 1000;
}

/** What a process has in memory, in octets. */
export function residentBytes(pid: number): number {
  const [, kb] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return Number(kb) * 1024;
}

export function pidOf(started: Started | undefined): number {
  const pid = started?.child.pid;
  if (pid === undefined) throw new LabError('NOT_READY', 'a daemon that has not been started');
  return pid;
}
