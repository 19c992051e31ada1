// SPDX-License-Identifier: MIT
/** An entry of the table as a plain object: struct splice_entry of record.h, read and written. */
import {
  ENTRY_SIZE,
  EntryOffset,
  Flag,
  LiveOffset,
  Option,
  RecordOffset,
  State,
  type StateName,
  TupleOffset,
} from '../../../kernel/record/layout.js';
import type { Address } from './packet.js';

export type Leg = 0 | 1;
/** By leg, or by direction: a packet of direction d comes in on leg d. */
export type Pair<T> = [T, T];
export const other = (leg: Leg): Leg => (leg === 0 ? 1 : 0);

/** Addresses and ports of a leg, as on packets that come in from its far end. */
export interface Tuple {
  far: Address;
  near: Address;
  farPort: number;
  nearPort: number;
}

export interface Entry {
  id: bigint;
  generation: number;
  state: Pair<StateName>;
  /** By direction: its FIN has been seen, and acknowledged by the receiver. */
  fin: Pair<boolean>;
  finAcked: Pair<boolean>;
  /** By leg: its far end has acknowledged all that the proxy wrote; its local socket is open. */
  acked: Pair<boolean>;
  open: Pair<boolean>;
  /** By leg: it waits until another node has the splice. */
  deferred: Pair<boolean>;
  standby: boolean;
  tuple: Pair<Tuple>;
  /** By direction: what is added to sequence numbers, and to timestamps. */
  seqDelta: Pair<number>;
  tsvalDelta: Pair<number>;
  /** By leg: first sequence number of its far end that is spliced. */
  base: Pair<number>;
  /** By leg: shift of the windows that its far end advertises, and of those that it receives. */
  wscaleIn: Pair<number>;
  wscaleOut: Pair<number>;
  mss: Pair<number>;
  timestamps: Pair<boolean>;
  sack: Pair<boolean>;
  ecn: Pair<boolean>;

  lastSeenNs: bigint;
  timeoutMs: number;
  shortened: boolean;
  /** By leg: the local socket has had its last acknowledgement. */
  copied: Pair<boolean>;
  settled: number;
  /** By leg: the proxy's own data end here; the local socket expects this sequence number next. */
  ownEnd: Pair<number>;
  localNext: Pair<number>;
  /** By direction, from the sender: valid, highest end forwarded, highest acknowledgement, window. */
  seen: Pair<boolean>;
  seenEnd: Pair<number>;
  seenAck: Pair<number>;
  seenWindow: Pair<number>;
  /** By direction: sequence number behind the FIN, where known. */
  finKnown: Pair<boolean>;
  finEnd: Pair<number>;
  /** By leg: newest timestamp that left on it. */
  tsSent: Pair<number>;
  /** Put in by user space, and no packet has come since. */
  unproven: number;
  probes: number;
  mark: number;
  /** Not as it was when it was last copied, and not because packets were counted only. */
  changed: boolean;
  packets: Pair<bigint>;
  bytes: Pair<bigint>;
}

const STATES = Object.keys(State) as StateName[];
const at = (field: keyof typeof LiveOffset): number => EntryOffset.live + LiveOffset[field];

const bits = (value: number, first: number): Pair<boolean> => [
  (value & first) !== 0,
  (value & (first << 1)) !== 0,
];
const fromBits = (pair: Pair<boolean>, first: number): number =>
  (pair[0] ? first : 0) | (pair[1] ? first << 1 : 0);

export function decodeEntry(b: Buffer): Entry {
  const u8s = (offset: number): Pair<number> => [b[offset], b[offset + 1]];
  const u16s = (offset: number): Pair<number> => [
    b.readUInt16LE(offset),
    b.readUInt16LE(offset + 2),
  ];
  const u32s = (offset: number): Pair<number> => [
    b.readUInt32LE(offset),
    b.readUInt32LE(offset + 4),
  ];
  const u64s = (offset: number): Pair<bigint> => [
    b.readBigUInt64LE(offset),
    b.readBigUInt64LE(offset + 8),
  ];
  const flags = b.readUInt16LE(RecordOffset.flags);
  const options = b[RecordOffset.options];
  const state = u8s(RecordOffset.state);
  const seen = u8s(at('seen'));
  return {
    id: b.readBigUInt64LE(RecordOffset.id),
    generation: b.readUInt32LE(RecordOffset.generation),
    state: [STATES[state[0]], STATES[state[1]]],
    fin: bits(flags, Flag.FIN0),
    finAcked: bits(flags, Flag.FINACK0),
    acked: bits(flags, Flag.ACKED0),
    open: bits(flags, Flag.OPEN0),
    deferred: bits(flags, Flag.DEFER0),
    standby: (flags & Flag.STANDBY) !== 0,
    tuple: [decodeTuple(b, RecordOffset.tuple), decodeTuple(b, RecordOffset.tuple + 36)],
    seqDelta: u32s(RecordOffset.seqD),
    tsvalDelta: u32s(RecordOffset.tsvalD),
    base: u32s(RecordOffset.base),
    wscaleIn: u8s(RecordOffset.wscaleIn),
    wscaleOut: u8s(RecordOffset.wscaleOut),
    mss: u16s(RecordOffset.mss),
    timestamps: bits(options, Option.TS0),
    sack: bits(options, Option.SACK0),
    ecn: bits(options, Option.ECN0),
    lastSeenNs: b.readBigUInt64LE(at('lastSeenNs')),
    timeoutMs: b.readUInt32LE(at('timeoutMs')),
    shortened: b[at('shortened')] !== 0,
    copied: bits(b[at('copied')], 1),
    settled: b[at('settled')],
    ownEnd: u32s(at('ownEnd')),
    localNext: u32s(at('localNext')),
    seen: [seen[0] !== 0, seen[1] !== 0],
    seenEnd: u32s(at('seenEnd')),
    seenAck: u32s(at('seenAck')),
    seenWindow: u32s(at('seenWindow')),
    finKnown: bits(b[at('finKnown')], 1),
    finEnd: u32s(at('finEnd')),
    tsSent: u32s(at('tsSent')),
    unproven: b[at('unproven')],
    probes: b[at('probes')],
    mark: b[at('mark')],
    changed: b[at('changed')] !== 0,
    packets: u64s(at('packets')),
    bytes: u64s(at('bytes')),
  };
}

function decodeTuple(b: Buffer, start: number): Tuple {
  return {
    far: b.toString('hex', start + TupleOffset.saddr, start + TupleOffset.saddr + 16),
    near: b.toString('hex', start + TupleOffset.daddr, start + TupleOffset.daddr + 16),
    farPort: b.readUInt16BE(start + TupleOffset.sport),
    nearPort: b.readUInt16BE(start + TupleOffset.dport),
  };
}

/** Writes all fields but the tuples over the bytes of an entry that is in the table already. */
export function encodeEntry(e: Entry, b: Buffer): void {
  if (b.length !== ENTRY_SIZE) throw new RangeError(`${b.length} bytes are no entry`);
  const pair = <T>(
    values: Pair<T>,
    offset: number,
    size: number,
    write: (value: T, offset: number) => void,
  ) => {
    write(values[0], offset);
    write(values[1], offset + size);
  };
  const u8 = (value: number, offset: number) => void b.writeUInt8(value, offset);
  const u16 = (value: number, offset: number) => void b.writeUInt16LE(value, offset);
  const u32 = (value: number, offset: number) => void b.writeUInt32LE(value, offset);
  const u64 = (value: bigint, offset: number) => void b.writeBigUInt64LE(value, offset);
  const flags =
    fromBits(e.fin, Flag.FIN0) |
    fromBits(e.finAcked, Flag.FINACK0) |
    fromBits(e.acked, Flag.ACKED0) |
    fromBits(e.open, Flag.OPEN0) |
    fromBits(e.deferred, Flag.DEFER0) |
    (e.standby ? Flag.STANDBY : 0);
  u32(e.generation, RecordOffset.generation);
  u16(flags, RecordOffset.flags);
  pair([State[e.state[0]], State[e.state[1]]], RecordOffset.state, 1, u8);
  pair(e.seqDelta, RecordOffset.seqD, 4, u32);
  pair(e.tsvalDelta, RecordOffset.tsvalD, 4, u32);
  pair(e.base, RecordOffset.base, 4, u32);
  pair(e.wscaleIn, RecordOffset.wscaleIn, 1, u8);
  pair(e.wscaleOut, RecordOffset.wscaleOut, 1, u8);
  pair(e.mss, RecordOffset.mss, 2, u16);
  u8(
    fromBits(e.timestamps, Option.TS0) |
      fromBits(e.sack, Option.SACK0) |
      fromBits(e.ecn, Option.ECN0),
    RecordOffset.options,
  );
  u64(e.lastSeenNs, at('lastSeenNs'));
  u32(e.timeoutMs, at('timeoutMs'));
  u8(e.shortened ? 1 : 0, at('shortened'));
  u8(e.settled, at('settled'));
  u8(fromBits(e.copied, 1), at('copied'));
  u8(fromBits(e.finKnown, 1), at('finKnown'));
  pair(e.ownEnd, at('ownEnd'), 4, u32);
  pair(e.localNext, at('localNext'), 4, u32);
  pair(e.seenEnd, at('seenEnd'), 4, u32);
  pair(e.seenAck, at('seenAck'), 4, u32);
  pair(e.seenWindow, at('seenWindow'), 4, u32);
  pair(e.finEnd, at('finEnd'), 4, u32);
  pair(e.tsSent, at('tsSent'), 4, u32);
  pair([Number(e.seen[0]), Number(e.seen[1])], at('seen'), 1, u8);
  u8(e.unproven, at('unproven'));
  u8(e.probes, at('probes'));
  u8(e.mark, at('mark'));
  u8(e.changed ? 1 : 0, at('changed'));
  pair(e.packets, at('packets'), 8, u64);
  pair(e.bytes, at('bytes'), 8, u64);
}

/** Another entry that is equal to this one and shares nothing that changes with it. */
export function copyEntry(e: Entry): Entry {
  const copy = { ...e } as Record<keyof Entry, unknown>;
  for (const name of Object.keys(e) as (keyof Entry)[]) {
    if (Array.isArray(e[name])) copy[name] = [...(e[name] as unknown[])];
  }
  return copy as unknown as Entry;
}
