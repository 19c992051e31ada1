// Flows that were asked how they are, and what is still to be done for each: numbers in arrays, since there
// may be thousands, looked at a hundred times a second.
import {
  BATCH_ITEM_SIZE,
  BatchItemOffset,
  LiveOffset,
  RECORD_SIZE,
  RecordOffset,
} from '../kernel/record/layout.js';
import { type Leg, RecordView } from '../kernel/record/record.js';
import type { Table } from '../kernel/table.js';

const State = {
  /** It had data outstanding. */
  OWED: 1,
  /** It was asked a second time. */
  AGAIN: 2,
} as const;

export class Watched {
  /** Their items (struct splice_batch_item), one after the other. */
  private readonly items: Uint8Array;
  private readonly view: DataView;
  /** performance.now(), by flow. */
  private readonly askedAt: Float64Array;
  /** By flow: bits of State. */
  private readonly states: Uint8Array;
  /** By flow and direction: steps that were taken, and when the next one is due. */
  private readonly steps: Uint8Array;
  private readonly dueAt: Float64Array;
  private readonly record: RecordView;
  /** Ids of those that were put in as records. */
  private readonly known = new Set<number>();
  size = 0;
  /** The first ones have been asked. */
  asked = 0;

  constructor(readonly limit: number) {
    this.items = new Uint8Array(limit * BATCH_ITEM_SIZE);
    this.view = new DataView(this.items.buffer);
    this.record = new RecordView(this.items);
    this.askedAt = new Float64Array(limit);
    this.states = new Uint8Array(limit);
    this.steps = new Uint8Array(2 * limit);
    this.dueAt = new Float64Array(2 * limit);
  }

  get room(): number {
    return this.limit - this.size;
  }

  /** As many as there is room for, as the kernel has them; none that was put in as a record. */
  addItems(items: Uint8Array): void {
    for (let at = 0; at < items.length && this.room > 0; at += BATCH_ITEM_SIZE) {
      this.items.set(items.subarray(at, at + BATCH_ITEM_SIZE), this.size * BATCH_ITEM_SIZE);
      if (!this.known.has(this.idOf(this.size))) this.grow(1);
    }
  }

  /** The same of n × RECORD_SIZE bytes; what the kernel knows of them is read now. */
  addRecords(records: Uint8Array, table: Table): void {
    const count = Math.min(this.room, records.length / RECORD_SIZE);
    const first = this.size * BATCH_ITEM_SIZE;
    for (let i = 0; i < count; i++) {
      const at = first + i * BATCH_ITEM_SIZE;
      this.items.set(records.subarray(i * RECORD_SIZE, (i + 1) * RECORD_SIZE), at);
    }
    table.look(this.items.subarray(first, first + count * BATCH_ITEM_SIZE), true);
    for (let i = 0; i < count; i++) this.known.add(this.idOf(this.size + i));
    this.grow(count);
  }

  /** Half of it: two flows of one table that share it were born 2^32 others apart. */
  private idOf(flow: number): number {
    return this.view.getUint32(flow * BATCH_ITEM_SIZE + RecordOffset.id, true);
  }

  private grow(count: number): void {
    this.states.fill(0, this.size, this.size + count);
    this.steps.fill(0, 2 * this.size, 2 * (this.size + count));
    this.dueAt.fill(0, 2 * this.size, 2 * (this.size + count));
    this.size += count;
  }

  /** Results of these flows, the last one excluded, are as of now. */
  look(table: Table, from: number, to: number): void {
    table.look(this.items.subarray(from * BATCH_ITEM_SIZE, to * BATCH_ITEM_SIZE));
  }

  /** The record of a flow: the same view each time. */
  recordOf(flow: number): RecordView {
    this.record.offset = flow * BATCH_ITEM_SIZE;
    return this.record;
  }

  /** Bits of Look. */
  result(flow: number): number {
    return this.view.getUint32(flow * BATCH_ITEM_SIZE + BatchItemOffset.result, true);
  }

  /** The first octet of a direction that its receiver has not acknowledged, in the sender's numbers. */
  firstOwed(flow: number, direction: Leg): number {
    const at = flow * BATCH_ITEM_SIZE + BatchItemOffset.live + LiveOffset.seenAck;
    const acknowledged = this.view.getUint32(at + 4 * (1 - direction), true);
    return (acknowledged - this.recordOf(flow).seqDelta(direction)) >>> 0;
  }

  nextWasAsked(now: number): void {
    this.askedAt[this.asked++] = now;
  }

  sinceAsked(flow: number, now: number): number {
    return now - this.askedAt[flow];
  }

  wasOwed(flow: number): boolean {
    return (this.states[flow] & State.OWED) !== 0;
  }

  isOwed(flow: number): void {
    this.states[flow] |= State.OWED;
  }

  askedAgain(flow: number): boolean {
    return (this.states[flow] & State.AGAIN) !== 0;
  }

  wasAskedAgain(flow: number): void {
    this.states[flow] |= State.AGAIN;
  }

  step(flow: number, direction: Leg): number {
    return this.steps[2 * flow + direction];
  }

  isDue(flow: number, direction: Leg, now: number): boolean {
    return now >= this.dueAt[2 * flow + direction];
  }

  nextStep(flow: number, direction: Leg, dueAt: number): void {
    this.steps[2 * flow + direction]++;
    this.dueAt[2 * flow + direction] = dueAt;
  }

  /** One that was asked is done with: another one takes its number. */
  remove(flow: number): void {
    this.move(--this.asked, flow);
    this.move(--this.size, this.asked);
  }

  private move(from: number, to: number): void {
    if (from === to) return;
    const at = from * BATCH_ITEM_SIZE;
    this.items.copyWithin(to * BATCH_ITEM_SIZE, at, at + BATCH_ITEM_SIZE);
    this.askedAt[to] = this.askedAt[from];
    this.states[to] = this.states[from];
    this.steps.copyWithin(2 * to, 2 * from, 2 * from + 2);
    this.dueAt.copyWithin(2 * to, 2 * from, 2 * from + 2);
  }
}
