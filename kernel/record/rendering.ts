/** What the renderings of a record have in common. */
import type { Counters } from './counted.js';
import { Flag } from './layout.js';
import type { Page } from './page.js';
import { type Leg, type RecordView, stateName } from './record.js';

/** Names that stand for node ids. They may come from peers, so each rendering escapes them. */
export type NodeNames = ReadonlyMap<number, string>;

export interface Rendering {
  /** @param counted the records come with their counters */
  head(counted: boolean): string;
  /** Writes one record, with its line end. */
  record(page: Page, record: RecordView, names: NodeNames, counters?: Counters): void;
  readonly tail: string;
}

/** A node's name, or its id as the kernel's own text shows it. */
export function nodeName(id: number, names: NodeNames): string {
  return names.get(id) || id.toString(16).padStart(8, '0');
}

/** One state for a splice: the one of the leg that is less far. */
export function overallState(record: RecordView): string {
  return stateName(Math.min(record.state(0), record.state(1)));
}

export function legState(record: RecordView, leg: Leg): string {
  return stateName(record.state(leg));
}

/** Whole seconds until expiry. */
export function expires(record: RecordView): number {
  return Math.floor(record.remainingMs / 1000);
}

const FLAGS = Object.entries(Flag);
const KNOWN = FLAGS.reduce((all, [, bit]) => all | bit, 0);
/** By value: the lists are few, and making one for each record took a fifth of a dump's time. */
const FLAG_NAMES = new Map<number, readonly string[]>();

export function flagNames(record: RecordView): readonly string[] {
  const flags = record.flags & KNOWN;
  let names = FLAG_NAMES.get(flags);
  if (!names) {
    names = FLAGS.filter(([, bit]) => flags & bit).map(([name]) => name);
    FLAG_NAMES.set(flags, names);
  }
  return names;
}
