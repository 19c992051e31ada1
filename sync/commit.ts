/**
 * A commit: what peers own is put into this kernel under an epoch above all others, and is this node's
 * own from then on. The plan says what to insert, `committed` is told what became of it; in between, a
 * stronger claim or an end may have been heard, and decides.
 */
import { Flag, RECORD_SIZE, RecordOffset, Result, State } from '../kernel/record/layout.js';
import { type Cache, CHUNK_RECORDS, RECORD_WORDS } from './cache.js';
import { counts } from './counts.js';
import { Identity } from './identity.js';
import type { Outbox } from './outbox.js';
import type { Ownership } from './ownership.js';
import { Mark, type Store } from './store.js';
import { stronger } from './tombstones.js';

/** An entry whose time is up on paper gets so long to prove itself: its owner saw packets we did not. */
const COMMIT_FLOOR_MS = 60_000;

export interface CommitHost {
  readonly node: number;
  readonly outbox: Outbox;
  /** Of what is taken over now: above all others. */
  epoch(): number;
  /** A record did not find room. */
  full(): void;
  /** How many records can be said at once without overrunning anybody. */
  room(): number;
  /** Is that peer alive? */
  live(node: number): boolean;
  /** DisableInternalCache: see OwnershipHost. */
  readonly uncached: boolean;
}

/** A chunk of a commit, and the slots of its records. */
class Planned {
  readonly chunk = new Uint8Array(CHUNK_RECORDS * RECORD_SIZE);
  readonly words = new Uint32Array(this.chunk.buffer);
  readonly view = new DataView(this.chunk.buffer);
  readonly slots = new Uint32Array(CHUNK_RECORDS);
}

export class Commit {
  readonly #host: CommitHost;
  readonly #store: Store;
  readonly #ownership: Ownership;
  readonly #key = new Identity();
  /** Of each chunk of a plan: the slots of its records. */
  readonly #planned = new WeakMap<ArrayBufferLike, Planned>();
  /** Chunks that have come back, for the next ones: memory of their size troubles the garbage collector. */
  readonly #spare: Planned[] = [];
  /** Something was taken over and could not be said. */
  #untold = false;
  readonly counts = counts(
    'committed', // taken over from a peer
    'commit_absent', // ... not, since the kernel does not hold it, as it was thought to
    'commit_exists', // ... not, since the kernel holds the same or a stronger claim
    'commit_tuple_taken', // ... not, since a stronger splice has the addresses
    'commit_table_full',
    'commit_invalid',
    'commit_beaten', // ... not, since a stronger claim on it, or its end, was heard meanwhile
    'commit_expired', // ... not, since it was closing and its time is up
  );

  constructor(host: CommitHost, store: Store, ownership: Ownership) {
    this.#host = host;
    this.#store = store;
    this.#ownership = ownership;
  }

  /**
   * What a commit would insert: chunks of n × 152 bytes. `timeoutMs` above 0: their remaining time. What there
   * is to be taken over is this node's, as far as ends are concerned, from this call on.
   */
  plan(caches: Iterable<Cache>, timeoutMs: number): Generator<Uint8Array, void, void> {
    const all = [...caches];
    if (all.some((cache) => cache.size > 0)) this.#begin();
    return this.#chunks(all, timeoutMs);
  }

  #begin(): number {
    this.#ownership.taken = this.#host.epoch();
    return this.#ownership.taken;
  }

  *#chunks(caches: readonly Cache[], timeoutMs: number): Generator<Uint8Array, void, void> {
    let epoch = caches.some((cache) => cache.size > 0) ? this.#ownership.taken : 0;
    for (const cache of caches) {
      for (let slot = 0; slot < cache.top; ) {
        if (epoch === 0 && cache.size > 0) epoch = this.#begin();
        const planned = this.#spare.pop() ?? new Planned();
        const { chunk, words, view, slots } = planned;
        const now = this.#store.now();
        let count = 0;
        for (; slot < cache.top && count < CHUNK_RECORDS; slot++) {
          if (!cache.holds(slot)) continue;
          this.#store.renderWords(slot, words, count * RECORD_WORDS, now);
          if (!this.#takeable(chunk, view, count * RECORD_SIZE, epoch)) continue;
          if (timeoutMs > 0) {
            view.setUint32(count * RECORD_SIZE + RecordOffset.remainingMs, timeoutMs, true);
          }
          slots[count++] = slot;
        }
        if (count === 0) continue;
        this.#planned.set(chunk.buffer, planned);
        yield chunk.subarray(0, count * RECORD_SIZE);
      }
    }
  }

  /**
   * Of a chunk of the kernel's table: what it holds for owners that are gone, and that no cache knows, as this
   * node's own. They are asked at once whether they live, since nobody knows how long they have been idle.
   */
  orphans(records: Uint8Array): Uint8Array {
    const found = records.slice();
    const view = new DataView(found.buffer);
    let count = 0;
    for (let at = 0; at + RECORD_SIZE <= records.length; at += RECORD_SIZE) {
      const to = count * RECORD_SIZE;
      if (count > 0 || at > 0) found.copyWithin(to, at, at + RECORD_SIZE);
      if (this.#isOrphan(found, view, to)) count++;
    }
    return found.subarray(0, count * RECORD_SIZE);
  }

  #isOrphan(found: Uint8Array, view: DataView, at: number): boolean {
    const flags = view.getUint16(at + RecordOffset.flags, true);
    if (!(flags & Flag.STANDBY) || finished(found, at)) return false;
    const key = this.#key.load(view, at);
    const { node } = this.#host;
    if (this.#store.find(key) >= 0) return false;
    const owner = view.getUint32(at + RecordOffset.owner, true);
    const epoch = view.getUint32(at + RecordOffset.epoch, true);
    if (owner !== node && this.#host.live(owner)) return false;
    if (!stronger(this.#ownership.taken, node, epoch, owner)) this.#begin();
    const { taken } = this.#ownership;
    if (this.#ownership.tombstones.covers(key, taken, node)) return false;
    view.setUint16(at + RecordOffset.flags, flags & ~Flag.STANDBY, true);
    view.setUint32(at + RecordOffset.remainingMs, COMMIT_FLOOR_MS, true);
    this.#claim(view, at, taken);
    return true;
  }

  /** What became of a chunk of the plan. Returns how many are ours now. */
  committed(records: Uint8Array, results: Uint32Array): number {
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    const planned = this.#planned.get(records.buffer);
    const slots = planned?.slots;
    const now = this.#store.now();
    let room = this.#host.room();
    let ours = 0;
    for (let index = 0; index < results.length; index++) {
      const result = results[index];
      if (result === Result.OK) {
        const at = index * RECORD_SIZE;
        const key = this.#key.load(view, at);
        const where = slots && this.#store.has(slots[index], key) ? slots[index] : -1;
        const slot = where < 0 ? this.#store.find(key) : where;
        const epoch = view.getUint32(at + RecordOffset.epoch, true);
        if (this.#beaten(view, at, slot, key, epoch, where < 0)) {
          this.counts.commit_beaten++;
          continue;
        }
        if (this.#taken(slot, key, view, at, now, room > 0)) room--;
        ours++;
      } else if (result === Result.NOT_FOUND) this.counts.commit_absent++;
      else if (result === Result.EXISTS) this.counts.commit_exists++;
      else if (result === Result.TUPLE_TAKEN) this.counts.commit_tuple_taken++;
      else if (result === Result.TABLE_FULL) this.counts.commit_table_full++;
      else this.counts.commit_invalid++;
    }
    this.counts.committed += ours;
    if (planned && this.#planned.delete(records.buffer)) this.#spare.push(planned);
    return ours;
  }

  /** Has anything been taken over, since the last time, that only a bulk can say? */
  takeUntold(): boolean {
    const untold = this.#untold;
    this.#untold = false;
    return untold;
  }

  /** Has a stronger claim come since a record was planned; or, if it is not where it was, its end? */
  #beaten(
    view: DataView,
    at: number,
    slot: number,
    key: Identity,
    epoch: number,
    moved: boolean,
  ): boolean {
    const { node } = this.#host;
    if (moved && this.#ownership.tombstones.covers(key, epoch, node)) {
      this.#ownership.bury(view, at);
      return true;
    }
    if (slot < 0 || this.#store.internal.holds(slot)) return false;
    if (this.#ownership.beats(epoch, node, slot)) return false;
    this.#ownership.demote(view, at, this.#store.epoch(slot), this.#store.owner(slot));
    return true;
  }

  /** Makes a record of a peer's one of ours, under this epoch. False: its time is over. */
  #takeable(chunk: Uint8Array, view: DataView, at: number, epoch: number): boolean {
    if (view.getUint32(at + RecordOffset.remainingMs, true) === 0) {
      if (closing(chunk, at)) {
        this.counts.commit_expired++;
        return false;
      }
      view.setUint32(at + RecordOffset.remainingMs, COMMIT_FLOOR_MS, true);
    }
    this.#claim(view, at, epoch);
    return true;
  }

  #claim(view: DataView, at: number, epoch: number): void {
    view.setUint32(at + RecordOffset.owner, this.#host.node, true);
    view.setUint32(at + RecordOffset.epoch, epoch, true);
    const generation = view.getUint32(at + RecordOffset.generation, true);
    view.setUint32(at + RecordOffset.generation, generation + 1, true);
  }

  /**
   * The kernel has taken a record. A live peer that owned it hears so at once, if there is `room`; the
   * others have it from its last owner and can wait for their turn. True: it has been said.
   */
  #taken(
    slot: number,
    key: Identity,
    view: DataView,
    at: number,
    now: number,
    room: boolean,
  ): boolean {
    const owner = slot < 0 ? 0 : this.#store.owner(slot);
    if (this.#store.internal.put(slot, key, view, at, now) === 'full') {
      this.#host.full();
      return false;
    }
    const taken = this.#store.internal.last;
    this.#store.internal.setMark(taken, Mark.TAKEN, true);
    if (this.#ownership.resyncing) this.#store.internal.setMark(taken, Mark.SEEN, true);
    const said = room && this.#host.live(owner);
    if (said) this.#host.outbox.record(taken);
    if (this.#host.uncached) {
      this.#untold ||= !said;
      this.#ownership.forget(taken, view.getUint32(at + RecordOffset.epoch, true));
      return said;
    }
    if (said) return true;
    this.#store.internal.setMark(taken, Mark.UNSAID, true);
    return false;
  }
}

/** Closed in both directions, or torn down. */
function finished(bytes: Uint8Array, at: number): boolean {
  const state = at + RecordOffset.state;
  const both = (wanted: number): boolean => bytes[state] === wanted && bytes[state + 1] === wanted;
  return both(State.TIMEWAIT) || both(State.CLOSE);
}

function closing(bytes: Uint8Array, at: number): boolean {
  const state = at + RecordOffset.state;
  return bytes[state] > State.SPLICED || bytes[state + 1] > State.SPLICED;
}
