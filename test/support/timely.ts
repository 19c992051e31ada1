// SPDX-License-Identifier: MIT
import { within } from './within.js';

type Body = () => Promise<void> | void;

/** Adds a test to a suite, by this function, that fails when its body is not done in time. */
export function timely(test: (name: string, body: Body) => void, ms: number) {
  return (name: string, body: Body): void =>
    test(name, () => within(ms, name, Promise.resolve(body())));
}
