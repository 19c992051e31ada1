// SPDX-License-Identifier: MIT
/** A program that is asked by lines on its standard input, and answers each by a line of JSON. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { command, LabError } from '../lab/lab.js';
import { within } from '../support/within.js';

/** Of 100,000 flows a report is ready in a tenth of a second; the machine may be busy. */
const ANSWER_MS = 60_000;
/** Its connection has to be made first. */
const READY_MS = 30_000;

/** Starts it with standard input, output and error as pipes, wherever that may be. */
export type Spawn = (argv: string[]) => ChildProcess;

/** Compiles a program of this directory. @param output the file to make */
export function compile(sources: readonly string[], output: string): string {
  const files = sources.map((name) => fileURLToPath(new URL(name, import.meta.url)));
  command('clang', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', output, ...files]);
  return output;
}

export class Program {
  /** Called for a line that answers nothing. */
  onUnasked: ((said: object) => void) | undefined;
  readonly #waiting: { resolve(answer: unknown): void; reject(error: Error): void }[] = [];
  readonly #ready: Promise<unknown>;
  #said = '';

  /** @param unasked what tells a line that answers nothing: it has this key */
  constructor(
    readonly name: string,
    readonly child: ChildProcess,
    readonly unasked?: string,
  ) {
    this.#ready = this.#answer();
    this.#ready.catch(() => {}); // told by ready()
    child.stdin?.on('error', () => {}); // 'close' tells
    child.on('error', (error) => this.#fail(error.message));
    child.on('close', (status) => this.#fail(`ended with status ${status}: ${this.#said.trim()}`));
    child.stderr?.on('data', (piece) => {
      this.#said += piece;
    });
    if (child.stdout) createInterface(child.stdout).on('line', (line) => this.#take(line));
  }

  /** Resolves when it has said that it is. */
  async ready(): Promise<void> {
    await within(READY_MS, `${this.name} to be ready`, this.#ready);
  }

  async ask<T>(line: string): Promise<T> {
    if (this.#ended) {
      throw new LabError('ENDED_EARLY', `${this.name} has ended: ${this.#said.trim()}`);
    }
    const answered = this.#answer();
    this.child.stdin?.write(`${line}\n`);
    return (await within(ANSWER_MS, `the answer of ${this.name} to '${line}'`, answered)) as T;
  }

  async stop(): Promise<void> {
    if (this.#ended) return;
    const ended = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdin?.end('stop\n');
    try {
      await within(ANSWER_MS, `the end of ${this.name}`, ended);
    } catch (error) {
      this.child.kill('SIGKILL');
      throw error;
    }
  }

  get #ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  #answer(): Promise<unknown> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #fail(why: string): void {
    for (const { reject } of this.#waiting.splice(0)) {
      reject(new LabError('ENDED_EARLY', `${this.name}: ${why}`));
    }
  }

  #take(line: string): void {
    const said = JSON.parse(line);
    if (this.unasked !== undefined && this.unasked in said) this.onUnasked?.(said);
    else this.#waiting.shift()?.resolve(said);
  }
}
