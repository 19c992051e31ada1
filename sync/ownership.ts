/**
 * Who owns which splice. One identity lives in one cache at most: the internal one or that of one
 * peer, where the strongest claim (epoch, owner) has put it. Every claim that is heard, from the
 * kernel or from the wire, passes through here; what a commit takes over, through commit.ts.
 */
import {
  EVENT_SIZE,
  EventOffset,
  EventType,
  Flag,
  RECORD_SIZE,
  RecordOffset,
  State,
} from '../kernel/record/layout.js';
import type { Cache } from './cache.js';
import { counts } from './counts.js';
import { bucketOf } from './digest.js';
import { Identity } from './identity.js';
import type { Outbox } from './outbox.js';
import type { Peer } from './peer.js';
import { Mark, type Store } from './store.js';
import { stronger, Tombstones } from './tombstones.js';
import { EPOCH_MAX, GONE_EPOCH, GONE_OWNER } from './wire.js';

/** Tombstones at most: 32 octets each. */
const TOMBSTONES_MAX = 262_144;

export interface OwnershipHost {
  readonly node: number;
  /** The highest that was seen before this start. */
  readonly epoch: number;
  readonly outbox: Outbox;
  demoted(records: Uint8Array): void;
  ended(records: Uint8Array): void;
  epochChanged(epoch: number): void;
  /** A record did not find room: one of ours, or one that a peer has said in this datagram. */
  full(peer?: Peer, sequence?: number): void;
  /**
   * DisableInternalCache: what this node owns is not kept, the kernel alone knows it; a record is in
   * the cache while it is being said, and no longer.
   */
  readonly uncached: boolean;
  /** A splice was born, and is said by the datagram under way. */
  born(bytes: Uint8Array, at: number): void;
}

export class Ownership {
  readonly internal: Cache;
  readonly tombstones: Tombstones;
  readonly #host: OwnershipHost;
  readonly #store: Store;
  readonly #key = new Identity();
  #epoch = 0;
  #resyncing = false;
  /** Epoch of the last takeover here: what weaker claims hold is this node's, as soon as it gets to it. */
  taken = 0;
  /** Epoch of the strongest claim that this node has said. */
  #claimed = 0;
  /** Records that this kernel has to give up, gathered during one call. */
  #demoted: Uint8Array[] = [];
  #buried: Uint8Array[] = [];
  readonly counts = counts(
    'demoted', // given up to a stronger claim
    'weaker', // claims that ours, or another peer's, beats
    'dead', // claims on a splice that has ended under a stronger one
    'local_foreign', // kernel events of splices that this node does not own
    'local_unfinished', // ... that cannot live on another node yet
    'local_unknown', // ... that ended without ever having been announced
    'local_beaten', // ... that belong to another node by now
    'local_held_ended', // splices of peers that ended here after a takeover, before they were claimed
  );

  constructor(host: OwnershipHost, store: Store) {
    this.#host = host;
    this.#epoch = host.epoch;
    this.#store = store;
    this.internal = store.internal;
    this.tombstones = new Tombstones(Math.min(store.internal.limit, TOMBSTONES_MAX));
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** One above all that have been seen. */
  raiseEpoch(): number {
    const epoch = this.#epoch + 1;
    this.noteEpoch(epoch);
    return epoch;
  }

  noteEpoch(epoch: number): void {
    if (epoch <= this.#epoch || epoch > EPOCH_MAX) return;
    this.#epoch = epoch;
    this.#host.epochChanged(epoch);
  }

  /** A peer says that it owns this record. */
  claimed(peer: Peer, view: DataView, at: number, sequence: number): void {
    const key = this.#key.load(view, at);
    const slot = this.#store.find(key);
    if (this.#superseded(peer, key, slot, sequence)) return;
    touch(peer, key, sequence);
    const epoch = view.getUint32(at + RecordOffset.epoch, true);
    this.noteEpoch(epoch);
    if (this.tombstones.covers(key, epoch, peer.node)) {
      this.counts.dead++;
      peer.cache.contestedAt = peer.heardAt;
      this.#host.outbox.gone(key, this.tombstones.endOf(key));
      return;
    }
    // one that is known is known to be another node's
    if (slot < 0) this.#giveUpUnseen(key, view, at, epoch, peer.node);
    const ours = slot >= 0 && this.internal.holds(slot);
    if (slot >= 0 && !peer.cache.holds(slot) && !this.beats(epoch, peer.node, slot)) {
      this.counts.weaker++;
      peer.cache.contestedAt = peer.heardAt;
      // it has not heard of ours: say it again, so that it demotes its own
      if (ours) this.#host.outbox.record(slot);
      else this.#store.setMark(slot, Mark.CONTESTED, true);
      return;
    }
    if (ours) this.#giveUp(slot, key, epoch, peer.node);
    if (slot >= 0 && peer.cache.holds(slot)) {
      // the last word of its owner holds, whatever was thought before
      peer.cache.overwrite(slot, key, view, at, peer.heardAt);
    } else if (peer.cache.put(slot, key, view, at, peer.heardAt) === 'full') {
      this.#host.full(peer, sequence);
      return;
    }
    this.#store.setSequence(peer.cache.last, sequence, peer.stream);
  }

  /** A peer says that it does not own this splice (any more); perhaps also that it has ended. */
  gone(peer: Peer, view: DataView, at: number, sequence: number): void {
    const key = this.#key.load(view, at);
    const slot = this.#store.find(key);
    if (this.#superseded(peer, key, slot, sequence)) return;
    touch(peer, key, sequence);
    if (peer.window.missingCount > 0) peer.graves.add(key, sequence);
    const epoch = view.getUint32(at + GONE_EPOCH, true);
    const owner = view.getUint32(at + GONE_OWNER, true);
    if (epoch > 0) {
      this.noteEpoch(epoch);
      this.tombstones.add(key, epoch, owner);
    }
    if (slot < 0) return;
    const its = peer.cache.holds(slot);
    // one that it says has ended goes, whoever says that he owns it, unless his claim is the stronger one
    if (!its && (epoch === 0 || this.#stronger(slot, epoch, owner))) {
      this.#store.setMark(slot, Mark.CONTESTED, false);
      return;
    }
    // nobody's claim is left
    if (epoch > 0) this.#store.setMark(slot, Mark.CONTESTED, false);
    const holder = this.#store.cacheOf(slot) as Cache;
    if (holder === this.internal) this.#buryOurs(slot, key);
    else if (!its) holder.contestedAt = peer.heardAt;
    holder.remove(slot);
  }

  /** n struct splice_event of the kernel. */
  local(events: Uint8Array): void {
    const view = new DataView(events.buffer, events.byteOffset, events.byteLength);
    const now = this.#store.now();
    for (let at = 0; at + EVENT_SIZE <= events.length; at += EVENT_SIZE) {
      const type = view.getUint32(at + EventOffset.type, true);
      const record = at + EventOffset.record;
      if (view.getUint32(record + RecordOffset.owner, true) !== this.#host.node) {
        if (type !== EventType.DESTROY || !this.#endedHeld(view, record)) {
          this.counts.local_foreign++;
        }
      } else if (type === EventType.DESTROY) {
        this.#ended(view, record);
      } else {
        const what = this.#owned(events, view, record, now);
        if (what === 'inserted' && type === EventType.NEW) this.#host.born(events, record);
      }
    }
  }

  get resyncing(): boolean {
    return this.#resyncing;
  }

  resyncBegin(): void {
    this.#store.clearSeen();
    this.#resyncing = true;
  }

  /** A chunk of the kernel's table. Standby entries and those that are not spliced yet are passed over. */
  resyncRecords(records: Uint8Array): { inserted: number; updated: number } {
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    const changed = { inserted: 0, updated: 0 };
    const now = this.#store.now();
    for (let at = 0; at + RECORD_SIZE <= records.length; at += RECORD_SIZE) {
      if (!this.#isOwn(view, at) || !replicable(records, at)) continue;
      if (this.#host.uncached) {
        // there is nothing to be compared with: a bulk says all of it
        this.#note(view.getUint32(at + RecordOffset.epoch, true));
        continue;
      }
      const what = this.#owned(records, view, at, now);
      if (what === 'inserted' || what === 'updated') changed[what]++;
    }
    return changed;
  }

  /** A chunk of the kernel's table, for a bulk of a node that keeps nothing. Returns how many it said. */
  sayUncached(records: Uint8Array): number {
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    const now = this.#store.now();
    let said = 0;
    for (let at = 0; at + RECORD_SIZE <= records.length; at += RECORD_SIZE) {
      if (!this.#isOwn(view, at)) continue;
      if (replicable(records, at) && this.#owned(records, view, at, now) === 'inserted') said++;
    }
    return said;
  }

  /** Withdraw what the kernel does not have. Returns how many. */
  resyncEnd(withdraw: boolean): number {
    let deleted = 0;
    const next = (from: number) => this.internal.unmarkedFrom(from, Mark.SEEN);
    let slot = withdraw && this.#resyncing ? next(0) : -1;
    for (; slot >= 0; slot = next(slot + 1)) {
      this.#withdraw(slot, this.internal.identity(slot, this.#key));
      deleted++;
    }
    this.#resyncing = false;
    return deleted;
  }

  /** Say what is true now of one splice. */
  sayPresent(key: Identity): void {
    const slot = this.internal.find(key);
    if (slot >= 0) this.#host.outbox.record(slot);
    else this.#host.outbox.gone(key, this.tombstones.endOf(key));
  }

  /** The kernel is to hold this record for the owner whose claim has beaten ours. */
  demote(view: DataView, at: number, epoch: number, owner: number): void {
    const record = copyOf(view, at);
    const claim = new DataView(record.buffer);
    claim.setUint32(RecordOffset.epoch, epoch, true);
    claim.setUint32(RecordOffset.owner, owner, true);
    this.#demoted.push(record);
  }

  /** This record, which has ended under a stronger claim than ours, has to leave the kernel. */
  bury(view: DataView, at: number): void {
    this.#buried.push(copyOf(view, at));
  }

  /** Call back about what was given up since the last time, in one piece. */
  deliverDemoted(): void {
    const [buried, demoted] = [this.#buried, this.#demoted];
    if (buried.length > 0) {
      this.#buried = [];
      this.#host.ended(inOnePiece(buried));
    }
    if (demoted.length > 0) {
      this.#demoted = [];
      this.#host.demoted(inOnePiece(demoted));
    }
  }

  /** Is that claim stronger than the one under which the record in the slot is held? */
  beats(epoch: number, owner: number, slot: number): boolean {
    return stronger(epoch, owner, this.#store.epoch(slot), this.#store.owner(slot));
  }

  /** Is the record in the slot held under a stronger claim than that? */
  #stronger(slot: number, epoch: number, owner: number): boolean {
    return stronger(this.#store.epoch(slot), this.#store.owner(slot), epoch, owner);
  }

  /** Has the peer said something newer of this splice, in a datagram that came before this one? */
  #superseded(peer: Peer, key: Identity, slot: number, sequence: number): boolean {
    if (sequence === peer.window.highest) return false;
    if (slot >= 0 && peer.cache.holds(slot) && this.#store.stream(slot) === peer.stream) {
      return this.#store.sequence(slot) > sequence;
    }
    return peer.graves.goneSince(key, sequence);
  }

  /** A record of ours belongs to somebody else. It is still in its slot. */
  #giveUp(slot: number, key: Identity, epoch: number, owner: number): void {
    this.demote(this.#rendered(slot), 0, epoch, owner);
    this.counts.demoted++;
    this.#host.outbox.gone(key, this.tombstones.endOf(key));
  }

  /** The same of one that has ended there. */
  #buryOurs(slot: number, key: Identity): void {
    this.bury(this.#rendered(slot), 0);
    this.counts.demoted++;
    this.#host.outbox.gone(key, this.tombstones.endOf(key));
  }

  #rendered(slot: number): DataView {
    const view = new DataView(new ArrayBuffer(RECORD_SIZE));
    this.internal.render(slot, view, 0);
    return view;
  }

  /** Not what the kernel holds for another owner. */
  #isOwn(view: DataView, at: number): boolean {
    if (view.getUint32(at + RecordOffset.owner, true) !== this.#host.node) return false;
    return (view.getUint16(at + RecordOffset.flags, true) & Flag.STANDBY) === 0;
  }

  /** The kernel holds this record as ours. */
  #owned(bytes: Uint8Array, view: DataView, at: number, now: number) {
    if (!replicable(bytes, at)) {
      this.counts.local_unfinished++;
      return undefined;
    }
    const key = this.#key.load(view, at);
    const epoch = view.getUint32(at + RecordOffset.epoch, true);
    this.noteEpoch(epoch);
    const known = this.#store.find(key);
    const foreign = known >= 0 && !this.internal.holds(known);
    const dead = this.tombstones.covers(key, epoch, this.#host.node);
    if (dead || (foreign && !this.beats(epoch, this.#host.node, known))) {
      this.counts.local_beaten++;
      if (dead) this.bury(view, at);
      else this.demote(view, at, this.#store.epoch(known), this.#store.owner(known));
      return undefined;
    }
    const what = this.internal.put(known, key, view, at, now);
    if (what === 'full') {
      this.#host.full();
      return what;
    }
    const slot = this.internal.last;
    if (this.#resyncing) {
      this.internal.setMark(slot, Mark.SEEN, true);
      // who else has owned it was known to a daemon that is gone; nobody has in the first epoch
      if (what === 'inserted' && epoch > 1) this.internal.setMark(slot, Mark.TAKEN, true);
    }
    if (what === 'inserted' || what === 'updated') this.#host.outbox.record(slot);
    if (this.#host.uncached) this.forget(slot, epoch);
    return what;
  }

  /** It has been said. */
  forget(slot: number, epoch: number): void {
    this.#note(epoch);
    this.internal.remove(slot);
  }

  #note(epoch: number): void {
    this.noteEpoch(epoch);
    this.#claimed = Math.max(this.#claimed, epoch);
  }

  /**
   * Without an internal cache nobody knows what this kernel holds. But what was born here was here; and
   * a claim above all that this node has ever said is stronger than the one that it may still have.
   */
  #giveUpUnseen(key: Identity, view: DataView, at: number, epoch: number, owner: number): void {
    const { node, uncached } = this.#host;
    if (!uncached || key.origin !== node || !stronger(epoch, owner, this.#claimed, node)) return;
    this.demote(view, at, epoch, owner);
    this.counts.demoted++;
  }

  /** The kernel has torn this splice of ours down. */
  #ended(view: DataView, at: number): void {
    const key = this.#key.load(view, at);
    const slot = this.internal.find(key);
    if (slot >= 0) this.#withdraw(slot, key);
    else if (this.#host.uncached) this.#withdrawUncached(key, view, at);
    else this.counts.local_unknown++;
  }

  /**
   * A splice that the kernel held for a peer has ended here. Since this node has taken over, its claim on it is
   * the stronger one, and it ends under that. False: it is another node's to say.
   */
  #endedHeld(view: DataView, at: number): boolean {
    const { node, outbox } = this.#host;
    const key = this.#key.load(view, at);
    const slot = this.#store.find(key);
    if (slot < 0 || this.internal.holds(slot) || !this.beats(this.taken, node, slot)) return false;
    this.counts.local_held_ended++;
    this.tombstones.add(key, this.taken, node);
    this.#store.cacheOf(slot)?.removeEnded(slot);
    outbox.gone(key, this.tombstones.endOf(key));
    return true;
  }

  #withdrawUncached(key: Identity, view: DataView, at: number): void {
    const { node, outbox } = this.#host;
    const epoch = view.getUint32(at + RecordOffset.epoch, true);
    if (key.origin !== node || epoch > 1) this.tombstones.add(key, epoch, node);
    outbox.gone(key, this.tombstones.endOf(key));
  }

  #withdraw(slot: number, key: Identity): void {
    const { node, outbox } = this.#host;
    const changedHands =
      this.internal.marked(slot, Mark.TAKEN) || this.internal.origin(slot) !== node;
    if (changedHands) this.tombstones.add(key, this.internal.epoch(slot), node);
    this.internal.remove(slot);
    outbox.gone(key, this.tombstones.endOf(key));
  }
}

function inOnePiece(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.length * RECORD_SIZE);
  for (const [index, record] of parts.entries()) whole.set(record, index * RECORD_SIZE);
  return whole;
}

function copyOf(view: DataView, at: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, RECORD_SIZE).slice();
}

/** The peer has said something of this splice: what is held of its bucket is not older than that. */
function touch(peer: Peer, key: Identity, sequence: number): void {
  const bucket = bucketOf(key.hash);
  if (sequence > peer.touched[bucket]) peer.touched[bucket] = sequence;
}

/** Can it live on another node: are both legs without a local socket? */
function replicable(bytes: Uint8Array, at: number): boolean {
  const state = at + RecordOffset.state;
  return bytes[state] >= State.SPLICED && bytes[state + 1] >= State.SPLICED;
}
