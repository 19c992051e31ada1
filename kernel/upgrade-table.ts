/**
 * A table of any version that this one can copy: structures, mailbox and settings are read as the types
 * say that its maps carry.
 */
import { Btf, type Field, type Layout } from './btf.js';
import { KernelError } from './error.js';
import { bpf } from './native.js';
import { mapInfo, type Pins } from './pins.js';
import { runProgram } from './program.js';
import { Operation, OperationFlag, Result } from './record/layout.js';
import { MappedArray } from './table.js';
import { Conversion } from './upgrade-convert.js';

const PACKET = Buffer.alloc(64);
const FIELDS = ['op', 'flags', 'count', 'cursor', 'argument', 'since_ns'] as const;
type MailboxField = (typeof FIELDS)[number];

function unreadable(): KernelError {
  return new KernelError(
    'LAYOUT_CHANGED',
    'the pinned table is of a version that cannot be copied; remove the directory that PinPath names ' +
      '(its splices end) and start again',
  );
}

/** One number inside bytes, by its field. */
function getNumber(bytes: Uint8Array, field: Field): bigint {
  let value = 0n;
  for (let i = field.size - 1; i >= 0; i--) {
    value = (value << 8n) | BigInt(bytes[field.offset + i]);
  }
  return value;
}

function setNumber(bytes: Uint8Array, field: Field, value: bigint): void {
  for (let i = 0; i < field.size; i++) {
    bytes[field.offset + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
}

export class DescribedTable {
  /** Splices that fit. */
  readonly size: number;
  readonly item: Layout;
  readonly settings: Layout;
  readonly #program: number;
  readonly #mailbox: MappedArray;
  readonly #tunables: MappedArray;
  readonly #fields: Record<MailboxField, Field>;
  readonly #items: number;
  readonly #batch: number;
  readonly #result: number;

  /** @throws KernelError LAYOUT_CHANGED when too little is known about it */
  constructor(pins: Pins) {
    this.size = mapInfo(pins.map('entries')).maxEntries;
    this.#program = pins.program('table_op');
    const mailbox = mapInfo(pins.map('mailbox'));
    const tunables = mapInfo(pins.map('tunables'));
    if (!mailbox.btf || !tunables.btf) throw unreadable();
    const btf = Btf.ofKernel(mailbox.btf);
    const items = btf.member(mailbox.valueType, 'items');
    const item = items && btf.elementOf(items.type);
    if (!items || item === undefined) throw unreadable();
    this.item = btf.layout(item);
    this.settings = Btf.ofKernel(tunables.btf).layout(tunables.valueType);
    this.#items = items.offset;
    this.#batch = Math.floor((mailbox.valueSize - items.offset) / this.item.size);
    this.#fields = Object.fromEntries(
      FIELDS.map((name) => {
        const offset = btf.member(mailbox.valueType, name)?.offset;
        if (offset === undefined) throw unreadable();
        return [name, { offset, size: name === 'since_ns' ? 8 : 4 }];
      }),
    ) as Record<MailboxField, Field>;
    const result = this.item.fields.get('result');
    if (!result || !this.item.fields.has('live.mark') || !this.settings.fields.has('frozen')) {
      throw unreadable();
    }
    this.#result = result.offset;
    this.#mailbox = new MappedArray(pins.map('mailbox'), mailbox.valueSize);
    this.#tunables = new MappedArray(pins.map('tunables'), tunables.valueSize);
  }

  /** The settings as they lie in memory. */
  get tunables(): Uint8Array {
    return this.#tunables.bytes;
  }

  #setting(name: string): Field {
    const field = this.settings.fields.get(name);
    if (!field) throw new RangeError(`the splice table has no setting ${name}`);
    return field;
  }

  get(name: string): bigint {
    return getNumber(this.tunables, this.#setting(name));
  }

  set(name: string, value: bigint): void {
    setNumber(this.tunables, this.#setting(name), value);
  }

  #get(field: MailboxField): number {
    return this.#mailbox.view.getUint32(this.#fields[field].offset, true);
  }

  #put(field: MailboxField, value: number): void {
    this.#mailbox.view.setUint32(this.#fields[field].offset, value, true);
  }

  #run(op: number, flags = 0, argument = 0): void {
    this.#put('op', op);
    this.#put('flags', flags);
    this.#put('argument', argument);
    const { verdict } = runProgram(this.#program, PACKET);
    if (verdict !== 0) throw new RangeError('the splice table did not know the request');
  }

  /** Yields how many entries each step found. */
  *#walk(op: number, flags = 0, argument = 0, first = 0, since = 0n): Generator<number> {
    let cursor = first;
    do {
      this.#put('cursor', cursor);
      this.#mailbox.view.setBigUint64(this.#fields.since_ns.offset, since, true);
      this.#run(op, flags, argument);
      cursor = this.#get('cursor');
      yield this.#get('count');
    } while (cursor !== 0);
  }

  /** List the free slots of a new table and start its sweep. */
  initialise(): void {
    for (const _ of this.#walk(Operation.INIT));
  }

  /** Let the timer go on with the sweep of the program that serves this table now. */
  startSweep(): void {
    for (const _ of this.#walk(Operation.INIT, 0, 0, this.size));
  }

  /** Entries in it, step by step. */
  counting(): Generator<number> {
    return this.#walk(Operation.DUMP);
  }

  /**
   * Entries that had a packet at since or later or have changed without one since they were last
   * asked for; all of them when since is 0. What is yielded is overwritten by the next step.
   */
  *changed(since: bigint): Generator<{ items: Uint8Array; count: number }> {
    for (const count of this.#walk(Operation.DUMP, OperationFlag.RECENT, 0, 0, since)) {
      const end = this.#items + count * this.item.size;
      yield { items: this.#mailbox.bytes.subarray(this.#items, end), count };
    }
  }

  /**
   * Take over entries, in this table's own layout.
   * @param join this table is in use: see SPLICE_OP_JOIN
   * @throws KernelError TABLE_TOO_SMALL
   */
  adopt(items: Uint8Array, count: number, mark: number, join: boolean): void {
    const { size } = this.item;
    for (let first = 0; first < count; first += this.#batch) {
      const n = Math.min(this.#batch, count - first);
      this.#mailbox.bytes.set(items.subarray(first * size, (first + n) * size), this.#items);
      this.#put('count', n);
      this.#run(Operation.ADOPT, join ? OperationFlag.JOIN : 0, mark);
      for (let i = 0; i < n; i++) {
        const at = this.#items + i * size + this.#result;
        if (this.#mailbox.view.getUint32(at, true) !== Result.TABLE_FULL) continue;
        throw new KernelError(
          'TABLE_TOO_SMALL',
          `the splices in the table do not fit into one of ${this.size}; raise TableSize`,
        );
      }
    }
  }

  /** Remove what was copied and has not been seen again under this mark. */
  flushLeft(mark: number): Generator<number> {
    return this.#walk(Operation.FLUSH, OperationFlag.LEFT, mark);
  }

  close(): void {
    this.#mailbox.close();
    this.#tunables.close();
  }
}

/** Counters of another version, by name, into those of this one. */
export function copyCounters(from: number, to: number): void {
  const cpus: number = bpf().possibleCpus();
  const namesOf = (fd: number): Map<string, number> | undefined => {
    const { btf } = mapInfo(fd);
    return btf ? Btf.ofKernel(btf).enumeration('splice_counter') : undefined;
  };
  const [before, after] = [namesOf(from), namesOf(to)];
  if (!before || !after) return;
  const key = Buffer.alloc(4);
  const values = Buffer.alloc(8 * cpus);
  for (const [name, index] of after) {
    const old = before.get(name);
    if (old === undefined) continue;
    key.writeUInt32LE(old);
    if (bpf().mapLookup(from, key, values)) continue; // SPLICE_CNT_COUNT is none
    key.writeUInt32LE(index);
    bpf().mapUpdate(to, key, values, 0);
  }
}

/** What stands in a hash of another version, into that of this one. */
export function copyHash(from: number, to: number): void {
  const [old, anew] = [mapInfo(from), mapInfo(to)];
  if (!old.btf || !anew.btf) return;
  const [before, after] = [Btf.ofKernel(old.btf), Btf.ofKernel(anew.btf)];
  const keys = new Conversion(before.layout(old.keyType), after.layout(anew.keyType));
  const values = new Conversion(before.layout(old.valueType), after.layout(anew.valueType));
  const key = Buffer.alloc(old.keySize);
  const value = Buffer.alloc(old.valueSize);
  for (let previous: Buffer | null = null; bpf().mapNextKey(from, previous, key) === 0; ) {
    previous = Buffer.from(key);
    if (bpf().mapLookup(from, key, value)) continue;
    bpf().mapUpdate(to, Buffer.from(keys.array(key, 1)), Buffer.from(values.array(value, 1)), 0);
  }
}
