/**
 * What NOTRACK and ALARM have in common: a stream of which nothing is kept. What is lost is not said
 * again; a receiver counts the gap, and what it does about it is its mode's.
 *
 * Nothing is acknowledged by itself either. The sender asks now and then: every 512 records, so that a
 * bulk overruns nobody, once a second in a steady stream, and a moment after the last datagram of a
 * burst. So it knows what its peers hold, some hundred milliseconds late.
 */
import type { PeerChange } from './api.js';
import { type Counts, counts } from './counts.js';
import type { Mode, ModeHost } from './modes.js';
import type { Peer } from './peer.js';
import type { Timer } from './ports.js';
import { Probe } from './probe.js';
import { sayReport, takeReport } from './report.js';
import { type Datagram, type Header, HeaderFlag, type Rejection } from './wire.js';

/** Records between two questions, and time. */
const ASK_RECORDS = 512;
const ASK_MS = 1000;
/** The first question after a silence. */
const PROBE_MS = 100;
/** What has been overtaken by so much is lost. */
const LATE_MS = 20;
/** Datagrams of which it is known how many changes they carried. */
const RING = 4096;

export abstract class Untracked implements Mode {
  protected readonly host: ModeHost;
  protected readonly counts: Counts<'gaps' | 'lost_datagrams'> = counts('gaps', 'lost_datagrams');
  protected stopped = false;
  /** What is said is nothing new: it is not a change that somebody might be without. */
  protected repeating = false;
  readonly #probe: Probe;
  readonly #late = new Map<Peer, Timer>();
  /** Changes said by the end of a datagram, and when it left; by sequence, modulo RING. */
  readonly #saidBy = new Float64Array(RING);
  readonly #sentAt = new Float64Array(RING);
  #said = 0;
  /** Changes that the peer is known to have been sent when it last reported. */
  readonly #told = new Map<Peer, number>();
  #unasked = 0;
  #askedAt = 0;

  constructor(host: ModeHost) {
    this.host = host;
    this.#probe = new Probe(host, PROBE_MS);
  }

  get repeatsMs(): number {
    return 0;
  }

  start(): void {}

  stop(): void {
    this.stopped = true;
    this.#probe.stop();
    for (const timer of this.#late.values()) timer.cancel();
  }

  peerChanged(peer: Peer, change: PeerChange): void {
    if (change === 'restarted') this.#told.delete(peer);
    this.#probe.wake();
  }

  /** Nothing can be repaired but what is just being said. */
  oldest(sequence: number, carried: boolean): number {
    return carried ? sequence : sequence + 1;
  }

  keep(): void {
    if (!this.repeating) this.#said++;
    if (++this.#unasked >= ASK_RECORDS) this.#ask();
  }

  sent(sequence: number): void {
    const now = this.host.options.clock.now();
    this.#saidBy[sequence % RING] = this.#said;
    this.#sentAt[sequence % RING] = now;
    if (now - this.#askedAt >= ASK_MS) this.#ask(now);
    this.#probe.sent(now);
  }

  arriving(peer: Peer, header: Header): Rejection | undefined {
    if (!peer.graves.reliable && peer.window.misses(header.sequence)) return 'late';
    const arrival = peer.window.arrive(header.sequence);
    this.#lookForGaps(peer);
    return arrival === 'duplicate' ? arrival : undefined;
  }

  arrived(peer: Peer, { header }: Datagram): void {
    if (peer.window.missingCount === 0) peer.graves.clear();
    if (header.flags & HeaderFlag.REPORT_WANTED) this.reportNow(peer);
  }

  heard(peer: Peer, header: Header): void {
    peer.window.announce(header.sequence);
    this.#lookForGaps(peer);
    if (header.flags & HeaderFlag.REPORT_WANTED) this.reportNow(peer);
  }

  report(peer: Peer, datagram: Datagram): Rejection | undefined {
    const { outbox } = this.host;
    const before = peer.acked;
    const rejection = takeReport(outbox, peer, datagram);
    if (rejection) return rejection;
    if (peer.acked > before) this.#probe.answered();
    if (peer.acked > outbox.sequence - RING) this.#told.set(peer, this.#saidBy[peer.acked % RING]);
    this.host.progressed(peer);
    return undefined;
  }

  reportNow(peer: Peer): void {
    if (!this.stopped) sayReport(this.host.outbox, peer);
  }

  unacknowledged(peer: Peer): number {
    const { sequence } = this.host.outbox;
    if (peer.acked >= sequence) return 0;
    return this.#saidBy[sequence % RING] - (this.#told.get(peer) ?? 0);
  }

  lag(peer: Peer): number {
    const { sequence } = this.host.outbox;
    if (!peer.hasReported || this.unacknowledged(peer) === 0) return 0;
    const first = Math.max(peer.acked + 1, sequence - RING + 1);
    return this.host.options.clock.now() - this.#sentAt[first % RING];
  }

  stats(): Readonly<Record<string, number>> {
    return { ...this.counts, probes: this.#probe.probes };
  }

  /** What did not come from this peer is given up. */
  protected abstract lost(peer: Peer): void;

  #ask(now = this.host.options.clock.now()): void {
    this.#unasked = 0;
    this.#askedAt = now;
    this.host.outbox.wantReport();
  }

  /** A datagram may have been overtaken: it is waited for, but not long. */
  #lookForGaps(peer: Peer): void {
    const { window } = peer;
    if (window.missingCount === 0 || this.#late.has(peer) || this.stopped) return;
    const before = window.highest + 1;
    const timer = this.host.options.clock.after(LATE_MS, () => {
      this.#late.delete(peer);
      const missing = peer.window.missingCount;
      if (peer.window === window && window.giveUp(before)) {
        this.counts.gaps++;
        this.counts.lost_datagrams += missing - window.missingCount;
        if (window.missingCount === 0) peer.graves.clear();
        this.lost(peer);
      }
      this.#lookForGaps(peer);
    });
    this.#late.set(peer, timer);
  }
}
