// SPDX-License-Identifier: MIT
/** A process of our own inside a namespace of the lab, which does what the bench asks it for. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Lab, LabError } from '../test/lab/lab.js';

interface Question {
  id: number;
  name: string;
  args: unknown[];
}
type Answer = { id: number; value: unknown } | { id: number; error: string };

type Functions = Record<string, (...args: never[]) => unknown>;
/** The functions that a helper offers, as its parent sees them. */
type Remote<F extends Functions> = {
  [K in keyof F]: (...args: Parameters<F[K]>) => Promise<Awaited<ReturnType<F[K]>>>;
};

const ANSWER_MS_MAX = 60_000;

export class Helper<F extends Functions> {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #asked = 0;

  /** @param file of the program, beside this one */
  constructor(lab: Lab, node: string, file: string) {
    const path = fileURLToPath(new URL(file, import.meta.url));
    this.#child = lab.spawn(node, [process.execPath, '--import', 'tsx', path], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child.on('message', (answer: Answer) => this.#settle(answer));
    this.#child.on('exit', () => {
      for (const id of this.#waiting.keys()) this.#settle({ id, error: `${file} has ended` });
    });
  }

  #settle(answer: Answer): void {
    this.#waiting.get(answer.id)?.(answer);
    this.#waiting.delete(answer.id);
  }

  /** Asks for one function. @throws LabError with what went wrong over there */
  call<K extends keyof F & string>(name: K, ...args: Parameters<F[K]>): ReturnType<Remote<F>[K]> {
    const id = ++this.#asked;
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    const late = setTimeout(
      () => this.#settle({ id, error: `${name}: no answer within ${ANSWER_MS_MAX / 1000} s` }),
      ANSWER_MS_MAX,
    );
    this.#child.send({ id, name, args } satisfies Question);
    return answered
      .finally(() => clearTimeout(late))
      .then((answer) => {
        if ('error' in answer) throw new LabError('COMMAND', answer.error);
        return answer.value;
      }) as ReturnType<Remote<F>[K]>;
  }
}

/** The other side: offers these functions to the parent, and ends with it. */
export function offer(functions: Functions): void {
  process.on('message', async ({ id, name, args }: Question) => {
    try {
      const value = await (functions[name] as (...args: unknown[]) => unknown)(...args);
      process.send?.({ id, value } satisfies Answer);
    } catch (error) {
      process.send?.({ id, error: (error as Error).message } satisfies Answer);
    }
  });
  process.on('disconnect', () => process.exit());
}
