/**
 * The receiver's part of a verification: what is held of a peer's records is compared with the
 * digests that the peer says. They stand in its stream: once all before them has come, a bucket of
 * which nothing later has come stands as it stood there. Where it cannot be told, that is the answer,
 * and the peer asks again.
 *
 * And when a peer has said all records of some buckets once more, what it has not said of them goes.
 */
import { counts } from './counts.js';
import { BUCKETS, bucketOf } from './digest.js';
import { Identity } from './identity.js';
import type { Outbox } from './outbox.js';
import type { Peer, PendingBuckets, PendingDigest } from './peer.js';
import type { Clock, Timer } from './ports.js';
import type { Store } from './store.js';
import {
  COMPARED_RECORDS,
  COMPARED_VERDICT,
  DIGEST_SUM,
  END_BUCKETS,
  ROUND_BUCKETS,
  readU64,
  Segment,
  Type,
  Verdict,
} from './wire.js';

/** After a weaker claim of the peer's: by then it has heard of the stronger one. */
const CONTEST_MS = 1000;
/** Answers wait so long for more of their kind: digests come in bursts. */
const GATHER_MS = 10;
/** Slots compared with a repair before others have their turn. */
const SWEEP_SLOTS = 65_536;

interface Compared {
  readonly round: number;
  readonly first: number;
  buckets: number;
  readonly verdict: number;
}

export interface CompareHost {
  readonly clock: Clock;
  readonly store: Store;
  readonly outbox: Outbox;
  /** Of the wire, that is written. */
  version(): number;
  /** The peer's cache is complete, as its digests show. */
  complete(peer: Peer): void;
}

export class Compare {
  readonly #host: CompareHost;
  readonly #key = new Identity();
  readonly #answers = new Map<Peer, Compared[]>();
  #timer: Timer | undefined;
  readonly counts = counts(
    'digests_equal',
    'digests_differ',
    'digests_unsure', // could not be compared: the peer asks again
    'digests_full', // differ since there was no room
    'repaired_away', // records that the owner did not name in a repair
  );

  constructor(host: CompareHost) {
    this.#host = host;
  }

  /** A DIGEST item. */
  digest(peer: Peer, view: DataView, at: number, sequence: number): void {
    const round = view.getUint32(at, true);
    // of an earlier round, it is of no use any more
    if (peer.pendingDigests.some((pending) => pending.round !== round)) peer.pendingDigests = [];
    if (peer.pendingDigests.length >= BUCKETS) return;
    peer.pendingDigests.push({
      sequence,
      round,
      first: view.getUint16(at + ROUND_BUCKETS, true),
      buckets: view.getUint16(at + ROUND_BUCKETS + 2, true),
      low: view.getUint32(at + DIGEST_SUM, true),
      high: view.getUint32(at + DIGEST_SUM + 4, true),
    });
  }

  /** Compare what can be compared by now, and tell the peer what came of it. */
  answer(peer: Peer): void {
    if (peer.pendingDigests.length === 0) return;
    const { complete } = peer.window;
    const waiting = peer.pendingDigests.filter(({ sequence }) => sequence > complete);
    if (waiting.length === peer.pendingDigests.length) return;
    const answers = this.#answers.get(peer) ?? [];
    let last = false;
    for (const pending of peer.pendingDigests) {
      if (pending.sequence > complete) continue;
      add(answers, pending, this.#judge(peer, pending));
      last ||= pending.first + pending.buckets === BUCKETS;
    }
    peer.pendingDigests = waiting;
    this.#answers.set(peer, answers);
    if (last) this.#tell();
    else this.#timer ??= this.#host.clock.after(GATHER_MS, () => this.#tell());
    if (!peer.inSync && !peer.proven.includes(0)) this.#host.complete(peer);
  }

  /** What was compared meanwhile: one datagram of answers for many of digests. */
  #tell(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const [peer, answers] of this.#answers) {
      // a node that does not read it would count it as garbage
      while (answers.length > 0 && this.#host.version() > 1) this.#send(peer, answers);
    }
    this.#answers.clear();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** A BUCKET_END item. */
  ended(peer: Peer, view: DataView, at: number, sequence: number): void {
    const from = readU64(view, at);
    if (from < peer.window.base || peer.pendingBuckets.length >= BUCKETS) return;
    peer.pendingBuckets.push({
      from,
      end: sequence,
      first: view.getUint16(at + END_BUCKETS, true),
      buckets: view.getUint16(at + END_BUCKETS + 2, true),
    });
  }

  /** Drop what a repair has not named, as far as all up to its end has come. */
  reconcile(peer: Peer): void {
    if (peer.pendingBuckets.length === 0) return;
    const complete = ({ end }: PendingBuckets) => end <= peer.window.complete;
    const ended = peer.pendingBuckets.filter(complete);
    if (ended.length === 0) return;
    peer.pendingBuckets = peer.pendingBuckets.filter((pending) => !complete(pending));
    const heardFrom = new Float64Array(BUCKETS);
    for (const { from, first, buckets } of ended) {
      if (from >= peer.window.base) heardFrom.fill(from, first, first + buckets);
    }
    peer.sweeps++;
    this.#sweep(peer, heardFrom, peer.stream, 0);
  }

  #sweep(peer: Peer, heardFrom: Float64Array, stream: number, slot: number): void {
    const { cache } = peer;
    const to = Math.min(slot + SWEEP_SLOTS, cache.top);
    for (; slot < to && peer.stream === stream; slot++) {
      if (!cache.holds(slot)) continue;
      const from = heardFrom[bucketOf(cache.identity(slot, this.#key).hash)];
      if (from === 0 || (cache.stream(slot) === stream && cache.sequence(slot) >= from)) continue;
      cache.remove(slot);
      this.counts.repaired_away++;
    }
    if (peer.stream === stream && slot < cache.top) {
      this.#host.clock.after(0, () => this.#sweep(peer, heardFrom, stream, slot));
    } else {
      peer.sweeps--;
    }
  }

  #judge(peer: Peer, { sequence, first, buckets, low, high }: PendingDigest): number {
    if (!this.#sure(peer, sequence, first, buckets)) {
      this.counts.digests_unsure++;
      return Verdict.UNSURE;
    }
    const held = peer.cache.digests.of(first, buckets);
    const equal = low === held.low && high === held.high;
    peer.proven.fill(equal ? 1 : 0, first, first + buckets);
    if (equal) {
      this.counts.digests_equal++;
      return Verdict.EQUAL;
    }
    if (peer.refusedAt > 0) {
      this.counts.digests_full++;
      return Verdict.FULL;
    }
    this.counts.digests_differ++;
    return Verdict.DIFFERS;
  }

  /** Do these buckets stand as the peer had them at this place of its stream, all before it has come? */
  #sure(peer: Peer, sequence: number, first: number, buckets: number): boolean {
    const { clock, store } = this.#host;
    if (sequence < peer.window.base || peer.wanted > 0) return false;
    if (peer.pendingEnd || peer.pendingBuckets.length > 0 || peer.sweeps > 0) return false;
    // of what was taken from the peer, or claimed by it in vain, it may not have heard yet
    if (store.unsaid > 0 || clock.now() - peer.cache.contestedAt < CONTEST_MS) return false;
    if (peer.window.highest === sequence) return true;
    for (let bucket = first; bucket < first + buckets; bucket++) {
      if (peer.touched[bucket] > sequence) return false;
    }
    return true;
  }

  /** As many answers as one datagram takes. */
  #send(peer: Peer, answers: Compared[]): void {
    const to = { receiver: peer.node, receiverIncarnation: peer.incarnation };
    this.#host.outbox.control(Type.VERDICT, to, (writer) => {
      while (answers.length > 0 && writer.fits(Segment.COMPARED)) {
        const { round, first, buckets, verdict } = answers.shift() as Compared;
        const at = writer.item(Segment.COMPARED);
        writer.view.setUint32(at, round, true);
        writer.view.setUint16(at + ROUND_BUCKETS, first, true);
        writer.view.setUint16(at + ROUND_BUCKETS + 2, buckets, true);
        writer.view.setUint32(at + COMPARED_VERDICT, verdict, true);
        writer.view.setUint32(at + COMPARED_RECORDS, peer.cache.size, true);
      }
    });
  }
}

/** To those of a round that were compared before it, as one where it adjoins. */
function add(answers: Compared[], { round, first, buckets }: PendingDigest, verdict: number): void {
  const last = answers.at(-1);
  const adjoins = last && last.round === round && last.first + last.buckets === first;
  if (adjoins && last.verdict === verdict) last.buckets += buckets;
  else answers.push({ round, first, buckets, verdict });
}
