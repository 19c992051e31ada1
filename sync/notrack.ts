/**
 * NOTRACK: each change is said once, and nothing of it is kept. It is the cheapest mode, for a link
 * that does not lose: a TCP link, or a cable of its own.
 *
 * A receiver that finds a gap is not in sync any more, and asks for a bulk: at once, and when that one
 * is lost in part as well, after a second, two, four, up to half a minute. So a bad link is not filled
 * by bulks that cannot arrive whole.
 */
import type { Mode, ModeHost } from './modes.js';
import type { Peer } from './peer.js';
import type { Timer } from './ports.js';
import { Untracked } from './untracked.js';

/** Between two bulks that are asked for because of gaps. */
const BULK_MS_MIN = 1000;
const BULK_MS_MAX = 30_000;
/** Without a gap for so many times the interval, the next one starts from the minimum again. */
const PEACE = 4;

interface Asking {
  at: number;
  ms: number;
  timer: Timer | undefined;
}

class Notrack extends Untracked {
  readonly #asking = new Map<Peer, Asking>();

  override stop(): void {
    super.stop();
    for (const { timer } of this.#asking.values()) timer?.cancel();
  }

  protected lost(peer: Peer): void {
    this.host.fellBehind(peer);
    const { clock } = this.host.options;
    const now = clock.now();
    let asking = this.#asking.get(peer);
    if (!asking) {
      asking = { at: Number.NEGATIVE_INFINITY, ms: 0, timer: undefined };
      this.#asking.set(peer, asking);
    }
    if (asking.timer) return;
    const since = now - asking.at;
    if (since > PEACE * asking.ms) asking.ms = 0;
    const waited = asking;
    asking.timer = clock.after(Math.max(0, asking.ms - since), () => {
      waited.timer = undefined;
      waited.at = clock.now();
      waited.ms = Math.min(Math.max(BULK_MS_MIN, 2 * waited.ms), BULK_MS_MAX);
      if (!this.stopped) this.host.askForBulk(peer);
    });
  }
}

export const notrack = (host: ModeHost): Mode => new Notrack(host);
