/**
 * Sessions of the other nodes, by sender and salt. One becomes known by a datagram that its key opens
 * (a candidate), and is listened to once it has proven that it lives: a recording cannot.
 */
import type { Timer } from '../ports.js';
import { HEADER_SIZE } from '../wire/header.js';
import type { Box, SealKey } from './box.js';
import { same } from './octets.js';
import { ReplayWindow } from './window.js';

/** Nodes on one link, as the engine bounds them. */
const SENDERS_MAX = 64;
/** Of all senders; the one that has been challenged longest ago makes room. */
const CANDIDATES_MAX = 64;
/** A session that another one of its sender has followed: what is still on its way is let in. */
const SUPERSEDED_MS = 5000;
/** A sender that has been silent for so long makes room for a new one. */
const SILENT_MS = 10_000;

export class Session {
  readonly window = new ReplayWindow();
  proven = false;
  heardAt: number;
  /** When its sender proved another one. */
  supersededAt = Number.POSITIVE_INFINITY;
  /** What it has been asked to repeat, since when, and how often. */
  challenge: Uint8Array | undefined;
  challengedAt = 0;
  attempts = 0;
  retry: Timer | undefined;

  constructor(
    readonly key: SealKey,
    readonly sender: number,
    readonly salt: Uint8Array,
    readonly box: Box,
    now: number,
  ) {
    this.heardAt = now;
  }

  /** By what stands in clear: its key may yet say no. */
  sealed(keyId: number, datagram: Uint8Array): boolean {
    return this.key.id === keyId && same(this.salt, datagram, HEADER_SIZE);
  }
}

export class Sessions {
  readonly #proven = new Map<number, Session[]>();
  #candidates: Session[] = [];

  get proven(): number {
    let count = 0;
    for (const sessions of this.#proven.values()) count += sessions.length;
    return count;
  }

  get candidates(): number {
    return this.#candidates.length;
  }

  /** The session in which this was sealed, if it is known. */
  find(sender: number, keyId: number, sealed: Uint8Array, now: number): Session | undefined {
    for (const session of this.#proven.get(sender) ?? []) {
      if (!session.sealed(keyId, sealed)) continue;
      if (now - session.supersededAt < SUPERSEDED_MS) return session;
      this.#drop(session);
      return undefined;
    }
    for (const session of this.#candidates) {
      if (session.sender === sender && session.sealed(keyId, sealed)) return session;
    }
    return undefined;
  }

  add(candidate: Session): void {
    if (this.#candidates.length === CANDIDATES_MAX) this.#candidates.shift()?.retry?.cancel();
    this.#candidates.push(candidate);
  }

  /** A candidate has proven that it lives. False: there are too many senders. */
  prove(session: Session, now: number): boolean {
    const others = this.#proven.get(session.sender) ?? [];
    if (others.length === 0 && !this.#room(now)) return false;
    this.#candidates = this.#candidates.filter((candidate) => candidate !== session);
    session.retry?.cancel();
    session.challenge = undefined;
    session.proven = true;
    for (const other of others) other.supersededAt = Math.min(other.supersededAt, now);
    // two: the present one and the one before it
    this.#proven.set(session.sender, [session, ...others.slice(0, 1)]);
    return true;
  }

  /** Forget those whose key is not among these any more. */
  keep(holds: (key: SealKey) => boolean): void {
    for (const sessions of this.#proven.values()) {
      for (const session of [...sessions]) if (!holds(session.key)) this.#drop(session);
    }
    for (const { key, retry } of this.#candidates) if (!holds(key)) retry?.cancel();
    this.#candidates = this.#candidates.filter(({ key }) => holds(key));
  }

  /** No timer goes on. */
  stop(): void {
    for (const { retry } of this.#candidates) retry?.cancel();
  }

  #room(now: number): boolean {
    if (this.#proven.size < SENDERS_MAX) return true;
    for (const [sender, sessions] of this.#proven) {
      if (sessions.some(({ heardAt }) => now - heardAt < SILENT_MS)) continue;
      this.#proven.delete(sender);
      return true;
    }
    return false;
  }

  #drop(session: Session): void {
    const left = (this.#proven.get(session.sender) ?? []).filter((other) => other !== session);
    if (left.length > 0) this.#proven.set(session.sender, left);
    else this.#proven.delete(session.sender);
  }
}
