// After a takeover the neighbours are told where the virtual addresses are. A frame can be lost, and a
// switch can be slow to learn, so it is said a few times.
import { type Announcement, announce } from '../kernel/announce.js';
import type { Clock } from '../sync/ports.js';
import type { Log } from './log.js';
import { clock } from './world.js';

/** After the first time. */
const AGAIN_MS = [200, 1000, 3000];

export class Announcer {
  /** Each counts an address on an interface, once for each time. */
  readonly counters = { announced: 0, announce_failed: 0 };
  private timers: ReturnType<Clock['after']>[] = [];

  constructor(
    private readonly log: Log,
    private readonly say: (addresses: readonly string[]) => Announcement[] = announce,
    private readonly after: Clock['after'] = clock.after,
  ) {}

  /** Addresses that this node answers for: now, and some more times. What was begun before ends. */
  start(addresses: readonly string[]): void {
    this.stop();
    this.round(addresses);
    this.timers = AGAIN_MS.map((ms) => this.after(ms, () => this.round(addresses)));
  }

  /** Another node answers for them. */
  stop(): void {
    for (const timer of this.timers) timer.cancel();
    this.timers = [];
  }

  private round(addresses: readonly string[]): void {
    try {
      for (const one of this.say(addresses)) {
        if (one.error === undefined) this.counters.announced++;
        else this.failed(one);
      }
    } catch (error) {
      this.failed({ error: (error as Error).message });
    }
  }

  private failed({ address, device, error }: Partial<Announcement>): void {
    this.counters.announce_failed++;
    this.log.warn(
      { code: 'NOT_ANNOUNCED', address, interface: device, error },
      'neighbours have not been told where an address is',
    );
  }
}
