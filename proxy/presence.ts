/** Is the datapath there? Told when it is first known, and whenever it changes; not in between. */
import type { Logger } from 'pino';
import { kernelLacks } from '../kernel/requirements.js';
import { REFUSALS } from '../kernel/splice.js';

export class Presence {
  readonly #log: Logger;
  #there: boolean | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  set(there: boolean): void {
    if (there === this.#there) return;
    this.#there = there;
    if (there) this.#log.info('the datapath is there: splicing');
    else {
      const lacking = kernelLacks();
      this.#log.warn(
        lacking
          ? `${lacking}: relaying everything in user space`
          : `${REFUSALS.unavailable}: relaying everything in user space until it is; start spliced`,
      );
    }
  }
}
