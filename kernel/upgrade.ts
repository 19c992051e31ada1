/**
 * Other programs, another table size or another record layout in place of what is pinned, while its
 * splices go on.
 *
 *   next         made ready below the pin path: programs, and where the table's own maps cannot be
 *                kept, new ones, into which the entries are copied while the old ones are in use.
 *                Then the old table is frozen for some milliseconds and what has changed is copied.
 *   taking_over  the programs of the interfaces and of the cgroup are exchanged, each in one step. What
 *                packets did to the old table since it was copied is joined to what they have done to
 *                the new one.
 *   taken_over   the pins are moved over the old ones.
 *
 * A process that dies in the first stage has changed nothing; from the second on, the next start
 * carries on to the end.
 */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Btf } from './btf.js';
import { callFailed, KernelError } from './error.js';
import { attachInterface, servedBy } from './interfaces.js';
import { bpf, programsEnded } from './native.js';
import type { ObjectMap, SpliceObject } from './object.js';
import {
  CGROUP_LINKS,
  type CgroupLink,
  linkedCgroup,
  mapInfo,
  mapPin,
  movePins,
  Pins,
  type ProgramName,
  programId,
  removePins,
  STAGES,
  type Stage,
  TABLE_MAPS,
} from './pins.js';
import { Conversion } from './upgrade-convert.js';
import { copyCounters, copyHash, DescribedTable } from './upgrade-table.js';

/** Marks of the entries of a table that has taken over from another. */
const COPIED = 1;
const JOINED = 2;
/** A packet that a program was at work on may stand in the table this long after its time. */
const LATE_NS = 20_000_000n;
/** Rounds of copying before the old table is frozen, until one is as short as this. */
const ROUNDS_MAX = 5;
const SHORT_ROUND_MS = 20;
const BPF_MAP_TYPE_HASH = 1; // linux/bpf.h
const BPF_MAP_TYPE_RINGBUF = 27;
/** Others have their turn after so long. */
const SLICE_MS = 5;

/** How far it has come; for whoever wants to tell. */
export type UpgradeStep =
  | 'prepared'
  | 'copied'
  | 'frozen'
  | 'taking_over'
  | 'switched'
  | 'taken_over'
  | 'done';

export interface UpgradeReport {
  /** The table was copied into new maps; else only the programs were exchanged. */
  migrated: boolean;
  /** Entries copied, those that changed meanwhile more than once. */
  copied: number;
  /** All of it, in milliseconds. */
  totalMs: number;
  /** How long no splice could be made or committed. */
  frozenMs: number;
}

export interface UpgradeOptions {
  pinPath: string;
  /** Interfaces to serve, besides those that are served. */
  interfaces: string[];
  upgradeStep?: ((step: UpgradeStep) => void) | undefined;
  /** What is pinned now is in use; the receiver closes the descriptors. */
  switched?: ((pins: Pins) => void) | undefined;
}

const now = (): bigint => process.hrtime.bigint(); // the clock of bpf_ktime_get_ns
const stagePath = (pinPath: string, stage: Stage): string => join(pinPath, stage);

const isTableMap = (name: string): boolean => (TABLE_MAPS as readonly string[]).includes(name);

function sameTypes(map: ObjectMap, object: SpliceObject, fd: number): boolean {
  const info = mapInfo(fd);
  if (
    info.type !== map.type ||
    info.keySize !== map.keySize ||
    info.valueSize !== map.valueSize ||
    info.flags !== map.flags ||
    // a ring of any size will do: whoever reads it goes on
    (info.maxEntries !== map.maxEntries && map.type !== BPF_MAP_TYPE_RINGBUF)
  ) {
    return false;
  }
  if (!info.btf) return true;
  const btf = Btf.ofKernel(info.btf);
  const same = (here: number, there: number): boolean =>
    !here || !there || object.btf.signature(here) === btf.signature(there);
  return same(map.keyType, info.keyType) && same(map.valueType, info.valueType);
}

function sameCounters(object: SpliceObject, fd: number): boolean {
  const { btf } = mapInfo(fd);
  const before = btf ? Btf.ofKernel(btf).enumeration('splice_counter') : undefined;
  const after = object.btf.enumeration('splice_counter');
  return JSON.stringify([...(before ?? [])]) === JSON.stringify([...(after ?? [])]);
}

/** The maps that this object cannot share with what is pinned. */
export function mapsToReplace(object: SpliceObject, pins: Pins): ObjectMap[] {
  const differs = (map: ObjectMap): boolean => {
    if (!pins.has(mapPin(map.name))) return true;
    const fd = pins.get(mapPin(map.name));
    if (map.name === 'counters' && !sameCounters(object, fd)) return true;
    return !sameTypes(map, object, fd);
  };
  const isTable = (map: ObjectMap): boolean => isTableMap(map.name);
  const anew = object.maps.filter(differs);
  if (!anew.some(isTable)) return anew;
  return object.maps.filter((map) => isTable(map) || anew.includes(map));
}

/** Lets the event loop turn now and then. */
class Turns {
  #since = performance.now();

  async next(): Promise<void> {
    if (performance.now() - this.#since < SLICE_MS) return;
    await turn();
    this.#since = performance.now();
  }
}

async function countEntries(table: DescribedTable): Promise<number> {
  const turns = new Turns();
  let entries = 0;
  for (const found of table.counting()) {
    entries += found;
    await turns.next();
  }
  return entries;
}

/** Entries on their way from one table into another. */
class Copy {
  copied = 0;
  readonly #from: DescribedTable;
  readonly #to: DescribedTable;
  readonly #items: Conversion;

  constructor(from: DescribedTable, to: DescribedTable) {
    this.#from = from;
    this.#to = to;
    this.#items = new Conversion(from.item, to.item);
  }

  /** Step by step. */
  *round(since: bigint, mark: number, joining: boolean): Generator<void> {
    for (const { items, count } of this.#from.changed(since)) {
      if (count) this.#to.adopt(this.#items.array(items, count), count, mark, joining);
      this.copied += count;
      yield;
    }
  }

  /** While the old table is in use. @returns since when it may have changed again */
  async whileInUse(): Promise<bigint> {
    const turns = new Turns();
    let since = 0n;
    for (let i = 0; i < ROUNDS_MAX; i++) {
      const begun = now();
      for (const _ of this.round(since, COPIED, false)) await turns.next();
      since = begun - LATE_NS;
      if (Number(now() - begun) / 1e6 < SHORT_ROUND_MS) break;
    }
    return since;
  }

  /** All at once. */
  recent(since: bigint, mark: number, joining: boolean): void {
    for (const _ of this.round(since, mark, joining));
  }
}

/** What stands in the settings goes on to hold, but for what the new table says of itself. */
function copySettings(from: DescribedTable, to: DescribedTable, object: bigint): void {
  const settings = new Conversion(from.settings, to.settings).array(from.tunables, 1);
  const frozen = to.get('frozen');
  to.tunables.set(settings);
  to.set('frozen', frozen);
  to.set('table_size', BigInt(to.size));
  to.set('object_id', object);
}

/** Maps that are not the table's own, and cannot be shared all the same. */
function copyLasting(anew: ObjectMap[], before: Pins, after: Pins): void {
  for (const { name, type } of anew) {
    const pin = mapPin(name);
    if (isTableMap(name) || !before.has(pin)) continue;
    if (name === 'counters') copyCounters(before.get(pin), after.get(pin));
    else if (type === BPF_MAP_TYPE_HASH) copyHash(before.get(pin), after.get(pin));
  }
}

function enter(pinPath: string, from: Stage, to: Stage): void {
  renameSync(stagePath(pinPath, from), stagePath(pinPath, to));
}

/** Undo what stands ready; the old programs and their table were in use all the time. */
function giveUp(pinPath: string): void {
  removePins(stagePath(pinPath, 'next'));
  const pins = new Pins(pinPath);
  try {
    const table = new DescribedTable(pins);
    table.set('frozen', 0n);
    table.close();
  } finally {
    pins.close();
  }
}

/** The new programs on every interface that is served, and behind the calls of every socket. */
function exchangePrograms(o: UpgradeOptions, before: Pins, after: Pins): void {
  const served = servedBy(programId(before.program('ingress')));
  const programs = { ingress: after.program('ingress'), egress: after.program('egress') };
  for (const name of new Set([...served, ...o.interfaces])) {
    try {
      attachInterface(name, programs);
    } catch (error) {
      // it went meanwhile; whoever serves it again finds the new programs
      if (!(error instanceof KernelError && error.code === 'NO_INTERFACE')) throw error;
    }
  }
  for (const [link, program] of Object.entries(CGROUP_LINKS) as [CgroupLink, ProgramName][]) {
    const error: number = bpf().linkUpdate(before.get(link), after.program(program), null);
    // a link whose cgroup was removed is made anew: see keepCgroup()
    if (error < 0 && linkedCgroup(before.get(link)))
      throw callFailed(`exchanging ${program}`, error);
  }
  programsEnded();
}

/**
 * From the point of no return to the end.
 * @param since when the old table was copied last; 0n: all of it is looked at again
 * @returns when the new table was in use
 */
async function takeOver(o: UpgradeOptions, copy: Copy | undefined, since: bigint): Promise<number> {
  const before = new Pins(o.pinPath);
  const after = new Pins(...STAGES.map((stage) => stagePath(o.pinPath, stage)), o.pinPath);
  const from = new DescribedTable(before);
  const to = new DescribedTable(after);
  let handedOn = false;
  try {
    exchangePrograms(o, before, after);
    const joined = copy ?? new Copy(from, to);
    const migrated = existsSync(join(stagePath(o.pinPath, 'taking_over'), 'entries'));
    if (migrated) joined.recent(since, JOINED, true);
    else to.startSweep();
    to.set('frozen', 0n);
    const switched = performance.now();
    handedOn = o.switched !== undefined;
    o.switched?.(after);
    o.upgradeStep?.('switched');
    if (migrated) {
      const turns = new Turns();
      for (const _ of joined.round(0n, JOINED, true)) await turns.next();
      for (const _ of to.flushLeft(JOINED)) await turns.next();
    }
    enter(o.pinPath, 'taking_over', 'taken_over');
    o.upgradeStep?.('taken_over');
    movePins(stagePath(o.pinPath, 'taken_over'), o.pinPath);
    o.upgradeStep?.('done');
    return switched;
  } finally {
    from.close();
    to.close();
    before.close();
    if (!handedOn) after.close();
  }
}

/**
 * Finish, or undo, what an earlier process was in the middle of.
 * @returns whether there was anything
 */
export async function recover(o: UpgradeOptions): Promise<boolean> {
  const at = (stage: Stage): boolean => existsSync(stagePath(o.pinPath, stage));
  if (!STAGES.some(at)) return false;
  if (at('next')) giveUp(o.pinPath);
  if (at('taking_over')) await takeOver(o, undefined, 0n);
  if (at('taken_over')) movePins(stagePath(o.pinPath, 'taken_over'), o.pinPath);
  return true;
}

/**
 * Let the object take over from what is pinned.
 * @throws KernelError TABLE_TOO_SMALL, TABLE_TOO_LARGE, OBJECT_REFUSED, LAYOUT_CHANGED; then all is as it was
 */
export async function upgrade(object: SpliceObject, o: UpgradeOptions): Promise<UpgradeReport> {
  const begun = performance.now();
  const next = stagePath(o.pinPath, 'next');
  const before = new Pins(o.pinPath);
  const after = new Pins(...STAGES.map((stage) => stagePath(o.pinPath, stage)), o.pinPath);
  let from: DescribedTable | undefined;
  let to: DescribedTable | undefined;
  try {
    from = new DescribedTable(before);
    if (object.tableSize < from.size && (await countEntries(from)) > object.tableSize) {
      throw new KernelError(
        'TABLE_TOO_SMALL',
        `more than ${object.tableSize} splices are in the table; raise TableSize`,
      );
    }
    mkdirSync(next, { mode: 0o700 });
    let copy: Copy | undefined;
    let since = 0n;
    let frozen = performance.now();
    try {
      const anew = mapsToReplace(object, before);
      for (const map of object.maps) {
        if (!anew.includes(map)) object.reuse(map, before.get(mapPin(map.name)));
      }
      await object.load();
      object.pin(next, anew);
      to = new DescribedTable(after);
      const migrated = anew.some((map) => map.name === 'entries');
      if (migrated) {
        to.set('table_size', BigInt(to.size));
        to.set('frozen', 1n);
        to.initialise();
        copySettings(from, to, object.id);
      }
      o.upgradeStep?.('prepared');
      if (migrated) {
        copy = new Copy(from, to);
        since = await copy.whileInUse();
        o.upgradeStep?.('copied');
        frozen = performance.now();
        from.set('frozen', 1n);
        programsEnded();
        const lastRound = now();
        copy.recent(since, COPIED, false);
        since = lastRound - LATE_NS;
        copySettings(from, to, object.id);
      } else {
        from.set('object_id', 0n); // no object's, until this one's programs are all in place
      }
      copyLasting(anew, before, after);
      o.upgradeStep?.('frozen');
      enter(o.pinPath, 'next', 'taking_over');
    } catch (error) {
      giveUp(o.pinPath);
      throw error;
    }
    o.upgradeStep?.('taking_over');
    const switched = await takeOver(o, copy, since);
    to.set('object_id', object.id);
    return {
      migrated: copy !== undefined,
      copied: copy?.copied ?? 0,
      totalMs: performance.now() - begun,
      frozenMs: copy ? switched - frozen : 0,
    };
  } finally {
    from?.close();
    to?.close();
    before.close();
    after.close();
  }
}
