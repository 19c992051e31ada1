// SPDX-License-Identifier: MIT
/** Holds a table of its own and fills it. */
import { Datapath } from '../../kernel/datapath.js';
import {
  Flag,
  RECORD_SIZE,
  RecordOffset,
  State,
  TUPLE_SIZE,
  TupleOffset,
} from '../../kernel/record/layout.js';
import { newRecord } from '../../kernel/record/record.js';
import { offer } from '../helper.js';

/** Records put in by one call. */
const CHUNK = 8192;
const REMAINING_MS = 3_600_000;

let datapath: Datapath;

/** As many records as one call takes, all the same so far. */
function alike(): Uint8Array {
  const one = newRecord();
  one.incarnation = 1n;
  one.origin = one.owner = one.epoch = one.generation = 1;
  one.remainingMs = REMAINING_MS;
  one.flags = Flag.ACKED0 | Flag.ACKED1;
  for (const leg of [0, 1] as const) {
    one.setState(leg, State.SPLICED);
    Object.assign(one.tuple(leg), { source: '10.0.0.0', destination: `192.0.2.${leg}` });
  }
  const records = new Uint8Array(CHUNK * RECORD_SIZE);
  for (let i = 0; i < CHUNK; i++) records.set(one.bytes, i * RECORD_SIZE);
  return records;
}

const functions = {
  async open(pinPath: string, cgroup: string, tableSize: number) {
    datapath = await Datapath.open({ pinPath, cgroup, interfaces: [], node: 1, tableSize });
    datapath.watch(() => {}); // as the daemon does: else the ring is full, and an event costs nothing
  },
  /** Fill the table with splices that have an hour to live. */
  fill() {
    const records = alike();
    const view = new DataView(records.buffer);
    for (let first = 0; first < datapath.table.size; first += CHUNK) {
      const count = Math.min(CHUNK, datapath.table.size - first);
      for (let i = 0; i < count; i++) {
        const at = i * RECORD_SIZE;
        const number = first + i + 1;
        view.setUint32(at + RecordOffset.id, number, true);
        for (const leg of [0, 1]) {
          // both ports of the pair at once
          view.setUint32(at + RecordOffset.tuple + leg * TUPLE_SIZE + TupleOffset.sport, number);
        }
      }
      const results = datapath.table.insert(records.subarray(0, count * RECORD_SIZE));
      if (results.some((result) => result !== 0)) throw new Error('the table took not all of them');
    }
  },
  /** Let all of them expire after so long. */
  shorten(ms: number) {
    return datapath.table.shorten(ms);
  },
  expired() {
    return datapath.counter('expired');
  },
};

export type TableFunctions = typeof functions;
offer(functions);
