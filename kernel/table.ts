/** The splice table in bulk: work is put into the mailbox and done by the table_op program. */
import { Batch, PACKET_SIZE, unknownRequest } from './batch.js';
import { type Inserted, Insertion } from './insertion.js';
import { libc, mapShared, memory, type Pointer, Protection } from './native.js';
import { runProgram } from './program.js';
import { COUNTED_SIZE, writeCounted } from './record/counted.js';
import {
  BATCH_ITEM_SIZE,
  BATCH_ITEMS,
  BATCHES,
  BatchItemOffset,
  Flag,
  LIVE_SIZE,
  LiveOffset,
  MailboxOffset,
  Operation,
  OperationFlag,
  RECORD_SIZE,
  RecordOffset,
} from './record/layout.js';
import { RecordView } from './record/record.js';

const PAGE = 4096;

/** The value of a one-element array, mapped. */
export class MappedArray {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #pointer: Pointer;
  readonly #length: number;

  constructor(fd: number, size: number) {
    this.#length = Math.ceil(size / PAGE) * PAGE;
    this.#pointer = mapShared(fd, this.#length, Protection.READ_WRITE);
    const shared = memory(this.#pointer, this.#length);
    this.bytes = new Uint8Array(shared, 0, size);
    this.view = new DataView(shared, 0, size);
  }

  /** What was got from it must not be used any more. */
  close(): void {
    libc.munmap(this.#pointer, this.#length);
  }
}

/** A splice, and what only the kernel that owns it knows of it. */
export interface Entry {
  /** A copy: it stays as it is. */
  record: RecordView;
  /** Translated, by direction: from the client to the server, and back. */
  packets: [number, number];
  /** TCP payload in them. */
  bytes: [number, number];
  /** Times that its ends have been asked since the last packet, by unproven(). */
  probes: number;
}

export class Table {
  #size = 0;
  #program = -1;
  #bytes: Uint8Array = new Uint8Array();
  #view: DataView = new DataView(new ArrayBuffer(0));
  #round = 0;
  #batches: Batch[] = [];
  readonly #packet = Buffer.alloc(PACKET_SIZE);

  /** Work on this table from now on; a walk that is under way begins anew. */
  use(size: number, program: number, mailbox: MappedArray, batches: MappedArray): void {
    this.#size = size;
    this.#program = program;
    this.#batches = Array.from({ length: BATCHES }, (_, i) => new Batch(batches.bytes, i));
    this.#bytes = mailbox.bytes;
    this.#view = mailbox.view;
    this.#round++;
  }

  /** Splices that fit. */
  get size(): number {
    return this.#size;
  }

  #set(field: number, value: number): void {
    this.#view.setUint32(field, value, true);
  }

  #get(field: number): number {
    return this.#view.getUint32(field, true);
  }

  #run(operation: number, flags = 0, argument = 0): void {
    this.#set(MailboxOffset.op, operation);
    this.#set(MailboxOffset.flags, flags);
    this.#set(MailboxOffset.argument, argument);
    if (runProgram(this.#program, this.#packet).verdict !== 0) throw unknownRequest();
  }

  /** Run an operation that walks the table, chunk by chunk; yields how many each chunk found. */
  *#walk(operation: number, flags = 0, argument = 0): Generator<number> {
    let cursor = 0;
    let round = this.#round;
    do {
      if (round !== this.#round) cursor = 0;
      round = this.#round;
      this.#set(MailboxOffset.cursor, cursor);
      this.#run(operation, flags, argument);
      cursor = this.#get(MailboxOffset.cursor);
      yield this.#get(MailboxOffset.count);
    } while (cursor !== 0 || round !== this.#round);
  }

  #item(index: number): number {
    return MailboxOffset.items + index * BATCH_ITEM_SIZE;
  }

  #eachBatch(operation: number, records: Uint8Array, flags: number): Uint32Array {
    if (records.length % RECORD_SIZE !== 0) {
      throw new RangeError(`${records.length} bytes are no whole number of records`);
    }
    const results = new Uint32Array(records.length / RECORD_SIZE);
    const [batch] = this.#batches;
    for (let first = 0; first < results.length; first += BATCH_ITEMS) {
      const end = Math.min(first + BATCH_ITEMS, results.length) * RECORD_SIZE;
      batch.fill(operation, flags, records.subarray(first * RECORD_SIZE, end));
      batch.run(this.#program);
      results.set(batch.results, first);
    }
    return results;
  }

  /** List the free slots of a new table and start the sweep. */
  initialise(): void {
    for (const _ of this.#walk(Operation.INIT));
  }

  /**
   * Put n records of RECORD_SIZE bytes into the table; their times are stamped by this kernel's own
   * clock. A record gives way, or makes others give way: of one splice by (epoch, owner), of two splices of
   * one address pair the later one stays. One with Flag.STANDBY is held for its owner: translated, in silence,
   * until it is deleted or a stronger claim takes its place. What is in the table changes its owner where it
   * stands, and is not missing for a moment.
   * @param options known: only where the splice is in the table already, else NOT_FOUND
   * @returns one Result per record
   */
  insert(records: Uint8Array, options: { events?: boolean; known?: boolean } = {}): Uint32Array {
    const flags =
      (options.events ? OperationFlag.EVENTS : 0) | (options.known ? OperationFlag.HELD : 0);
    return this.#eachBatch(Operation.INSERT, records, flags);
  }

  /**
   * The same for chunk after chunk, beside the work of their source. Nothing else may be inserted or deleted
   * while something is under way.
   */
  insertion(inserted: Inserted, options: { known?: boolean } = {}): Insertion {
    const flags = options.known ? OperationFlag.HELD : 0;
    const start = (batch: Batch, records: Uint8Array, beside: boolean): void => {
      batch.fill(Operation.INSERT, flags, records);
      if (beside) batch.runBeside(this.#program);
      else batch.run(this.#program);
    };
    return new Insertion(this.#batches, start, inserted);
  }

  /**
   * Remove the splices that these records identify.
   * @param options held: only those that are held for another owner
   * @returns one Result per record
   */
  delete(records: Uint8Array, options: { events?: boolean; held?: boolean } = {}): Uint32Array {
    const flags =
      (options.events ? OperationFlag.EVENTS : 0) | (options.held ? OperationFlag.HELD : 0);
    return this.#eachBatch(Operation.DELETE, records, flags);
  }

  /**
   * The splices that these records identify belong to others now, by the claim (epoch, owner) of each record:
   * they become standby entries where they stand. Without a packet for remaining_ms they go, unless their
   * owner or a commit says otherwise; standby entries are given no more time than that by it.
   * @returns one Result per record
   */
  demote(records: Uint8Array): Uint32Array {
    return this.#eachBatch(Operation.DEMOTE, records, 0);
  }

  /** Another node has these splices: commits that wait for it go on. @returns one Result per record */
  confirm(records: Uint8Array): Uint32Array {
    return this.#eachBatch(Operation.CONFIRM, records, 0);
  }

  /**
   * All entries, in chunks of n × RECORD_SIZE bytes; those in motion may be missed or seen twice.
   * @param options announced: as their events had them, whether or not a commit still waits; reused: each
   *   chunk is good until the next one only, and costs no memory
   */
  *dump(options: { announced?: boolean; reused?: boolean } = {}): Generator<Uint8Array> {
    const flags = options.announced ? OperationFlag.ANNOUNCED : 0;
    const kept = options.reused ? new Uint8Array(BATCH_ITEMS * RECORD_SIZE) : undefined;
    for (const found of this.#walk(Operation.DUMP, flags)) {
      if (!found) continue;
      const chunk = kept?.subarray(0, found * RECORD_SIZE) ?? new Uint8Array(found * RECORD_SIZE);
      for (let i = 0; i < found; i++) {
        const at = this.#item(i);
        chunk.set(this.#bytes.subarray(at, at + RECORD_SIZE), i * RECORD_SIZE);
      }
      yield chunk;
    }
  }

  #entries(found: number): Entry[] {
    return Array.from({ length: found }, (_, i) => {
      const at = this.#item(i);
      const live = at + BatchItemOffset.live;
      const number = (field: number) => Number(this.#view.getBigUint64(live + field, true));
      return {
        record: new RecordView(this.#bytes.slice(at, at + RECORD_SIZE)),
        packets: [number(LiveOffset.packets), number(LiveOffset.packets + 8)],
        bytes: [number(LiveOffset.bytes), number(LiveOffset.bytes + 8)],
        probes: this.#bytes[live + LiveOffset.probes],
      };
    });
  }

  /** All entries as counted records (record/counted.ts), in chunks of n × COUNTED_SIZE bytes. */
  *dumpCounted(): Generator<Uint8Array> {
    for (const found of this.#walk(Operation.DUMP)) {
      if (!found) continue;
      const chunk = new Uint8Array(found * COUNTED_SIZE);
      for (let i = 0; i < found; i++) {
        const live = this.#item(i) + BatchItemOffset.live;
        const record = this.#bytes.subarray(this.#item(i), live);
        writeCounted(record, this.#bytes.subarray(live, live + LIVE_SIZE), chunk, i * COUNTED_SIZE);
      }
      yield chunk;
    }
  }

  /** All entries with their counters, some hundred at a time; see dump(). */
  *dumpEntries(): Generator<Entry[]> {
    for (const found of this.#walk(Operation.DUMP)) if (found) yield this.#entries(found);
  }

  /**
   * The live entries that were put in and that no packet has come for since, idle for idleMs at least,
   * some hundred at a time. The caller asks the ends of each whether they live; it is counted as asked.
   * One that was asked PROBES_MAX times before is not named again but removed (DESTROY).
   */
  *unproven(idleMs: number): Generator<Entry[]> {
    for (const found of this.#walk(Operation.PROBE, 0, idleMs)) {
      if (found) yield this.#entries(found);
    }
  }

  /**
   * Flows of this node with data outstanding whose last packet is no older than recentMs: their items
   * (struct splice_batch_item), in chunks that are good until the next one. A step may find none.
   */
  *busy(recentMs: number): Generator<Uint8Array> {
    for (const found of this.#walk(Operation.BUSY, 0, recentMs)) yield this.#items(found);
  }

  /** Likewise the flows of which an end may wait for its timer: nothing that it sent has passed here. */
  *stalled(): Generator<Uint8Array> {
    for (const found of this.#walk(Operation.PROBE, OperationFlag.STALLED))
      yield this.#items(found);
  }

  /**
   * What has come of flows since their items were taken: the result of each item then has bits of Look.
   * @param items n × BATCH_ITEM_SIZE bytes, of which the records are looked at, and changed in place
   * @param first take their live parts now, to be compared with later
   */
  look(items: Uint8Array, first = false): void {
    const most = BATCH_ITEMS * BATCH_ITEM_SIZE;
    for (let at = 0; at < items.length; at += most) {
      const some = items.subarray(at, at + most);
      this.#bytes.set(some, MailboxOffset.items);
      this.#set(MailboxOffset.count, some.length / BATCH_ITEM_SIZE);
      this.#run(Operation.LOOK, 0, first ? 1 : 0);
      some.set(this.#bytes.subarray(MailboxOffset.items, MailboxOffset.items + some.length));
    }
  }

  #items(found: number): Uint8Array {
    return this.#bytes.subarray(this.#item(0), this.#item(found));
  }

  /** Remove all entries, or those of one owner. @returns how many */
  flush(options: { events?: boolean; owner?: number } = {}): number {
    return sum(this.flushing(options));
  }

  /** The same in steps, each with its count, so that a caller can let others have their turn. */
  flushing(options: { events?: boolean; owner?: number } = {}): Generator<number> {
    const flags =
      (options.events ? OperationFlag.EVENTS : 0) |
      (options.owner === undefined ? 0 : OperationFlag.OWNED);
    return this.#walk(Operation.FLUSH, flags, options.owner ?? 0);
  }

  /** Let entries that would live longer expire after ms without traffic. @returns how many */
  shorten(ms: number): number {
    return sum(this.shortening(ms));
  }

  /** The same in steps, each with its count. */
  shortening(ms: number): Generator<number> {
    return this.#walk(Operation.SHORTEN, 0, ms);
  }

  /** Entries in the table now. */
  live(): number {
    return sum(this.#walk(Operation.DUMP));
  }

  /** The same in steps: how many entries each has found, and how many of them are held for other owners. */
  *counting(): Generator<{ live: number; held: number }> {
    for (const live of this.#walk(Operation.DUMP)) {
      let held = 0;
      for (let i = 0; i < live; i++) {
        const flags = this.#view.getUint16(this.#item(i) + RecordOffset.flags, true);
        if (flags & Flag.STANDBY) held++;
      }
      yield { live, held };
    }
  }
}

function sum(counts: Iterable<number>): number {
  let total = 0;
  for (const count of counts) total += count;
  return total;
}
