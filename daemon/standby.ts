// Entries that are held for their owners. With DisableExternalCache what the peers own stands in this kernel
// as well: what they say of it is gathered, since one call for many records costs little more than one for a
// single one. Without, only what this node has lost to a peer, for a while.
import type { Datapath } from '../kernel/datapath.js';
import { BATCH_ITEMS, Flag, RECORD_SIZE, RecordOffset, Result } from '../kernel/record/layout.js';
import type { SyncEngine } from '../sync/api.js';
import { Breath } from './breath.js';
import type { Log } from './log.js';
import { recordCount } from './records.js';

type Kind = 'put' | 'gone';
type IsLeft = (record: Uint8Array, owner: number) => boolean;

export class Standby {
  readonly counters = {
    standby_put: 0,
    standby_same: 0, // the kernel has it, or something stronger, already
    standby_refused: 0, // table full, or a stronger splice has the addresses
    standby_gone: 0,
    standby_reconciled: 0, // left over from an earlier run, and nobody's any more
  };
  private readonly batch = new Uint8Array(BATCH_ITEMS * RECORD_SIZE);
  private readonly view = new DataView(this.batch.buffer);
  private gathered = 0;
  private kind: Kind = 'put';
  private turn: NodeJS.Immediate | undefined;

  constructor(
    private readonly datapath: Datapath,
    private readonly log: Log,
  ) {}

  /** A peer owns these, as they are now. */
  put(records: Uint8Array): void {
    this.gather('put', records);
  }

  /** No peer owns these any more. */
  gone(records: Uint8Array): void {
    this.gather('gone', records);
  }

  /** These own entries belong to a peer now, by the claims in them; they are changed by this. */
  demote(records: Uint8Array, purgeTimeoutMs: number): void {
    this.flush();
    this.leaveBehind(records, purgeTimeoutMs);
  }

  /** All that was said stands in the kernel when this returns. */
  flush(): void {
    if (this.turn) clearImmediate(this.turn);
    this.turn = undefined;
    if (this.gathered === 0) return;
    const records = this.batch.subarray(0, this.gathered);
    this.gathered = 0;
    const { table } = this.datapath;
    if (this.kind === 'put') this.tally(table.insert(records));
    else this.tallyGone(table.delete(records, { held: true }));
  }

  /** Remove what is held for this peer, of which all is known now, and is not among what it owns. */
  reconcile(sync: SyncEngine, node: number): Promise<void> {
    const isLeft: IsLeft = (record, owner) =>
      owner === node && (sync.external.get(node)?.slotOf(record) ?? -1) < 0;
    return this.removeWhere(isLeft);
  }

  /** The peers' flows are not to be held any more: without packets for so long they go. */
  async leaveAll(purgeTimeoutMs: number): Promise<void> {
    if (this.datapath.counter('standby') + this.datapath.counter('demoted') === 0) return;
    const left = await this.eachHeld(
      () => true,
      (records) => this.leaveBehind(records, purgeTimeoutMs),
    );
    if (left > 0) this.log.info({ left }, 'standby entries of an earlier run go when idle');
  }

  private leaveBehind(records: Uint8Array, purgeTimeoutMs: number): Uint32Array {
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    for (let at = RecordOffset.remainingMs; at < records.length; at += RECORD_SIZE) {
      view.setUint32(at, purgeTimeoutMs, true);
    }
    return this.datapath.table.demote(records);
  }

  private async removeWhere(isLeft: IsLeft): Promise<void> {
    const { table } = this.datapath;
    const removed = await this.eachHeld(isLeft, (left) => table.delete(left, { held: true }));
    this.counters.standby_reconciled += removed;
    if (removed > 0) this.log.info({ removed }, 'standby entries that no peer owns are gone');
  }

  /** Does that to those of the table that are held, and chosen. Returns to how many it was done. */
  private async eachHeld(
    chosen: IsLeft,
    does: (records: Uint8Array) => Uint32Array,
  ): Promise<number> {
    this.flush();
    const breath = new Breath();
    let done = 0;
    for (const chunk of this.datapath.table.dump()) {
      const records = held(chunk, chosen);
      if (records.length > 0) {
        done += does(records).filter((result) => result === Result.OK).length;
      }
      await breath.take();
    }
    return done;
  }

  private gather(kind: Kind, records: Uint8Array): void {
    if (kind !== this.kind) this.flush();
    this.kind = kind;
    for (let from = 0; from < records.length; ) {
      const end = Math.min(records.length, from + this.batch.length - this.gathered);
      this.batch.set(records.subarray(from, end), this.gathered);
      if (kind === 'put') this.mark(this.gathered, this.gathered + end - from);
      this.gathered += end - from;
      from = end;
      if (this.gathered === this.batch.length) this.flush();
    }
    if (this.gathered > 0) this.turn ??= setImmediate(() => this.flush());
  }

  private mark(from: number, to: number): void {
    for (let at = from + RecordOffset.flags; at < to; at += RECORD_SIZE) {
      this.view.setUint16(at, this.view.getUint16(at, true) | Flag.STANDBY, true);
    }
  }

  private tally(results: Uint32Array): void {
    for (const result of results) {
      if (result === Result.OK) this.counters.standby_put++;
      else if (result === Result.EXISTS) this.counters.standby_same++;
      else this.counters.standby_refused++;
    }
  }

  private tallyGone(results: Uint32Array): void {
    for (const result of results) if (result === Result.OK) this.counters.standby_gone++;
  }
}

/** Those of a chunk of the table that are held for another owner, and that are left. */
function held(chunk: Uint8Array, isLeft: IsLeft): Uint8Array {
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  const left: Uint8Array[] = [];
  for (let i = 0; i < recordCount(chunk); i++) {
    const at = i * RECORD_SIZE;
    if (!(view.getUint16(at + RecordOffset.flags, true) & Flag.STANDBY)) continue;
    const record = chunk.subarray(at, at + RECORD_SIZE);
    if (isLeft(record, view.getUint32(at + RecordOffset.owner, true))) left.push(record);
  }
  return Buffer.concat(left);
}
