/**
 * A link that seals what goes through it: below the engine, above whatever carries the datagrams.
 * docs/security.md has the threats that it meets, docs/wire.md the datagram.
 *
 * To send, a node draws a salt and so has a session of its own. What comes in a session that is not
 * known is opened once, to see whether the key is right, and then dropped: first its sender has to
 * repeat a random challenge. It does so in that very session, which a recording of it cannot.
 *
 *   a                                    b, which has just started
 *   | ------- HELLO, session of a -----> |  opens: a candidate; dropped
 *   | <------------ CHALLENGE ---------- |  in the session of b: a candidate at a
 *   | ------------- CHALLENGE ---------> |
 *   | ------------- PROOF -------------> |  from here on b hears a
 *   | <------------ PROOF -------------- |  and a hears b
 *   | <----------- HELLO --------------> |  once more, since the first was dropped
 */
import { counts } from '../counts.js';
import type { Clock, Link, LinkStats, Random, Timer } from '../ports.js';
import { HEADER, HEADER_SIZE, MAGIC, Type } from '../wire/header.js';
import { Box, OVERHEAD, SALT_SIZE, type SealKey } from './box.js';
import { Budget } from './budget.js';
import { challengeIn, Handshake, isHandshake, proves } from './handshake.js';
import { random128 } from './octets.js';
import { OwnSessions } from './own.js';
import type { Sealer } from './sealer.js';
import { Session, Sessions } from './sessions.js';

/** Why a datagram did not get through, each a counter `rejected_` and its name. */
export const SEAL_REJECTIONS = [
  'short', // less than a header, or than a sealed datagram
  'magic', // not of this protocol
  'length', // the length in the header is not the datagram's
  'sender', // node 0 does not exist
  'range', // a counter above 2^53, or 0
  'own', // sealed by this node in a session that it has now
  'unsealed', // not sealed, and this link is
  'key', // sealed by a key with an id that this node does not have
  'tag', // not sealed by the key that it names, or altered since
  'replay', // has come already, or is too old to tell
  'unproven', // its session has not shown that it lives: challenged, or replayed
  'limited', // more unknown sessions at once than are looked at
  'challenge', // of a session that this node does not have any more, or not a challenge
  'proof', // of nothing that was asked, or too late
  'too_many_peers', // more than 64 senders
] as const;
export type SealRejection = (typeof SEAL_REJECTIONS)[number];

export interface SealOptions {
  readonly link: Link;
  /** The first seals, all open. One at least, with ids of their own. */
  readonly keys: readonly SealKey[];
  readonly node: number;
  readonly clock: Clock;
  /** Salts and challenges come from it: nobody may be able to guess what it says next. */
  readonly random: Random;
  /** Takes what has been opened, as it was before it was sealed; valid during the call. */
  readonly deliver: (datagram: Uint8Array, path: number) => void;
  /** A node that could not hear this one has been given the proof: what was said is to be repeated. */
  readonly proved: () => void;
  /** Datagrams after which a new session begins by itself. */
  readonly renewAfter?: number;
}

/** How long an answer to a challenge is one; then another challenge is drawn. */
const CHALLENGE_MS = 1000;
/** Between the first and the second time of asking; doubled after each, up to the maximum. */
const RETRY_MS = 20;
const RETRY_MS_MAX = 100;
/** One HELLO for all that have challenged at once; and the least time between two. */
const PROVED_MS = 1;
const PROVED_MS_MIN = 20;
/**
 * Unknown sessions that are looked at: enough for 64 nodes that start together. Deriving a key takes
 * some 10 us, so this bounds what garbage costs; and with it challenges and proofs, of which a
 * replayed datagram causes one each.
 */
const MEETINGS = { burst: 256, perSecond: 1000 };

export class Seal implements Link {
  readonly mtu: number;
  readonly paths: number;
  readonly names?: readonly string[];
  readonly sealed = true;
  readonly #options: SealOptions;
  readonly #handshake: Handshake;
  readonly #sessions = new Sessions();
  readonly #meetings: Budget;
  readonly #out: Uint8Array;
  readonly #control: Uint8Array;
  #plain: Uint8Array;
  #keys: readonly SealKey[];
  readonly #own: OwnSessions;
  #provedTimer: Timer | undefined;
  #provedAt = Number.NEGATIVE_INFINITY;
  #stopped = false;
  readonly #counts = counts(
    'sealed',
    'opened',
    'challenges_sent',
    'proofs_sent',
    'sessions_proven',
    'handshakes_overheard', // to another node
  );
  readonly #rejections = counts<SealRejection>(...SEAL_REJECTIONS);

  constructor(options: SealOptions) {
    const { link, keys, node, clock, random, renewAfter } = options;
    this.#options = options;
    this.mtu = link.mtu - OVERHEAD;
    this.paths = link.paths;
    if (link.names) this.names = link.names;
    this.#handshake = new Handshake(node);
    this.#meetings = new Budget(clock, MEETINGS.burst, MEETINGS.perSecond);
    this.#out = new Uint8Array(link.mtu);
    this.#control = new Uint8Array(link.mtu);
    this.#plain = new Uint8Array(link.mtu);
    this.#keys = keys;
    const offer = (coming: Sealer): void => this.#say(coming, this.#handshake.offer());
    this.#own = new OwnSessions({ node, clock, random, renewAfter, offer }, keys[0]);
  }

  send(datagram: Uint8Array, path: number): boolean {
    const size = this.#own.seal(datagram, this.#out);
    this.#counts.sealed++;
    return this.#options.link.send(this.#out.subarray(0, size), path);
  }

  fault(path: number): string | undefined {
    return this.#options.link.fault?.(path);
  }

  /** What has come by a path. Whatever it is, nothing is thrown. */
  receive(datagram: Uint8Array, path = 0): void {
    const rejection = this.#stopped ? undefined : this.#take(datagram, path);
    if (rejection) this.#rejections[rejection]++;
  }

  /** The keys anew: the first seals, all open. What was sealed by one that is gone is not heard any more. */
  setKeys(keys: readonly SealKey[]): void {
    this.#keys = keys;
    this.#sessions.keep((known) => this.#holds(known));
    if (isSame(this.#own.key, keys[0])) return;
    this.#own.renew(keys[0]);
    if (!this.#holds(this.#own.sealer.key)) this.#own.switch();
  }

  /** Timers end; nothing is taken any more. */
  stop(): void {
    this.#stopped = true;
    this.#own.stop();
    this.#provedTimer?.cancel();
    this.#sessions.stop();
  }

  stats(): LinkStats {
    return {
      ...this.#options.link.stats(),
      ...this.#counts,
      sessions_renewed: this.#own.renewed,
      seal_key: this.#own.sealer.key.id,
      sessions: this.#sessions.proven,
      candidates: this.#sessions.candidates,
    };
  }

  rejections(): LinkStats {
    return this.#rejections;
  }

  #holds(key: SealKey): boolean {
    return this.#keys.some((known) => isSame(known, key));
  }

  #take(datagram: Uint8Array, path: number): SealRejection | undefined {
    const size = datagram.length;
    if (size < HEADER_SIZE) return 'short';
    const view = new DataView(datagram.buffer, datagram.byteOffset, size);
    if (HEADER.magic.read(view, HEADER.magic.at) !== MAGIC) return 'magic';
    const keyId = datagram[HEADER.key.at];
    if (keyId === 0) return 'unsealed';
    if (size < HEADER_SIZE + OVERHEAD) return 'short';
    if (HEADER.length.read(view, HEADER.length.at) !== size - HEADER_SIZE) return 'length';
    const sender = HEADER.sender.read(view, HEADER.sender.at);
    if (sender === 0) return 'sender';
    const counter = HEADER.nonce.read(view, HEADER.nonce.at);
    if (!(counter > 0)) return 'range';
    if (sender === this.#options.node && this.#own.owns(datagram)) return 'own';
    const session = this.#sessions.find(sender, keyId, datagram, this.#options.clock.now());
    if (!session) return this.#meet(datagram, sender, keyId, counter);
    return this.#hear(session, datagram, counter, path);
  }

  /** A session that is not known: a new one, an old one that is replayed, or garbage. */
  #meet(
    datagram: Uint8Array,
    sender: number,
    keyId: number,
    counter: number,
  ): SealRejection | undefined {
    const key = this.#keys.find(({ id }) => id === keyId);
    if (!key) return 'key';
    if (!this.#meetings.take()) return 'limited';
    const salt = datagram.slice(HEADER_SIZE, HEADER_SIZE + SALT_SIZE);
    const now = this.#options.clock.now();
    const session = new Session(key, sender, salt, new Box(key, sender, salt), now);
    const plain = this.#open(session, datagram, counter);
    if (!plain) return 'tag';
    this.#sessions.add(session);
    this.#challenge(session);
    const type = plain[HEADER.type.at];
    return isHandshake(type) ? this.#answer(session, plain, counter) : 'unproven';
  }

  #hear(
    session: Session,
    datagram: Uint8Array,
    counter: number,
    path: number,
  ): SealRejection | undefined {
    if (!session.window.fresh(counter)) return 'replay';
    const handshake = isHandshake(datagram[HEADER.type.at]);
    if (!session.proven && !handshake) {
      this.#challenge(session);
      return 'unproven';
    }
    const plain = this.#open(session, datagram, counter);
    if (!plain) return 'tag';
    if (handshake) return this.#answer(session, plain, counter);
    this.#counts.opened++;
    this.#options.deliver(plain, path);
    return undefined;
  }

  /** Marks the counter as used once the tag has been found right. */
  #open(session: Session, datagram: Uint8Array, counter: number): Uint8Array | undefined {
    if (datagram.length > this.#plain.length) this.#plain = new Uint8Array(datagram.length);
    const size = session.box.open(datagram, counter, this.#plain);
    if (size === undefined) return undefined;
    session.window.mark(counter);
    session.heardAt = this.#options.clock.now();
    return this.#plain.subarray(0, size);
  }

  #answer(session: Session, plain: Uint8Array, counter: number): SealRejection | undefined {
    const view = new DataView(plain.buffer, plain.byteOffset, plain.length);
    const receiver = HEADER.receiver.read(view, HEADER.receiver.at);
    const type = plain[HEADER.type.at];
    if (type === Type.PROOF && receiver === 0) {
      if (!session.proven) this.#challenge(session);
      return undefined;
    }
    if (receiver !== this.#options.node) {
      this.#counts.handshakes_overheard++;
      return undefined;
    }
    return type === Type.CHALLENGE
      ? this.#challenged(session, plain)
      : this.#proof(session, plain, counter);
  }

  #challenged(session: Session, plain: Uint8Array): SealRejection | undefined {
    const asked = challengeIn(plain);
    const sealer = asked && this.#own.find(asked.salt);
    if (!asked || !sealer) return 'challenge';
    this.#counts.proofs_sent++;
    this.#say(sealer, this.#handshake.proof(session.sender, asked.challenge));
    // whoever asks about a session that is not in use yet hears the present one
    if (sealer === this.#own.sealer) this.#tellProved();
    return undefined;
  }

  #proof(session: Session, plain: Uint8Array, counter: number): SealRejection | undefined {
    if (session.proven) return undefined; // the answer to a challenge that was repeated
    const { clock } = this.#options;
    const inTime = clock.now() - session.challengedAt < CHALLENGE_MS;
    if (!session.challenge || !inTime || !proves(plain, session.challenge)) return 'proof';
    if (!this.#sessions.prove(session, clock.now())) return 'too_many_peers';
    // what was sealed before may have been recorded before this node's start
    session.window.forgetUpTo(counter);
    this.#counts.sessions_proven++;
    return undefined;
  }

  /** Ask, and ask again: a lost answer must not cost the second until the next keep-alive. */
  #challenge(session: Session): void {
    const { clock, random } = this.#options;
    const now = clock.now();
    if (session.challenge && now - session.challengedAt < CHALLENGE_MS) return;
    session.retry?.cancel();
    session.challenge = random128(random);
    session.challengedAt = now;
    session.attempts = 0;
    this.#ask(session);
  }

  #ask(session: Session): void {
    const { challenge, sender, salt } = session;
    const { clock } = this.#options;
    if (!challenge || clock.now() - session.challengedAt >= CHALLENGE_MS) return;
    const wait = Math.min(RETRY_MS * 2 ** session.attempts++, RETRY_MS_MAX);
    session.retry = clock.after(wait, () => this.#ask(session));
    this.#counts.challenges_sent++;
    this.#say(this.#own.sealer, this.#handshake.challenge(sender, salt, challenge));
  }

  /** By every path: nobody knows yet which of them is heard. */
  #say(sealer: Sealer, plain: Uint8Array): void {
    const datagram = this.#control.subarray(0, sealer.seal(plain, this.#control));
    for (let path = 0; path < this.paths; path++) this.#options.link.send(datagram, path);
  }

  #tellProved(): void {
    if (this.#provedTimer) return;
    const { clock, proved } = this.#options;
    const wait = Math.max(PROVED_MS, this.#provedAt + PROVED_MS_MIN - clock.now());
    this.#provedTimer = clock.after(wait, () => {
      this.#provedTimer = undefined;
      this.#provedAt = clock.now();
      proved();
    });
  }
}

function isSame(a: SealKey, b: SealKey): boolean {
  return a.id === b.id && a.secret.equals(b.secret);
}

export function openSeal(options: SealOptions): Seal {
  return new Seal(options);
}
