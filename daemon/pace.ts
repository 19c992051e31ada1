// So many packets a second and no more: a bucket of permissions that fills up again by and by.

export class Pace {
  private permits: number;
  private at = performance.now();

  /** @param burst at once, after a while without any */
  constructor(
    private readonly aSecond: number,
    private readonly burst: number,
  ) {
    this.permits = burst;
  }

  /** How many may leave now. */
  get allowed(): number {
    const now = performance.now();
    const more = ((now - this.at) * this.aSecond) / 1000;
    this.at = now;
    this.permits = Math.min(this.burst, this.permits + more);
    return Math.max(0, Math.floor(this.permits));
  }

  took(packets: number): void {
    this.permits -= packets;
  }
}
