/** Records as JSON, one object a line. 64-bit numbers are strings: JSON readers round them. */
import type { Counters } from './counted.js';
import { Option } from './layout.js';
import type { Page } from './page.js';
import type { RecordView } from './record.js';
import {
  expires,
  flagNames,
  legState,
  type NodeNames,
  nodeName,
  overallState,
  type Rendering,
} from './rendering.js';

export const json: Rendering = {
  head: () => '',

  record(page: Page, record: RecordView, names: NodeNames, counters?: Counters): void {
    const client = record.tuple(0);
    const server = record.tuple(1);
    const has = (option: number): boolean => (record.options & option) !== 0;
    const line = {
      client: { address: client.source, port: client.sourcePort },
      virtual: { address: client.destination, port: client.destinationPort },
      local: { address: server.destination, port: server.destinationPort },
      real: { address: server.source, port: server.sourcePort },
      state: overallState(record),
      client_state: legState(record, 0),
      server_state: legState(record, 1),
      flags: flagNames(record),
      timeout_s: expires(record),
      idle_ms: record.idleMs,
      origin: nodeName(record.origin, names),
      incarnation: String(record.incarnation),
      id: String(record.id),
      owner: nodeName(record.owner, names),
      epoch: record.epoch,
      generation: record.generation,
      seq: { original: record.seqDelta(0), reply: record.seqDelta(1) },
      base: { client: record.base(0), server: record.base(1) },
      tsval: { original: record.tsvalDelta(0), reply: record.tsvalDelta(1) },
      wscale_in: { client: record.wscaleIn(0), server: record.wscaleIn(1) },
      wscale_out: { client: record.wscaleOut(0), server: record.wscaleOut(1) },
      mss: { client: record.mss(0), server: record.mss(1) },
      timestamps: { client: has(Option.TS0), server: has(Option.TS1) },
      sack: { client: has(Option.SACK0), server: has(Option.SACK1) },
      ecn: { client: has(Option.ECN0), server: has(Option.ECN1) },
      ...(counters && {
        packets: { original: counters.packets(0), reply: counters.packets(1) },
        bytes: { original: counters.bytes(0), reply: counters.bytes(1) },
      }),
    };
    page.text(`${JSON.stringify(line)}\n`);
  },

  tail: '',
};
