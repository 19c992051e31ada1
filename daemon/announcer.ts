// After a takeover the neighbours are told where the virtual addresses are. A frame can be lost, and a
// switch can be slow to learn, so it is said a few times.
import { type Announcement, announce } from '../kernel/announce.js';
import type { Log } from './log.js';

/** After the first time. */
const AGAIN_MS = [200, 1000, 3000];

export class Announcer {
  /** Each counts an address on an interface, once for each time. */
  readonly counters = { announced: 0, announce_failed: 0 };
  private timers: NodeJS.Timeout[] = [];

  constructor(
    private readonly log: Log,
    private readonly say: (address: string) => Announcement[] = announce,
  ) {}

  /** Addresses that this node answers for: now, and some more times. What was begun before ends. */
  start(addresses: readonly string[]): void {
    this.stop();
    this.round(addresses);
    this.timers = AGAIN_MS.map((ms) => setTimeout(() => this.round(addresses), ms));
  }

  /** Another node answers for them. */
  stop(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers = [];
  }

  private round(addresses: readonly string[]): void {
    for (const address of addresses) {
      try {
        for (const { device, error } of this.say(address)) this.account(address, device, error);
      } catch (error) {
        this.account(address, undefined, (error as Error).message);
      }
    }
  }

  private account(address: string, device: string | undefined, error: string | undefined): void {
    if (error === undefined) {
      this.counters.announced++;
      return;
    }
    this.counters.announce_failed++;
    this.log.warn(
      { code: 'NOT_ANNOUNCED', address, interface: device, error },
      'neighbours have not been told where an address is',
    );
  }
}
