// SPDX-License-Identifier: MIT
/**
 * Puts splices into the kernel table of its network namespace, by the program and with the events of
 * splice(), so that spliced has something to replicate. Nothing is put into a cache directly.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BATCHES_SIZE, Batch } from '../../kernel/batch.js';
import { Datapath } from '../../kernel/datapath.js';
import { bpf } from '../../kernel/native.js';
import {
  BATCH_ITEMS,
  BATCHES,
  Flag,
  Operation,
  OperationFlag,
  Option,
  RECORD_SIZE,
  RecordOffset,
  State,
  TUPLE_SIZE,
  TupleOffset,
} from '../../kernel/record/layout.js';
import { newRecord, nodeId } from '../../kernel/record/record.js';
import { MappedArray } from '../../kernel/table.js';
import { monotonicMs } from '../clock.js';
import { offer } from '../helper.js';

const REMAINING_MS = 432_000_000;
const PORT_FIRST = 1024;
const PORTS = 60_000;
/** Of a multiplicative hash (Knuth): numbers of a splice that look like those of real connections. */
const SCATTER = 2_654_435_761;

let datapath: Datapath;
let node: number;
let batch: Batch;
let program: number;

/** What all of them have in common. */
function pattern(): Uint8Array {
  const record = newRecord();
  record.incarnation = datapath.incarnation;
  record.origin = record.owner = node;
  record.epoch = record.generation = 1;
  record.remainingMs = REMAINING_MS;
  record.flags = Flag.ACKED0 | Flag.ACKED1;
  record.options = Option.SACK0 | Option.SACK1 | Option.TS0 | Option.TS1;
  const ends = [
    { source: '10.8.0.0', destination: '10.9.0.100', destinationPort: 80 },
    { source: '10.7.0.2', destination: '10.7.0.100', sourcePort: 80 },
  ];
  for (const leg of [0, 1] as const) {
    Object.assign(record.tuple(leg), ends[leg]);
    record.setState(leg, State.SPLICED);
    record.setWscaleIn(leg, 7);
    record.setWscaleOut(leg, 7);
    record.setMss(leg, 1460);
  }
  return record.bytes;
}

/** Splices numbered from `first`, no two with the same addresses. */
function splices(first: number, count: number, generation: number): Uint8Array {
  const common = pattern();
  const bytes = new Uint8Array(count * RECORD_SIZE);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    const at = i * RECORD_SIZE;
    const number = first + i;
    const scattered = Math.imul(number, SCATTER) >>> 0;
    bytes.set(common, at);
    view.setBigUint64(at + RecordOffset.id, BigInt(number + 1), true);
    view.setUint32(at + RecordOffset.generation, generation, true);
    const [client, server] = [0, 1].map((leg) => at + RecordOffset.tuple + leg * TUPLE_SIZE);
    const block = Math.floor(number / PORTS);
    const port = PORT_FIRST + (number % PORTS);
    view.setUint16(client + TupleOffset.saddr + 14, block);
    view.setUint16(client + TupleOffset.sport, port);
    bytes[server + TupleOffset.saddr + 15] = 2 + (number % 3);
    view.setUint16(server + TupleOffset.daddr + 14, 100 + block);
    view.setUint16(server + TupleOffset.dport, port);
    for (const leg of [0, 1]) {
      const turned = leg === 0 ? scattered : ~scattered >>> 0;
      view.setUint32(at + RecordOffset.seqD + 4 * leg, turned, true);
      view.setUint32(at + RecordOffset.tsvalD + 4 * leg, turned >>> 3, true);
      view.setUint32(at + RecordOffset.base + 4 * leg, Math.imul(turned, 3), true);
    }
  }
  return bytes;
}

/**
 * What Table.insert does with events, by the last batch: the daemon has the first one in use meanwhile.
 * @returns when the first of them was about to be put in, in milliseconds of CLOCK_MONOTONIC
 */
function put(records: Uint8Array): number {
  const whole = BATCH_ITEMS * RECORD_SIZE;
  let began = 0;
  for (let at = 0; at < records.length; at += whole) {
    batch.fill(Operation.INSERT, OperationFlag.EVENTS, records.subarray(at, at + whole));
    began ||= monotonicMs();
    batch.run(program);
    const refused = batch.results.find((result) => result !== 0);
    if (refused !== undefined) throw new Error(`the table has refused a splice: ${refused}`);
  }
  return began;
}

const functions = {
  /** The table that a daemon has made. */
  async open(pinPath: string, cgroup: string, name: string, tableSize: number) {
    node = nodeId(name);
    datapath = await Datapath.open({ pinPath, cgroup, interfaces: [], node, tableSize });
    const batches = bpf().objGet(join(pinPath, 'map_batches'));
    batch = new Batch(new MappedArray(batches, BATCHES_SIZE).bytes, BATCHES - 1);
    program = bpf().objGet(join(pinPath, 'prog_table_op'));
  },
  /** @returns when the first was put in, in milliseconds of CLOCK_MONOTONIC */
  insert(first: number, count: number) {
    return put(splices(first, count, 1));
  },
  /** Changes one after the other. @returns when each began */
  async update(first: number, count: number, generation: number, pauseMs: number) {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      times.push(put(splices(first + i, 1, generation)));
      await sleep(pauseMs);
    }
    return times;
  },
  /** Empties the table, in silence. */
  flush() {
    return datapath.table.flush();
  },
  live() {
    return datapath.table.live();
  },
};

export type LoadFunctions = typeof functions;
offer(functions);
