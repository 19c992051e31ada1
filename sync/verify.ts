/**
 * The owner's part of a verification: do the others hold what this node owns? It says digests of its
 * buckets in its stream, 64 to each; of those that differ somewhere, each bucket by itself; and, to
 * repair, all records of the buckets that differ, and that this was all of them: a bulk in small.
 *
 * Each question has a number, and is asked again where an answer is missing or unsure. A round ends
 * after a bounded number of questions, whatever comes.
 */
import type { NoticeCode, VerifiedPeer, VerifyOutcome } from './api.js';
import type { Bulk } from './bulk.js';
import { counts } from './counts.js';
import { BUCKETS } from './digest.js';
import type { Outbox } from './outbox.js';
import type { Peer } from './peer.js';
import type { Clock, Random, Timer } from './ports.js';
import type { Store } from './store.js';
import {
  COMPARED_RECORDS,
  COMPARED_VERDICT,
  type Datagram,
  ROUND_BUCKETS,
  Segment,
  Verdict,
} from './wire.js';

/** Buckets that one digest stands for, at first. */
const GROUP = 64;
/** Digests said in one go, some eight datagrams, and the pause after them: no burst for a small buffer. */
const BURST = 512;
const BURST_MS = 2;
/** An answer that has not come by then is asked for again. */
const ANSWER_MS = 250;
/** Before an unsure one is asked again; doubled up to the maximum. */
const UNSURE_MS = 10;
const UNSURE_MS_MAX = 200;
const TRIES = 24;
/** Of the same buckets in one round. */
const REPAIRS = 3;
/** Looked at so often whether a bulk, a commit or a resync that is under way has ended. */
const READY_MS = 100;
const READY_TRIES = 300;
/** In place of a verdict: none yet. */
const NONE = 255;

export interface VerifyHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly outbox: Outbox;
  readonly bulk: Bulk;
  /** Between two rounds of its own; 0: none. */
  readonly intervalMs: number;
  /** Peers that are alive and in the same mode. */
  peers(): Iterable<Peer>;
  /** Of the wire, that all of them speak. */
  version(): number;
  /** There is no internal cache to compare with. */
  readonly uncached: boolean;
  /** What this node owns is being read anew. */
  busy(): boolean;
  notice(code: NoticeCode, message: string): void;
}

interface Request {
  readonly repair: boolean;
  done(peers: VerifiedPeer[]): void;
}

/** What one peer has answered in this round. */
class Answers {
  /** By bucket. */
  readonly verdicts = new Uint8Array(BUCKETS).fill(NONE);
  answered = false;
  records = 0;
  /** Buckets that differed when first compared. */
  differed = 0;

  count(verdict: number): number {
    let buckets = 0;
    for (const is of this.verdicts) if (is === verdict) buckets++;
    return buckets;
  }
}

interface Round extends Request {
  readonly peers: Map<Peer, Answers>;
  /** The buckets that are asked for, and how many of them a digest stands for. */
  asked: Uint8Array;
  size: number;
  number: number;
  /** Answers are still to come. */
  open: boolean;
  tries: number;
  repairs: number;
}

export class Verify {
  readonly #host: VerifyHost;
  readonly #waiting: Request[] = [];
  #round: Round | undefined;
  #number: number;
  #timer: Timer | undefined;
  #periodic: Timer | undefined;
  #stopped = false;
  readonly counts = counts(
    'verify_rounds',
    'verify_equal', // peers that held what this node owns
    'verify_differing', // buckets that differed
    'verify_repaired', // ... and do not any more
    'verify_unanswered', // peers that did not answer, or could not tell
  );

  constructor(host: VerifyHost) {
    this.#host = host;
    this.#number = host.random.u32();
  }

  start(): void {
    const { clock, random, intervalMs, uncached } = this.#host;
    if (intervalMs === 0 || uncached || this.#stopped) return;
    // the nodes need not all do it at the same time
    const spread = 0.75 + random.u32() / 2 ** 33;
    this.#periodic = clock.after(intervalMs * spread, () => {
      if (!this.#round) this.ask(true, () => {});
      this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#periodic?.cancel();
    if (this.#round) this.#finish(this.#round);
    for (const { done } of this.#waiting.splice(0)) done([]);
  }

  /** One more round, after those that are waiting. */
  ask(repair: boolean, done: (peers: VerifiedPeer[]) => void): void {
    this.#waiting.push({ repair, done });
    if (!this.#round) this.#begin();
  }

  /** A VERDICT to this node. */
  verdict(peer: Peer, { segments, view }: Datagram): void {
    const round = this.#round;
    const answers = round?.peers.get(peer);
    if (!round?.open || !answers) return;
    for (const { type, at, count, size } of segments) {
      if (type !== Segment.COMPARED) continue;
      for (let item = at; item < at + count * size; item += size) {
        if (view.getUint32(item, true) !== round.number) continue;
        const first = view.getUint16(item + ROUND_BUCKETS, true);
        const buckets = view.getUint16(item + ROUND_BUCKETS + 2, true);
        const verdict = view.getUint8(item + COMPARED_VERDICT);
        answers.verdicts.fill(verdict, first, first + buckets);
        answers.records = view.getUint32(item + COMPARED_RECORDS, true);
        answers.answered = true;
      }
    }
    if (!this.#open(round, NONE)) this.#answered(round);
  }

  #begin(): void {
    const request = this.#waiting.shift();
    if (!request || this.#stopped) return;
    const peers = new Map([...this.#host.peers()].map((peer) => [peer, new Answers()]));
    const asked = new Uint8Array(BUCKETS).fill(1);
    this.#round = {
      ...request,
      peers,
      asked,
      size: GROUP,
      number: 0,
      open: false,
      tries: 0,
      repairs: 0,
    };
    this.counts.verify_rounds++;
    this.#whenReady(this.#round, READY_TRIES);
  }

  /** What has not been said yet, or is being said anyway, is no difference. */
  #whenReady(round: Round, tries: number): void {
    const { store, bulk, version, uncached, busy } = this.#host;
    if (round.peers.size === 0 || uncached || version() < 2) this.#finish(round);
    else if (store.unsaid === 0 && !bulk.active && !busy()) this.#ask(round);
    else if (tries === 0) this.#finish(round);
    else this.#after(READY_MS, () => this.#whenReady(round, tries - 1));
  }

  #ask(round: Round): void {
    const { outbox } = this.#host;
    this.#number = (this.#number + 1) >>> 0;
    round.number = this.#number;
    round.open = true;
    for (const { verdicts } of round.peers.values()) {
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        if (round.asked[bucket] && verdicts[bucket] !== Verdict.EQUAL) verdicts[bucket] = NONE;
      }
    }
    // in datagrams of their own: whatever is said after them counts as later
    outbox.flush();
    this.#sayFrom(round, 0);
  }

  #sayFrom(round: Round, first: number): void {
    const { outbox, store } = this.#host;
    for (let said = 0; first < BUCKETS && said < BURST; first += round.size) {
      if (!round.asked.subarray(first, first + round.size).includes(1)) continue;
      const { low, high } = store.internal.digests.of(first, round.size);
      outbox.digest(round.number, first, round.size, low, high);
      said++;
    }
    outbox.flush();
    if (first < BUCKETS) this.#after(BURST_MS, () => this.#sayFrom(round, first));
    else this.#after(ANSWER_MS, () => this.#answered(round));
  }

  /** All that will come has come. */
  #answered(round: Round): void {
    round.open = false;
    const waits = this.#open(round, NONE);
    const unsure = this.#open(round, Verdict.UNSURE);
    // one by one they are easier to tell: not all of them change all the time
    if (!waits && unsure && round.size > 1) {
      this.#askAnew(round, this.#buckets(round, [Verdict.UNSURE, Verdict.DIFFERS]), 1);
    } else if ((waits || unsure) && round.tries < TRIES) {
      const pause = Math.min(UNSURE_MS * 2 ** round.tries++, UNSURE_MS_MAX);
      round.asked = this.#buckets(round, [Verdict.UNSURE, NONE]);
      this.#after(unsure ? pause : 0, () => this.#ask(round));
    } else {
      this.#judge(round, this.#buckets(round, [Verdict.DIFFERS]));
    }
  }

  #judge(round: Round, differing: Uint8Array): void {
    if (differing.includes(1)) {
      if (round.size > 1) this.#askAnew(round, differing, 1);
      else this.#differs(round, differing);
    } else if (round.size === 1 && round.repairs > 0 && round.repairs < REPAIRS) {
      // all of it once more: now the peers can tell that nothing is missing
      round.repairs++;
      this.#askAnew(round, new Uint8Array(BUCKETS).fill(1), GROUP);
    } else {
      this.#finish(round);
    }
  }

  #askAnew(round: Round, asked: Uint8Array, size: number): void {
    round.size = size;
    round.tries = 0;
    round.asked = asked;
    for (const { verdicts } of round.peers.values()) {
      for (let bucket = 0; bucket < BUCKETS; bucket++) if (asked[bucket]) verdicts[bucket] = NONE;
    }
    this.#ask(round);
  }

  #differs(round: Round, differing: Uint8Array): void {
    for (const answers of round.peers.values()) {
      if (round.repairs === 0) answers.differed = answers.count(Verdict.DIFFERS);
    }
    if (!round.repair || round.repairs === REPAIRS) {
      this.#finish(round);
      return;
    }
    round.repairs++;
    this.#host.bulk.sayBuckets(differing, (first) => {
      if (this.#round !== round) return;
      const { outbox } = this.#host;
      for (const [from, buckets] of runs(differing)) outbox.bucketEnd(first, from, buckets);
      this.#askAnew(round, differing, 1);
    });
  }

  /** Those on which a live peer has one of these verdicts. */
  #buckets({ peers }: Round, wanted: readonly number[]): Uint8Array {
    const marked = new Uint8Array(BUCKETS);
    for (const [peer, { verdicts }] of peers) {
      if (!peer.alive) continue;
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        if (wanted.includes(verdicts[bucket])) marked[bucket] = 1;
      }
    }
    return marked;
  }

  /** Is there a live peer with such a verdict on what is asked? */
  #open(round: Round, verdict: number): boolean {
    for (const [peer, { verdicts }] of round.peers) {
      if (!peer.alive) continue;
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        if (round.asked[bucket] && verdicts[bucket] === verdict) return true;
      }
    }
    return false;
  }

  #finish(round: Round): void {
    this.#timer?.cancel();
    this.#round = undefined;
    const peers = [...round.peers].map(([peer, answers]) => this.#result(peer, answers));
    for (const result of peers) this.#tell(result);
    round.done(peers);
    if (!this.#round) this.#begin();
  }

  #result(peer: Peer, answers: Answers): VerifiedPeer {
    const differing = answers.count(Verdict.DIFFERS);
    const repaired = Math.max(0, answers.differed - differing - answers.count(NONE));
    const { node, name } = peer;
    const { records, differed } = answers;
    return { node, name, records, differed, repaired, outcome: this.#outcome(peer, answers) };
  }

  #outcome(peer: Peer, answers: Answers): VerifyOutcome {
    if (this.#host.uncached) return 'uncached';
    if (this.#host.version() < 2 && peer.versions.highest < 2) return 'version';
    if (!answers.answered) return 'no-answer';
    if (answers.count(Verdict.FULL) > 0) return 'full';
    if (answers.count(Verdict.DIFFERS) > 0) return 'differs';
    if (answers.count(NONE) + answers.count(Verdict.UNSURE) > 0) return 'unsure';
    return answers.differed > 0 ? 'repaired' : 'equal';
  }

  #tell({ name, differed, repaired, outcome }: VerifiedPeer): void {
    this.counts.verify_differing += differed;
    this.counts.verify_repaired += repaired;
    if (outcome === 'equal') this.counts.verify_equal++;
    if (outcome === 'no-answer' || outcome === 'unsure') this.counts.verify_unanswered++;
    if (outcome === 'repaired') {
      this.#host.notice(
        'verify-repaired',
        `${name} held something else than this node owns, in ${differed} of ${BUCKETS} parts: repaired`,
      );
    } else if (outcome === 'differs') {
      this.#host.notice(
        'verify-differs',
        `${name} holds something else than this node owns, in ${differed} of ${BUCKETS} parts`,
      );
    }
  }

  #after(ms: number, fn: () => void): void {
    this.#timer?.cancel();
    if (!this.#stopped) this.#timer = this.#host.clock.after(ms, fn);
  }
}

/** Of buckets in a row that are marked: the first one, and how many. */
function* runs(marked: Uint8Array): Generator<[number, number], void, void> {
  for (let first = marked.indexOf(1); first >= 0; ) {
    let end = first;
    while (end < marked.length && marked[end] === 1) end++;
    yield [first, end - first];
    first = marked.indexOf(1, end);
  }
}
