// SPDX-License-Identifier: MIT
/** The kernel's own tracepoints, in a trace buffer of this run's own: nobody else's tracing is touched. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Lab, LabError } from '../test/lab/lab.js';

/** An instance of tracefs; it exists until it is closed. */
export class Trace {
  readonly #root: string;
  readonly #dir: string;
  readonly #onExit = () => this.close();

  /** @param bufferKb for each processor */
  constructor(lab: Lab, bufferKb: number) {
    this.#root = lab.mount('tracefs', 'trace');
    this.#dir = join(this.#root, 'instances', `lab-${lab.id}`);
    if (!existsSync(join(this.#root, 'instances'))) {
      throw new LabError('MISSING', 'this kernel has no tracepoints (CONFIG_FTRACE)');
    }
    mkdirSync(this.#dir);
    process.prependListener('exit', this.#onExit); // before the lab takes the mount away
    this.#write('buffer_size_kb', `${bufferKb}`);
    this.#write('tracing_on', '0');
    this.#write('trace_clock', 'mono');
  }

  #write(file: string, text: string): void {
    writeFileSync(join(this.#dir, file), text);
  }

  /** Whether the kernel has this event (GROUP/NAME). */
  has(event: string): boolean {
    return existsSync(join(this.#root, 'events', event));
  }

  /** Have this event traced, where the filter (kernel documentation, trace/events) holds. */
  enable(event: string, filter = '0'): void {
    if (!this.has(event)) {
      throw new LabError('MISSING', `this kernel has no tracepoint ${event}`);
    }
    this.#write(`events/${event}/filter`, filter);
    this.#write(`events/${event}/enable`, '1');
  }

  start(): void {
    this.#write('trace', '');
    this.#write('tracing_on', '1');
  }

  /** The lines since start(), or the last ones of them where the buffer was too small. */
  stop(): string[] {
    this.#write('tracing_on', '0');
    return readFileSync(join(this.#dir, 'trace'), 'latin1').split('\n');
  }

  close(): void {
    process.off('exit', this.#onExit);
    if (existsSync(this.#dir)) rmdirSync(this.#dir);
  }
}
