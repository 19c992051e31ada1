// SPDX-License-Identifier: MIT
/**
 * When a daemon has taken in what came over the link: seen from outside, at the same place for every
 * daemon, and without asking it anything. A datagram that it has received is done with when the daemon
 * waits for something new again.
 */
import type { Lab } from '../../test/lab/lab.js';
import { Trace } from '../trace.js';

const RECEIVED = 'sock/sock_recv_length';
/** By which of them a program waits is its own affair. */
const WAITS = ['epoll_wait', 'epoll_pwait', 'epoll_pwait2', 'select', 'pselect6', 'poll', 'ppoll'];
const SWITCH = 'sched/sched_switch';
const GIVES_WAY = /prev_pid=(\d+) /;
const UDP = 17;
const BUFFER_KB = 16_384;
const LINE = /-\d+ +\[\d+\].*? ([\d.]+): (\w+)/;

/** A turn of a daemon's loop: when it began to wait, and for how long it had been at work before that. */
export interface Waits {
  /** Milliseconds of CLOCK_MONOTONIC at which it had taken in a datagram or more, in order. */
  readonly taken: number[];
  /** The longest time between two waits in milliseconds. */
  readonly longestTurn: number;
  /** The most that one of them took of a processor: without what other programs and threads had meanwhile. */
  readonly longestWork: number;
}

export class Arrivals {
  readonly #trace: Trace;
  readonly #waits: string[];
  #pid = 0;

  constructor(lab: Lab) {
    this.#trace = new Trace(lab, BUFFER_KB);
    this.#waits = WAITS.filter((name) => this.#trace.has(`syscalls/sys_enter_${name}`));
  }

  /** Look at the process's main thread; datagrams below so many octets carry no entry. */
  start(pid: number, datagramMin: number): void {
    this.#trace.enable(
      RECEIVED,
      `common_pid == ${pid} && protocol == ${UDP} && ret >= ${datagramMin}`,
    );
    for (const name of this.#waits) {
      this.#trace.enable(`syscalls/sys_enter_${name}`, `common_pid == ${pid}`);
      this.#trace.enable(`syscalls/sys_exit_${name}`, `common_pid == ${pid}`);
    }
    this.#trace.enable(SWITCH, `prev_pid == ${pid} || next_pid == ${pid}`);
    this.#pid = pid;
    this.#trace.start();
  }

  stop(): Waits {
    const taken: number[] = [];
    let received = false;
    let woken = Number.POSITIVE_INFINITY;
    let longestTurn = 0;
    let longestWork = 0;
    let away = 0; // in this turn
    let left = Number.NaN;
    for (const line of this.#trace.stop()) {
      const [, seconds, event] = LINE.exec(line) ?? [];
      if (event === undefined) continue;
      const at = Number(seconds) * 1000;
      if (event === 'sock_recv_length') received = true;
      else if (event === 'sched_switch') {
        const [, from] = GIVES_WAY.exec(line) ?? [];
        if (Number(from) === this.#pid) left = at;
        else if (!Number.isNaN(left)) {
          away += at - left;
          left = Number.NaN;
        }
      } else if (line.includes('->')) {
        woken = at;
        away = 0;
      } else {
        if (received) taken.push(at);
        received = false;
        longestTurn = Math.max(longestTurn, at - woken);
        longestWork = Math.max(longestWork, at - woken - away);
        woken = Number.POSITIVE_INFINITY;
      }
    }
    return { taken, longestTurn, longestWork };
  }

  close(): void {
    this.#trace.close();
  }
}
