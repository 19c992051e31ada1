/**
 * FTFW, fault-tolerant firewall: every change reaches every live peer, or a bulk replaces it.
 *
 * Sending: identities are kept until all live peers have acknowledged their datagram. A report that
 * names missing datagrams is answered by the present state of what they spoke of, under a new
 * sequence. The queue is bounded: what it gives up, a peer that misses it replaces by a bulk.
 *
 * Receiving: a report goes out after ACKWindowSize records, or ackDelay after the first that has
 * not been reported; at once when something is missing. The sender probes for a report when none has
 * come, so that a lost last datagram costs tens of milliseconds.
 */
import { counts } from './counts.js';
import { Identity } from './identity.js';
import type { Mode, ModeHost } from './modes.js';
import type { Peer } from './peer.js';
import type { Timer } from './ports.js';
import { Probe } from './probe.js';
import { sayReport, takeReport } from './report.js';
import { ResendQueue } from './resend.js';
import {
  type Datagram,
  type Header,
  HeaderFlag,
  type Rejection,
  readU64,
  Segment,
} from './wire.js';

/** A receiver reports so long after the first datagram that it has not reported. */
const ACK_DELAY_MS = 10;
/** Datagrams that overtake each other by less are not asked for again. */
const NACK_DELAY_MS = 2;
/** What is still missing is asked for again; doubled up to the maximum while nothing comes. */
const NACK_RETRY_MS = 25;
const NACK_RETRY_MS_MAX = 400;
/** The sender asks for a report after such a silence; doubled up to the keep-alive's interval. */
const PROBE_MS = 25;
/** A repair is under way for so long before the same datagram is repaired again. */
const REPAIR_GUARD_MS = 15;
/** Missing datagrams looked at for one report; the rest waits for the next one. */
const REPAIRS_MAX = 512;

/** What is to be told to one peer about its stream. */
class Reporter {
  /** Records that have come since the last report. */
  unreported = 0;
  /** Something has come since the last report, or is missing: there is something to be told. */
  owes = false;
  timer: Timer | undefined;
  dueAt = Number.POSITIVE_INFINITY;
  retryMs = NACK_RETRY_MS;
  /** Of the window, at the last report: has anything come since? */
  missingBefore = 0;
  gapsBefore = 0;
}

class Ftfw implements Mode {
  readonly repeatsMs = 0;
  readonly #host: ModeHost;
  readonly #queue: ResendQueue;
  readonly #reporters = new Map<Peer, Reporter>();
  readonly #key = new Identity();
  readonly #probe: Probe;
  #stopped = false;
  readonly #counts = counts(
    'nacks_sent',
    'nacks_received',
    'repaired_datagrams',
    'beyond_repair',
    'given_up',
  );

  constructor(host: ModeHost) {
    this.#host = host;
    this.#queue = new ResendQueue(host.options.resendQueueSize);
    this.#probe = new Probe(host, PROBE_MS);
  }

  start(): void {}

  /** A queue that was kept for a peer that is not waited for any more need not be kept. */
  peerChanged(): void {
    this.#release();
    this.#probe.wake();
  }

  oldest(): number {
    return this.#queue.oldest;
  }

  keep(key: Identity): void {
    this.#makeRoom();
    this.#queue.record(key);
  }

  sent(sequence: number, repairs: readonly number[]): void {
    this.#makeRoom();
    const now = this.#host.options.clock.now();
    this.#queue.seal(sequence, now, repairs);
    this.#probe.sent(now);
  }

  arriving(peer: Peer, header: Header): Rejection | undefined {
    this.#giveUp(peer, header);
    // it stays missing, and is repaired under a new sequence
    if (!peer.graves.reliable && peer.window.misses(header.sequence)) return 'late';
    const arrival = peer.window.arrive(header.sequence);
    this.#lookForGaps(peer);
    return arrival === 'duplicate' ? arrival : undefined;
  }

  arrived(peer: Peer, { header, segments, view }: Datagram): void {
    const reporter = this.#reporter(peer);
    for (const segment of segments) {
      if (segment.type !== Segment.REPAIRS) {
        reporter.unreported += segment.count;
        continue;
      }
      for (let item = 0; item < segment.count; item++) {
        const repaired = readU64(view, segment.at + item * segment.size);
        peer.window.repaired(repaired);
        if (header.flags & HeaderFlag.CONTINUED) peer.prolongEnds(repaired, header.sequence);
      }
    }
    if (peer.window.missingCount === 0) peer.graves.clear();
    const wanted = (header.flags & HeaderFlag.REPORT_WANTED) !== 0;
    const { ackWindowSize } = this.#host.options;
    if (wanted || reporter.unreported >= ackWindowSize) this.reportNow(peer);
    else this.#reportWithin(peer, ACK_DELAY_MS);
  }

  heard(peer: Peer, header: Header): void {
    this.#giveUp(peer, header);
    peer.window.announce(header.sequence);
    this.#lookForGaps(peer);
    if (header.flags & HeaderFlag.REPORT_WANTED) this.reportNow(peer);
  }

  report(peer: Peer, datagram: Datagram): Rejection | undefined {
    const before = peer.acked;
    const rejection = takeReport(this.#host.outbox, peer, datagram);
    if (rejection) return rejection;
    if (peer.acked > before) this.#probe.answered();
    for (const { type, at, count, size } of datagram.segments) {
      if (type !== Segment.MISSING) continue;
      this.#counts.nacks_received++;
      this.#repair(datagram.view, at, count, size);
    }
    this.#release();
    this.#host.progressed(peer);
    return undefined;
  }

  reportNow(peer: Peer): void {
    const reporter = this.#reporter(peer);
    const { window } = peer;
    reporter.unreported = 0;
    reporter.owes = false;
    if (this.#stopped) return;
    sayReport(this.#host.outbox, peer);
    if (window.missingCount === 0) {
      reporter.retryMs = NACK_RETRY_MS;
      reporter.missingBefore = 0;
      return;
    }
    this.#counts.nacks_sent++;
    const progress = window.missingCount < reporter.missingBefore;
    reporter.retryMs = progress ? NACK_RETRY_MS : Math.min(2 * reporter.retryMs, NACK_RETRY_MS_MAX);
    reporter.missingBefore = window.missingCount;
    this.#disarm(reporter);
    if (peer.alive) this.#reportWithin(peer, reporter.retryMs);
  }

  unacknowledged(peer: Peer): number {
    const kept = this.#queue.countAbove(peer.acked);
    // one that was dead for a while may lack what is not kept for it any more: anything, then
    const forgotten = peer.hasReported && peer.acked + 1 < this.#queue.oldest;
    return forgotten ? Math.max(1, this.#host.internal.size) + kept : kept;
  }

  lag(peer: Peer): number {
    const first = Math.max(peer.acked + 1, this.#queue.oldest);
    if (!peer.hasReported || first > this.#host.outbox.sequence) return 0;
    return this.#host.options.clock.now() - this.#queue.sentAt(first);
  }

  stop(): void {
    this.#stopped = true;
    this.#probe.stop();
    for (const reporter of this.#reporters.values()) reporter.timer?.cancel();
  }

  stats(): Readonly<Record<string, number>> {
    return {
      resend_used: this.#queue.used,
      resend_limit: this.#host.options.resendQueueSize,
      ...this.#counts,
      probes: this.#probe.probes,
    };
  }

  #giveUp(peer: Peer, header: Header): void {
    if (!peer.window.giveUp(header.oldest)) return;
    this.#counts.beyond_repair++;
    this.#host.fellBehind(peer);
    this.#host.askForBulk(peer);
  }

  #lookForGaps(peer: Peer): void {
    const reporter = this.#reporter(peer);
    if (peer.window.gaps === reporter.gapsBefore) return;
    reporter.gapsBefore = peer.window.gaps;
    reporter.retryMs = NACK_RETRY_MS / 2;
    this.#reportWithin(peer, NACK_DELAY_MS);
  }

  #reportWithin(peer: Peer, ms: number): void {
    const reporter = this.#reporter(peer);
    reporter.owes = true;
    this.#arm(peer, reporter, ms);
  }

  /** A timer that ends sooner is left alone. */
  #arm(peer: Peer, reporter: Reporter, ms: number): void {
    const { clock } = this.#host.options;
    const dueAt = clock.now() + ms;
    if (reporter.dueAt <= dueAt || this.#stopped) return;
    reporter.timer?.cancel();
    reporter.dueAt = dueAt;
    reporter.timer = clock.after(ms, () => this.#due(peer, reporter));
  }

  #disarm(reporter: Reporter): void {
    reporter.timer?.cancel();
    reporter.timer = undefined;
    reporter.dueAt = Number.POSITIVE_INFINITY;
  }

  #due(peer: Peer, reporter: Reporter): void {
    this.#disarm(reporter);
    if (!reporter.owes) return;
    this.reportNow(peer);
    // what comes next finds it running: to arm it costs more than to take a datagram in
    if (peer.alive) this.#arm(peer, reporter, ACK_DELAY_MS);
  }

  #reporter(peer: Peer): Reporter {
    let reporter = this.#reporters.get(peer);
    if (!reporter) {
      reporter = new Reporter();
      this.#reporters.set(peer, reporter);
    }
    return reporter;
  }

  #repair(view: DataView, at: number, count: number, size: number): void {
    const { outbox } = this.#host;
    const done = new Set<number>();
    let left = REPAIRS_MAX;
    for (let item = 0; item < count; item++) {
      const from = Math.max(readU64(view, at + item * size), this.#queue.oldest);
      const to = Math.min(readU64(view, at + item * size + 8), outbox.sequence);
      for (let sequence = from; sequence <= to && left > 0; sequence++, left--) {
        this.#repairOne(sequence, done);
      }
    }
    outbox.flush();
  }

  #repairOne(missing: number, done: Set<number>): void {
    const { outbox, options } = this.#host;
    const sequence = this.#queue.resolve(missing);
    if (sequence === 0 || done.has(sequence)) return;
    if (options.clock.now() - this.#queue.sentAt(sequence) < REPAIR_GUARD_MS) return;
    done.add(sequence);
    outbox.beginRepair();
    const kept = this.#queue.countOf(sequence);
    for (let index = 0; index < kept && sequence >= this.#queue.oldest; index++) {
      this.#host.sayPresent(this.#queue.identityOf(sequence, index, this.#key));
    }
    outbox.endRepair([...this.#queue.repairsOf(sequence), sequence]);
    this.#counts.repaired_datagrams++;
  }

  /** Forget what every live peer has acknowledged. While there is none, keep what fits. */
  #release(): void {
    let acked = Number.POSITIVE_INFINITY;
    for (const peer of this.#host.livePeers()) acked = Math.min(acked, peer.acked);
    if (acked !== Number.POSITIVE_INFINITY) this.#queue.release(acked + 1);
  }

  #makeRoom(): void {
    let needed = false;
    while (this.#queue.full && this.#queue.datagrams > 0) {
      for (const peer of this.#host.livePeers()) {
        needed ||= peer.hasReported && peer.acked < this.#queue.oldest;
      }
      this.#queue.evict();
      this.#counts.given_up++;
    }
    if (needed) this.#host.overflowed();
  }
}

export const ftfw = (host: ModeHost): Mode => new Ftfw(host);
