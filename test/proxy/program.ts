/** A program that the test starts and ends, and what it says meanwhile. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { deadline, until } from './backend.js';

/** For a program to start, on a machine that is busy with other tests. */
const SAYS_MS = 10_000;

export class Program {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #chunks: Buffer[] = [];

  constructor(command: string, ...args: string[]) {
    this.#child = spawn(command, args);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on('data', (chunk) => this.#chunks.push(chunk));
    }
  }

  /** All that it has said so far, on either stream. */
  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get output(): string {
    return this.bytes.toString();
  }

  /** Until it has said so. */
  async says(text: string): Promise<void> {
    const said = until(() => this.output.includes(text) || this.#child.exitCode !== null);
    await deadline(said, SAYS_MS).catch(() => {});
    if (!this.output.includes(text)) throw new Error(`it did not say "${text}": ${this.output}`);
  }

  /** Sends the signal and waits for the end; answers with the exit status. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
      return this.#child.exitCode;
    }
    const exit = once(this.#child, 'exit');
    this.#child.kill(signal);
    return (await deadline(exit))[0];
  }

  /** Gives it its last input and waits for the end of what it says. */
  async finish(input: string): Promise<Buffer> {
    this.#child.stdin.end(input);
    await deadline(once(this.#child, 'close'));
    return this.bytes;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}
