// SPDX-License-Identifier: MIT
/** How long BPF timers hold a processor, as the kernel's own tracepoints tell. */
import type { Lab } from '../../test/lab/lab.js';
import { Trace } from '../trace.js';

const EVENTS = ['hrtimer_expire_entry', 'hrtimer_expire_exit'] as const;
const BUFFER_KB = 4096;
const LINE = /\[(\d+)\].*?([\d.]+): (hrtimer_expire_\w+): hrtimer=(\w+)(?: function=(\w+))?/;

export class TimerTrace {
  readonly #trace: Trace;

  constructor(lab: Lab) {
    this.#trace = new Trace(lab, BUFFER_KB);
    for (const event of EVENTS) this.#trace.enable(`timer/${event}`);
  }

  start(): void {
    this.#trace.start();
  }

  /** Milliseconds that each expiry took since start(), by timer. */
  stop(): Map<string, number[]> {
    const begun = new Map<string, { timer: string; at: number }>();
    const durations = new Map<string, number[]>();
    for (const line of this.#trace.stop()) {
      const [, cpu, at, event, timer, callback] = LINE.exec(line) ?? [];
      if (event === EVENTS[0] && callback === 'bpf_timer_cb') {
        begun.set(`${cpu} ${timer}`, { timer, at: Number(at) });
      } else if (event === EVENTS[1]) {
        const entry = begun.get(`${cpu} ${timer}`);
        if (!entry) continue;
        begun.delete(`${cpu} ${timer}`);
        durations.set(timer, [...(durations.get(timer) ?? []), (Number(at) - entry.at) * 1000]);
      }
    }
    return durations;
  }

  close(): void {
    this.#trace.close();
  }
}
