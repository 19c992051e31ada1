/**
 * What switchd counts. Every refusal and every fallback has its name here, or is counted under its
 * reason beside the sum: `relayed_NO_DATAPATH`, `connect_failed_ECONNREFUSED`.
 */

export const COUNTER_NAMES = [
  'accepted',
  'over_limit', // reset at once: too many connections are open
  'client_gone', // before its request was complete, or before a real server was found
  'malformed', // 400
  'version', // 505
  'timeout', // 408
  'too_large', // 431
  'connect_failed', // one try at one real server
  'no_server', // 503
  'spliced',
  'committed', // of the spliced ones: no socket is left, the flow is the kernel's
  'reset', // of the spliced ones: an end broke the connection before that, and the other was told
  'aborted', // of the spliced ones: an end never acknowledged the last bytes from here; both were reset
  'relayed',
  'relay_completed',
  'relay_broken',
  'relay_idle',
  'stopped', // reset when the time for a graceful stop was over
  'failed', // a fault of this program or of the datapath; the log has it
] as const;

export type CounterName = (typeof COUNTER_NAMES)[number];

/** Reasons are from closed lists; this bounds the table should one not be. */
const REASONS_MAX = 256;

export class Counters {
  readonly #counts = new Map<string, number>(COUNTER_NAMES.map((name) => [name, 0]));

  add(name: CounterName, reason?: string): void {
    this.#add(name);
    if (reason === undefined) return;
    const key = `${name}_${reason}`;
    const room = this.#counts.has(key) || this.#counts.size < REASONS_MAX;
    this.#add(room ? key : `${name}_OTHER`);
  }

  get(name: CounterName, reason?: string): number {
    return this.#counts.get(reason === undefined ? name : `${name}_${reason}`) ?? 0;
  }

  all(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  #add(key: string): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }
}
