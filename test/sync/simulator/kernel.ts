/**
 * The splice table of one machine, after kernel/bpf/{table,operate,sweep}.h: who may have a tuple, what
 * an insertion displaces, which changes are announced, and a ring of events that overflows.
 */
import {
  BATCH_ITEMS,
  EVENT_SIZE,
  EventOffset,
  EventType,
  Flag,
  RECORD_SIZE,
  RecordOffset,
  Result,
  State,
  TUPLE_SIZE,
  TupleOffset,
} from '../../../kernel/record/layout.js';
import { newRecord, RecordView } from '../../../kernel/record/record.js';
import { Reader } from './splice.js';

const OPEN = Flag.OPEN0 | Flag.OPEN1;
const PORT0 = RecordOffset.tuple + TupleOffset.sport;
const PORT1 = RecordOffset.tuple + TUPLE_SIZE + TupleOffset.dport;
/** A splice whose ends are silent. The real ones are longer: a run is not. */
const TIMEOUT_MS = { established: 40_000, timewait: 3000, close: 2000 };
const ENDINGS = Flag.FIN0 | Flag.FIN1 | Flag.FINACK0 | Flag.FINACK1;
const RING_BATCH = 4096;

export interface Entry {
  readonly key: number;
  readonly slot: number;
  record: RecordView;
  /** A packet has come for it here. */
  proven: boolean;
  /** Of the two legs: the ports that tell one splice of this world from another. */
  readonly tuples: readonly [number, number];
  lastSeen: number;
  timeoutMs: number;
}

export interface KernelOptions {
  readonly node: number;
  readonly incarnation: bigint;
  readonly size: number;
  /** Events that the ring holds. */
  readonly ring: number;
  now(): number;
  /** There is something in the ring. */
  readable(): void;
  /** An entry has got a new version. */
  changed(bytes: Uint8Array): void;
  count(what: string): void;
}

export class Kernel {
  /** For the virtual address, if that is on the machine. It outlives the daemon, as the table does. */
  answers = true;
  readonly entries = new Map<number, Entry>();
  readonly #options: KernelOptions;
  readonly #tuples = new Map<number, number>();
  readonly #slots: (Entry | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #reader = new Reader();
  #ring: { type: number; bytes: Uint8Array }[] = [];
  #lost = 0;
  #nextId = 1;
  #epoch = 1;

  constructor(options: KernelOptions) {
    this.#options = options;
  }

  get epoch(): number {
    return this.#epoch;
  }
  set epoch(epoch: number) {
    this.#epoch = epoch;
  }

  /** All that was lost so far, and what stands in the ring. */
  get ring(): { lost: number; waiting: number } {
    return { lost: this.#lost, waiting: this.#ring.length };
  }

  holder(tuple: number): Entry | undefined {
    const key = this.#tuples.get(tuple);
    return key === undefined ? undefined : this.entries.get(key);
  }

  /** Both sockets are connected. Undefined: an address pair is in use, or the table is full. */
  open(client: number, port: number): Entry | undefined {
    const tuples = legs(client, port);
    for (const tuple of tuples) {
      const there = this.holder(tuple);
      if (!there) continue;
      const yields = isHeld(there) && tuple === client && this.#weaker(there.record);
      if (!finished(there) && !yields) return undefined;
      there.proven = true;
      this.remove(there, true);
    }
    const record = newRecord();
    const id = this.#nextId++;
    record.id = BigInt(id);
    record.incarnation = this.#options.incarnation;
    record.origin = this.#options.node;
    record.owner = this.#options.node;
    record.epoch = this.#epoch;
    record.generation = 1;
    record.flags = OPEN;
    record.setState(0, State.ESTABLISHED);
    record.setState(1, State.ESTABLISHED);
    record.tuple(0).source = '10.1.0.2';
    record.tuple(0).destination = '10.1.0.100';
    record.tuple(1).source = '10.2.0.1';
    record.tuple(1).destination = '10.2.0.254';
    record.tuple(0).sourcePort = client;
    record.tuple(0).destinationPort = 80;
    record.tuple(1).sourcePort = 8080;
    record.tuple(1).destinationPort = port;
    record.setSeqDelta(0, Math.imul(id, 0x9e3779b1) >>> 0);
    record.setSeqDelta(1, Math.imul(id + this.#options.node, 0x85ebca6b) >>> 0);
    return this.#publish(record, tuples, TIMEOUT_MS.established);
  }

  /** Its sockets are gone: it can live elsewhere from now on. */
  spliced(entry: Entry): void {
    if (entry.record.flags & OPEN) this.#change(entry, State.SPLICED, State.SPLICED, 0);
  }

  /** A FIN, or its acknowledgement, has passed. */
  closing(entry: Entry): void {
    const { flags } = entry.record;
    if (flags & OPEN || finished(entry)) return;
    if (!(flags & Flag.FIN0)) this.#change(entry, State.SPLICED, State.FIN_RELAYED, Flag.FIN0);
    else if (!(flags & Flag.FIN1)) {
      this.#change(entry, State.FIN_RELAYED, State.FIN_RELAYED, Flag.FIN1);
    } else {
      this.#change(entry, State.TIMEWAIT, State.TIMEWAIT, Flag.FINACK0 | Flag.FINACK1);
      entry.timeoutMs = TIMEOUT_MS.timewait;
    }
  }

  /** A reset that is believed tears it down at once; the entry goes a little later. */
  reset(entry: Entry): void {
    if (finished(entry)) return;
    const open = entry.record.flags & OPEN;
    if (!isHeld(entry)) entry.record.generation++;
    entry.proven = true;
    entry.record.flags &= ~OPEN;
    entry.record.setState(0, State.CLOSE);
    entry.record.setState(1, State.CLOSE);
    entry.lastSeen = this.#options.now();
    entry.timeoutMs = TIMEOUT_MS.close;
    if (!open) this.#emit(EventType.DESTROY, entry);
  }

  remove(entry: Entry, events: boolean): void {
    const { record, key, slot } = entry;
    this.entries.delete(key);
    for (const tuple of entry.tuples) {
      if (this.#tuples.get(tuple) === key) this.#tuples.delete(tuple);
    }
    this.#slots[slot] = undefined;
    this.#free.push(slot);
    if (!events || record.flags & OPEN || torn(entry)) return;
    if (isHeld(entry) && !entry.proven) return;
    if (!isHeld(entry)) record.generation++;
    this.#emit(EventType.DESTROY, entry);
  }

  /** Results as Table.insert gives them. @param known only what is there already */
  insert(records: Uint8Array, known = false): Uint32Array {
    const results = new Uint32Array(records.length / RECORD_SIZE);
    for (let index = 0; index < results.length; index++) {
      results[index] = this.#insert(
        new RecordView(records.slice(index * RECORD_SIZE, (index + 1) * RECORD_SIZE)),
        known,
      );
    }
    return results;
  }

  /** Out of the table by identity, in silence. @param held only what is held for others */
  delete(records: Uint8Array, held = false): void {
    for (let at = 0; at < records.length; at += RECORD_SIZE) {
      const entry = this.entries.get(this.#reader.load(records, at).key);
      if (entry && (!held || isHeld(entry))) this.remove(entry, false);
    }
  }

  /** Own entries are held for the owners that these records name, and go when nothing comes for so long. */
  demote(records: Uint8Array, purgeMs: number): void {
    for (let at = 0; at < records.length; at += RECORD_SIZE) {
      const entry = this.entries.get(this.#reader.load(records, at).key);
      const { epoch, owner } = new RecordView(records, at);
      if (!entry || entry.record.flags & OPEN) continue;
      if (!isHeld(entry)) {
        const now = entry.record;
        if (now.epoch > epoch || (now.epoch === epoch && now.owner >= owner)) continue;
        now.epoch = epoch;
        now.owner = owner;
        now.generation = 0;
        now.flags |= Flag.STANDBY;
        entry.proven = false;
        this.#options.count('demoted in place');
      }
      const idle = this.#options.now() - entry.lastSeen;
      entry.timeoutMs = Math.min(entry.timeoutMs, idle + purgeMs);
    }
  }

  /** Chunks of the table, each as it is when it is asked for. */
  *dump(): Generator<Uint8Array, void, void> {
    for (let slot = 0; slot < this.#slots.length; ) {
      const chunk = new Uint8Array(BATCH_ITEMS * RECORD_SIZE);
      let at = 0;
      for (; slot < this.#slots.length && at < chunk.length; slot++) {
        const entry = this.#slots[slot];
        if (!entry) continue;
        chunk.set(this.#render(entry), at);
        at += RECORD_SIZE;
      }
      if (at > 0) yield chunk.subarray(0, at);
    }
  }

  /** Entries whose time is up go. */
  sweep(): void {
    const now = this.#options.now();
    for (const entry of this.entries.values()) {
      if (now - entry.lastSeen >= entry.timeoutMs) this.remove(entry, true);
    }
  }

  /** What stands in the ring; losses are told only when all before them has been read. */
  read(told: number): { events: Uint8Array; count: number; lost: number } {
    const batch = this.#ring.splice(0, RING_BATCH);
    const events = new Uint8Array(batch.length * EVENT_SIZE);
    const view = new DataView(events.buffer);
    for (const [index, { type, bytes }] of batch.entries()) {
      view.setUint32(index * EVENT_SIZE + EventOffset.type, type, true);
      events.set(bytes, index * EVENT_SIZE + EventOffset.record);
    }
    return { events, count: batch.length, lost: this.#ring.length > 0 ? 0 : this.#lost - told };
  }

  /** A new reader passes over what nobody has read. */
  watch(): number {
    this.#ring = [];
    return this.#lost;
  }

  #insert(record: RecordView, known: boolean): number {
    if (!valid(record)) return Result.INVALID;
    const key = this.#reader.load(record.bytes, record.offset).key;
    const tuples = tuplesOf(record);
    const same = this.entries.get(key);
    if (!same && known) return Result.NOT_FOUND;
    if (same?.tuples.every((tuple, leg) => tuple === tuples[leg])) {
      if (!beats(record, same.record) || same.record.flags & OPEN) return Result.EXISTS;
      this.#update(same, record);
      return Result.OK;
    }
    for (const tuple of tuples) {
      const there = this.holder(tuple);
      if (!there) continue;
      if (there.key === key) {
        if (!beats(record, there.record)) return Result.EXISTS;
      } else if (!finished(there) && !this.#displaces(record, there)) {
        return Result.TUPLE_TAKEN;
      }
    }
    for (const tuple of tuples) {
      const there = this.holder(tuple);
      if (!there) continue;
      if (there.key !== key) this.#options.count('displaced by a commit');
      // another splice: whoever knows it has to hear of its end
      this.remove(there, there.key !== key);
    }
    const entry = this.#publish(record, tuples, 0);
    if (!entry) return Result.TABLE_FULL;
    entry.lastSeen = this.#options.now() - record.idleMs;
    entry.timeoutMs = given(entry, record);
    return Result.OK;
  }

  /** Somebody with the stronger claim says something of what is there: it changes hands, or its state. */
  #update(entry: Entry, said: RecordView): void {
    const before = entry.record;
    const wasTorn = torn(entry);
    const wasHeld = isHeld(entry);
    const { idleMs: idle } = said;
    const { now } = this.#options;
    const seen = before.flags & ENDINGS & ~said.flags;
    entry.record = said;
    if (!isHeld(entry)) this.#options.changed(said.bytes);
    if (!wasTorn && seen === 0) {
      entry.lastSeen = Math.max(entry.lastSeen, now() - idle);
      entry.timeoutMs = given(entry, said);
      return;
    }
    said.flags |= seen;
    if (wasTorn) for (const leg of [0, 1] as const) said.setState(leg, State.CLOSE);
    else for (const leg of [0, 1] as const) said.setState(leg, before.state(leg));
    entry.timeoutMs = endingTimeout(entry);
    this.#options.count(wasHeld && !isHeld(entry) ? 'ended before the claim' : 'ended before told');
    if (isHeld(entry)) return;
    said.generation++;
    this.#emit(wasTorn ? EventType.DESTROY : EventType.UPDATE, entry);
  }

  /** A claim of this node's, now, is the stronger one. */
  #weaker({ epoch, owner }: RecordView): boolean {
    return this.#epoch !== epoch ? this.#epoch > epoch : this.#options.node > owner;
  }

  /**
   * Between two splices on one address pair: the later one, since the addresses were free when it was
   * born. Of one table that is the higher id, else the one that packets came for last.
   */
  #displaces(record: RecordView, there: Entry): boolean {
    if (there.record.flags & OPEN) return false;
    if (record.flags & Flag.STANDBY && !isHeld(there)) return displaces(record, there.record);
    const { origin, incarnation, id } = there.record;
    if (record.origin === origin && record.incarnation === incarnation) return record.id > id;
    const idle = Math.floor(this.#options.now() - there.lastSeen);
    if (record.idleMs !== idle) return record.idleMs < idle;
    return displaces(record, there.record);
  }

  #publish(
    record: RecordView,
    tuples: readonly [number, number],
    timeoutMs: number,
  ): Entry | undefined {
    if (this.entries.size >= this.#options.size) return undefined;
    const slot = this.#free.pop() ?? this.#slots.length;
    const key = this.#reader.load(record.bytes, record.offset).key;
    const entry: Entry = {
      key,
      slot,
      record,
      proven: false,
      tuples,
      lastSeen: this.#options.now(),
      timeoutMs,
    };
    this.#slots[slot] = entry;
    this.entries.set(key, entry);
    for (const tuple of tuples) this.#tuples.set(tuple, key);
    if (!isHeld(entry)) this.#options.changed(record.bytes);
    return entry;
  }

  #change(entry: Entry, s0: number, s1: number, flags: number): void {
    const { record } = entry;
    const born = (record.flags & OPEN) !== 0;
    const held = isHeld(entry);
    if (!held) record.generation++;
    entry.proven = true;
    record.flags = (record.flags & ~OPEN) | flags;
    record.setState(0, s0);
    record.setState(1, s1);
    entry.lastSeen = this.#options.now();
    if (!held) this.#emit(born ? EventType.NEW : EventType.UPDATE, entry);
  }

  #emit(type: number, entry: Entry): void {
    const bytes = this.#render(entry);
    if (!isHeld(entry)) this.#options.changed(bytes);
    if (this.#ring.length >= this.#options.ring) {
      this.#lost++;
      this.#options.count('events lost');
      return;
    }
    this.#ring.push({ type, bytes });
    this.#options.readable();
  }

  /** A copy, with its times as of now. */
  #render(entry: Entry): Uint8Array {
    const copy = new RecordView(entry.record.slice.slice());
    const idle = Math.max(0, Math.floor(this.#options.now() - entry.lastSeen));
    copy.idleMs = idle;
    copy.remainingMs = Math.min(Math.max(0, entry.timeoutMs - idle), 0xffffffff);
    return copy.bytes;
  }
}

function legs(client: number, port: number): [number, number] {
  return [client, 0x10000 + port];
}

export function tuplesOf({ bytes, offset }: RecordView): [number, number] {
  const at = (port: number) => (bytes[offset + port] << 8) | bytes[offset + port + 1];
  return legs(at(PORT0), at(PORT1));
}

/** Held for another owner. */
export function isHeld({ record }: Pick<Entry, 'record'>): boolean {
  return (record.flags & Flag.STANDBY) !== 0;
}

/** Of what somebody has said. */
function given(entry: Entry, said: RecordView): number {
  if (finished(entry)) return endingTimeout(entry);
  return isHeld(entry)
    ? Number.POSITIVE_INFINITY
    : Math.min(said.idleMs + said.remainingMs, 0xffffffff);
}

function endingTimeout(entry: Entry): number {
  if (torn(entry)) return TIMEOUT_MS.close;
  return finished(entry) ? TIMEOUT_MS.timewait : TIMEOUT_MS.established;
}

function torn({ record }: Entry): boolean {
  const closed = record.state(0) === State.CLOSE && record.state(1) === State.CLOSE;
  return closed && !(record.flags & OPEN);
}

export function finished(entry: Entry): boolean {
  const { record } = entry;
  return torn(entry) || (record.state(0) === State.TIMEWAIT && record.state(1) === State.TIMEWAIT);
}

/** Nobody but this machine can have it yet. */
export function unfinished(entry: Entry): boolean {
  return (entry.record.flags & OPEN) !== 0;
}

function valid(record: RecordView): boolean {
  const state = (leg: 0 | 1) =>
    record.state(leg) >= State.SPLICED && record.state(leg) <= State.TIMEWAIT;
  return record.id !== 0n && state(0) && state(1) && !(record.flags & OPEN);
}

function beats(a: RecordView, b: RecordView): boolean {
  if (a.epoch !== b.epoch) return a.epoch > b.epoch;
  if (a.owner !== b.owner) return a.owner > b.owner;
  return a.generation > b.generation;
}

function displaces(a: RecordView, b: RecordView): boolean {
  if (a.epoch !== b.epoch) return a.epoch > b.epoch;
  if (a.owner !== b.owner) return a.owner > b.owner;
  if (a.incarnation !== b.incarnation) return a.incarnation > b.incarnation;
  return a.id > b.id;
}
