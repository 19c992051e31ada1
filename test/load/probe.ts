// SPDX-License-Identifier: MIT
/** Drives the probe of a live connection: what it does, and what it says, stands in probe.c. */
import { compile, Program, type Spawn } from './program.js';

export interface Gap {
  /** The longest time without an answer since the mark; times are ms of CLOCK_MONOTONIC. */
  gap_ms: number;
  from: number;
  to: number;
  /** The last answer. */
  last: number;
  sent: number;
  answered: number;
  reset: boolean;
}

export function compileProbe(output: string): string {
  return compile(['probe.c'], output);
}

export class Probe {
  readonly #program: Program;

  /** @param argv how it is called: a scheduler's command line in front of it, for one that is never late */
  static async open(spawn: Spawn, argv: string[]): Promise<Probe> {
    const probe = new Probe(new Program('the probe', spawn(argv)));
    await probe.#program.ready();
    return probe;
  }

  private constructor(program: Program) {
    this.#program = program;
  }

  async mark(): Promise<number> {
    return (await this.#program.ask<{ marked: number }>('mark')).marked;
  }

  report(): Promise<Gap> {
    return this.#program.ask<Gap>('report');
  }

  stop(): Promise<void> {
    return this.#program.stop();
  }
}
