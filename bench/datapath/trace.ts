// SPDX-License-Identifier: MIT
/** How long BPF timers hold a processor, as the kernel's own tracepoints tell. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Lab, LabError } from '../../test/lab/lab.js';

const EVENTS = ['hrtimer_expire_entry', 'hrtimer_expire_exit'] as const;
const BUFFER_KB = 4096;
const LINE = /\[(\d+)\].*?([\d.]+): (hrtimer_expire_\w+): hrtimer=(\w+)(?: function=(\w+))?/;

/** A trace buffer of this run's own (an instance of tracefs), so that nobody else's tracing is touched. */
export class TimerTrace {
  readonly #dir: string;
  readonly #onExit = () => this.close();

  constructor(lab: Lab) {
    const root = lab.mount('tracefs', 'trace');
    this.#dir = join(root, 'instances', `lab-${lab.id}`);
    if (!existsSync(join(root, 'events/timer', EVENTS[0]))) {
      throw new LabError('MISSING', 'this kernel has no tracepoints of timers (CONFIG_FTRACE)');
    }
    mkdirSync(this.#dir);
    process.prependListener('exit', this.#onExit); // before the lab takes the mount away
    this.#write('buffer_size_kb', BUFFER_KB);
    this.#write('tracing_on', 0);
    for (const event of EVENTS) this.#write(`events/timer/${event}/enable`, 1);
  }

  #write(file: string, value: number): void {
    writeFileSync(join(this.#dir, file), `${value}`);
  }

  start(): void {
    writeFileSync(join(this.#dir, 'trace'), '');
    this.#write('tracing_on', 1);
  }

  /** Milliseconds that each expiry took since start(), by timer. */
  stop(): Map<string, number[]> {
    this.#write('tracing_on', 0);
    const begun = new Map<string, { timer: string; at: number }>();
    const durations = new Map<string, number[]>();
    for (const line of readFileSync(join(this.#dir, 'trace'), 'latin1').split('\n')) {
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
    process.off('exit', this.#onExit);
    if (existsSync(this.#dir)) rmdirSync(this.#dir);
  }
}
