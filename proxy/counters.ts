/** What switchd counts. Every refusal and every fallback has its name here or in `relayed_REASON`. */

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
  'aborted', // of the spliced ones: an end died before its last bytes from here were acknowledged
  'relayed', // the reasons follow one by one
  'relay_completed',
  'relay_broken',
  'relay_idle',
  'stopped', // reset when the time for a graceful stop was over
  'failed', // a fault of this program or of the datapath; the log has it
] as const;

export type CounterName = (typeof COUNTER_NAMES)[number];

export class Counters {
  readonly #counts = new Map<string, number>(COUNTER_NAMES.map((name) => [name, 0]));

  add(name: CounterName): void {
    this.#add(name);
  }

  /** `reason` comes from the closed list of splice()'s refusals. */
  addRelayed(reason: string): void {
    this.#add('relayed');
    this.#add(`relayed_${reason.toLowerCase()}`);
  }

  get(name: CounterName | `relayed_${string}`): number {
    return this.#counts.get(name) ?? 0;
  }

  all(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  #add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }
}
