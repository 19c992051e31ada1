/**
 * Which flows have data under way: an owner says so now and then, so that who takes over knows whom to care
 * for first. A hint and no more: what is lost of it is not repaired, and a flow is named by the hash of its
 * identity alone. A statement takes the place of the one before.
 */
import { RECORD_SIZE } from '../kernel/record/layout.js';
import { counts } from './counts.js';
import { Identity } from './identity.js';
import type { Outbox } from './outbox.js';
import type { Peer } from './peer.js';
import type { Clock } from './ports.js';
import type { Store } from './store.js';
import { ACTIVE_HASH } from './wire.js';

/** Flows in one statement; more are not said, and not kept. */
export const BUSY_MAX = 4096;
/** Hash of none: that nothing is busy. */
const NOBODY = 0;
/** What has not changed is said again after that: somebody may have missed it. */
const REPEAT_MS = 5000;
const SINCE_VERSION = 2;

export interface BusyHost {
  readonly clock: Clock;
  readonly store: Store;
  readonly outbox: Outbox;
  /** Of the wire, that is written. */
  version(): number;
  livePeers(): Iterable<Peer>;
  peers(): Iterable<Peer>;
}

export class Busy {
  readonly #host: BusyHost;
  readonly #key = new Identity();
  /** Hashes, in their order. */
  #said: Uint32Array = new Uint32Array();
  #saidAt = Number.NEGATIVE_INFINITY;
  #statement = 0;
  readonly counts = counts(
    'busy_said', // flows
    'busy_unsaid', // too many for one statement
    'busy_heard', // flows
    'busy_unheard', // too many
  );

  constructor(host: BusyHost) {
    this.#host = host;
  }

  /** These are busy now (n × RECORD_SIZE bytes), and no others of this node's. */
  say(records: Uint8Array): void {
    const { clock, outbox, version, livePeers } = this.#host;
    const hashes = this.#hashes(records);
    const now = clock.now();
    if (same(hashes, this.#said) && (hashes.length === 0 || now - this.#saidAt < REPEAT_MS)) return;
    if (version() < SINCE_VERSION || livePeers()[Symbol.iterator]().next().done) return;
    this.#said = hashes;
    this.#saidAt = now;
    this.#statement = (this.#statement + 1) >>> 0;
    for (const hash of hashes) outbox.active(this.#statement, hash);
    if (hashes.length === 0) outbox.active(this.#statement, NOBODY);
    outbox.flush();
    this.counts.busy_said += hashes.length;
  }

  #hashes(records: Uint8Array): Uint32Array {
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    const all = records.length / RECORD_SIZE;
    const count = Math.min(BUSY_MAX, all);
    this.counts.busy_unsaid += all - count;
    const hashes = new Uint32Array(count);
    for (let i = 0; i < count; i++) hashes[i] = this.#key.load(view, i * RECORD_SIZE).hash;
    return hashes.sort();
  }

  /** An ACTIVE item. */
  heard(peer: Peer, view: DataView, at: number): void {
    const statement = view.getUint32(at, true);
    if (peer.statement !== statement) peer.busy.clear();
    peer.statement = statement;
    const hash = view.getUint32(at + ACTIVE_HASH, true);
    if (hash === NOBODY) return;
    if (peer.busy.size >= BUSY_MAX) {
      this.counts.busy_unheard++;
      return;
    }
    peer.busy.add(hash);
    this.counts.busy_heard++;
  }

  /** Records of peers (n × RECORD_SIZE bytes, the caller's to keep) whose owners have called them busy. */
  records(): Uint8Array {
    const { clock, store, peers } = this.#host;
    const slots: number[] = [];
    for (const peer of peers()) {
      for (const hash of peer.busy) {
        const slot = store.findHash(hash);
        if (slot >= 0 && !store.internal.holds(slot)) slots.push(slot);
      }
    }
    const records = new Uint8Array(slots.length * RECORD_SIZE);
    const view = new DataView(records.buffer);
    const now = clock.now();
    for (const [i, slot] of slots.entries()) store.render(slot, view, i * RECORD_SIZE, now);
    return records;
  }
}

function same(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
