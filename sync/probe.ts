/**
 * Asks for a report when a silence has followed what was sent and somebody has not said that it has
 * come; less and less often while nobody answers.
 */
import type { ModeHost } from './modes.js';
import type { Timer } from './ports.js';

export class Probe {
  readonly #host: ModeHost;
  readonly #firstMs: number;
  #ms: number;
  #timer: Timer | undefined;
  #lastSentAt = 0;
  #stopped = false;
  /** How often it has asked. */
  probes = 0;

  /** @param firstMs of silence; doubled up to the keep-alive's interval */
  constructor(host: ModeHost, firstMs: number) {
    this.#host = host;
    this.#firstMs = firstMs;
    this.#ms = firstMs;
  }

  /** A datagram of the stream has left. */
  sent(now: number): void {
    this.#lastSentAt = now;
    if (!this.#timer) this.#arm();
  }

  /** Somebody has come, or is heard again: who was asked last may not have heard it. */
  wake(): void {
    if (!this.#timer) this.#arm();
  }

  /** Somebody has told something new. */
  answered(): void {
    this.#ms = this.#firstMs;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #arm(): void {
    if (this.#stopped) return;
    const { clock, helloMs } = this.#host.options;
    const armedAt = clock.now();
    this.#timer = clock.after(this.#ms, () => {
      this.#timer = undefined;
      if (!this.#unanswered()) {
        this.#ms = this.#firstMs;
        // the next datagram finds it running: to arm it takes as long as to send
        if (this.#lastSentAt > armedAt) this.#arm();
        return;
      }
      if (clock.now() - this.#lastSentAt >= this.#ms) {
        this.probes++;
        this.#host.sayHello(true);
        this.#ms = Math.min(2 * this.#ms, helloMs);
      }
      this.#arm();
    });
  }

  #unanswered(): boolean {
    for (const peer of this.#host.livePeers()) {
      if (peer.acked < this.#host.outbox.sequence) return true;
    }
    return false;
  }
}
