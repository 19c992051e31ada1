/**
 * A planned takeover, asked for by the node that has the addresses: the peer takes over before they move,
 * so that no packet meets a kernel that does not know its splice.
 *
 * The one says OFFER, again and again, and the other answers each time how far it is (TAKEN), so that
 * neither is lost for good.
 */
import type { OfferAnswer, OfferRefusal, OfferTaken, OfferWhat, PeerInfo } from './api.js';
import { counts } from './counts.js';
import type { Outbox } from './outbox.js';
import type { Peer } from './peer.js';
import type { Clock, Random, Timer } from './ports.js';
import {
  type Datagram,
  OFFER_WHAT,
  Offered,
  Refusal,
  type Rejection,
  Segment,
  TAKEN_ENTRIES,
  TAKEN_EPOCH,
  TAKEN_OUTCOME,
  TAKEN_SIZE,
  TAKEN_WHY,
  TakenOutcome,
  Type,
} from './wire.js';

/** Between two OFFERs. */
const OFFER_MS = 20;
/** Without any answer for so long: the peer is not dead, and too busy; or it does not know what an offer is. */
const NO_ANSWER_MS = 5000;

export interface OfferHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly outbox: Outbox;
  info(peer: Peer): PeerInfo;
  /** A peer asks this node to take something over; `answer` is called once. */
  offered(peer: PeerInfo, what: OfferWhat, answer: (taken: OfferTaken) => void): void;
}

/** What this node has offered. */
interface Making {
  readonly peer: Peer;
  readonly what: OfferWhat;
  readonly nonce: number;
  readonly done: (answer: OfferAnswer) => void;
  /** When the peer was last heard to work on it. */
  heardAt: number;
  timer: Timer | undefined;
}

/** What this node was offered last, by one of its peers. */
interface Asked {
  readonly node: number;
  readonly incarnation: number;
  readonly nonce: number;
  /** undefined: under way. */
  taken: OfferTaken | undefined;
}

export class Offer {
  readonly #host: OfferHost;
  #offered: Making | undefined;
  #asked: Asked | undefined;
  readonly counts = counts('offers_made', 'offers_heard', 'offers_taken', 'offers_refused');

  constructor(host: OfferHost) {
    this.#host = host;
  }

  /** Takes the place of an earlier one. @returns ends it without an answer */
  make(peer: Peer, what: OfferWhat, done: (answer: OfferAnswer) => void): () => void {
    this.stop();
    const { clock, random } = this.#host;
    const offered: Making = {
      peer,
      what,
      nonce: random.u32(),
      done,
      heardAt: clock.now(),
      timer: undefined,
    };
    this.#offered = offered;
    this.counts.offers_made++;
    this.#say(offered);
    return () => {
      if (this.#offered === offered) this.stop();
    };
  }

  stop(): void {
    this.#offered?.timer?.cancel();
    this.#offered = undefined;
  }

  /** An OFFER to this node. */
  heard(peer: Peer, { header, segments, view }: Datagram): Rejection | undefined {
    if (header.receiver === 0) return 'range';
    const segment = segments.find(({ type }) => type === Segment.OFFER);
    if (!segment) return 'segment';
    const nonce = view.getUint32(segment.at, true);
    const what =
      view.getUint8(segment.at + OFFER_WHAT) === Offered.splices ? 'splices' : 'addresses';
    const { incarnation, node } = peer;
    const before = this.#asked;
    if (before?.nonce !== nonce || before.node !== node || before.incarnation !== incarnation) {
      this.#take(peer, what, { node, incarnation, nonce, taken: undefined });
    } else this.#answer(peer, before);
    return undefined;
  }

  /** A TAKEN to this node. */
  answered(peer: Peer, { segments, view }: Datagram): Rejection | undefined {
    const segment = segments.find(({ type }) => type === Segment.TAKEN);
    if (!segment) return 'segment';
    const offered = this.#offered;
    const { at } = segment;
    if (offered?.peer !== peer || view.getUint32(at, true) !== offered.nonce) return undefined;
    offered.heardAt = this.#host.clock.now();
    const outcome = view.getUint8(at + TAKEN_OUTCOME);
    if (outcome === TakenOutcome.UNDER_WAY) return undefined;
    this.stop();
    if (outcome === TakenOutcome.REFUSED) {
      offered.done({ outcome: 'refused', why: refusalOf(view.getUint8(at + TAKEN_WHY)) });
      return undefined;
    }
    const entries = view.getUint32(at + TAKEN_ENTRIES, true);
    offered.done({ outcome: 'taken', entries, epoch: view.getUint32(at + TAKEN_EPOCH, true) });
    return undefined;
  }

  #say(offered: Making): void {
    const { clock, outbox } = this.#host;
    const { peer, what, nonce, heardAt } = offered;
    if (!peer.alive || clock.now() - heardAt > NO_ANSWER_MS) {
      this.stop();
      offered.done({ outcome: peer.alive ? 'no-answer' : 'dead' });
      return;
    }
    const to = { receiver: peer.node, receiverIncarnation: peer.incarnation };
    outbox.control(Type.OFFER, to, (writer) => {
      const at = writer.item(Segment.OFFER);
      writer.view.setUint32(at, nonce, true);
      writer.view.setUint32(at + OFFER_WHAT, Offered[what], true);
    });
    offered.timer = clock.after(OFFER_MS, () => this.#say(offered));
  }

  #take(peer: Peer, what: OfferWhat, asked: Asked): void {
    this.counts.offers_heard++;
    if (this.#asked && this.#asked.taken === undefined) {
      const taken: OfferTaken = { outcome: 'refused', why: 'busy' };
      this.counts.offers_refused++;
      this.#answer(peer, { ...asked, taken });
      return;
    }
    this.#asked = asked;
    this.#host.offered(this.#host.info(peer), what, (taken) => {
      asked.taken = taken;
      this.counts[taken.outcome === 'taken' ? 'offers_taken' : 'offers_refused']++;
      this.#answer(peer, asked);
    });
    if (asked.taken === undefined) this.#answer(peer, asked);
  }

  #answer(peer: Peer, { nonce, taken }: Asked): void {
    const to = { receiver: peer.node, receiverIncarnation: peer.incarnation };
    this.#host.outbox.control(Type.TAKEN, to, (writer) => {
      const { bytes, view } = writer;
      const at = writer.item(Segment.TAKEN);
      bytes.fill(0, at, at + TAKEN_SIZE);
      view.setUint32(at, nonce, true);
      if (taken === undefined) view.setUint8(at + TAKEN_OUTCOME, TakenOutcome.UNDER_WAY);
      else if (taken.outcome === 'refused') {
        view.setUint8(at + TAKEN_OUTCOME, TakenOutcome.REFUSED);
        view.setUint8(at + TAKEN_WHY, Refusal[taken.why]);
      } else {
        view.setUint8(at + TAKEN_OUTCOME, TakenOutcome.TAKEN);
        view.setUint32(at + TAKEN_EPOCH, taken.epoch, true);
        view.setUint32(at + TAKEN_ENTRIES, taken.entries, true);
      }
    });
  }
}

/** One that this version does not know is of a later one: something keeps the peer from taking over. */
function refusalOf(code: number): OfferRefusal {
  const found = Object.entries(Refusal).find(([, value]) => value === code);
  return (found?.[0] as OfferRefusal | undefined) ?? 'failed';
}
