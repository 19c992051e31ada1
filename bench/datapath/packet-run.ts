// SPDX-License-Identifier: MIT
/** One packet through the ingress program again and again, in the balancer's namespace. */
import { join } from 'node:path';
import type { Datapath } from '../../kernel/datapath.js';
import { bpf, libc } from '../../kernel/native.js';
import { runProgram } from '../../kernel/program.js';
import { Flag, Option, State } from '../../kernel/record/layout.js';
import { newRecord } from '../../kernel/record/record.js';
import { frame } from '../../test/support/packet.js';
import { median } from '../measure.js';
import { address } from './bed.js';

/** Offset of ifindex in struct __sk_buff (linux/bpf.h), and how much of it is given. */
const SkBuff = { ifindex: 40, size: 48 } as const;
const TC_ACT_OK = 0;
const TC_ACT_REDIRECT = 7;
const DEVICE = 'cli';
const PORT = 9;
const HIT_PORT = 40_001;
const MISS_PORT = 40_002;
/** The hop limit goes down by one each time, so a packet lasts for so long. */
const REPEATS_EACH = 200;

export interface Nanoseconds {
  hit: number;
  miss: number;
}

/**
 * A splice whose legs mirror each other: what comes out of the translation has the addresses that went
 * in, so that the same packet hits it again. All numbers change as in any other splice.
 */
function mirror(): Uint8Array {
  const [client, server] = [address(4, 1, 2), address(4, 2, 2)];
  const r = newRecord();
  r.id = BigInt(Date.now()) << 20n; // beyond what the table counts up to
  r.incarnation = r.id;
  r.origin = r.owner = r.epoch = r.generation = 1;
  r.remainingMs = 60_000;
  r.flags = Flag.ACKED0 | Flag.ACKED1;
  r.options = Option.SACK0 | Option.SACK1 | Option.TS0 | Option.TS1;
  const ends = [
    { source: client, sourcePort: HIT_PORT, destination: server, destinationPort: PORT },
    { source: server, sourcePort: PORT, destination: client, destinationPort: HIT_PORT },
  ];
  for (const leg of [0, 1] as const) {
    Object.assign(r.tuple(leg), ends[leg]);
    r.setState(leg, State.SPLICED);
    r.setSeqDelta(leg, 50_000);
    r.setTsvalDelta(leg, 10_000);
    r.setWscaleIn(leg, 7);
    r.setWscaleOut(leg, 8);
  }
  return r.bytes;
}

export function nanosecondsPerPacket(
  datapath: Datapath,
  pinPath: string,
  repeats: number,
): Nanoseconds {
  const splice = mirror();
  const [result] = datapath.table.insert(splice);
  if (result !== 0) throw new Error(`the splice could not be inserted: ${result}`);
  const program: number = bpf().objGet(join(pinPath, 'prog_ingress'));
  const context = Buffer.alloc(SkBuff.size);
  context.writeUInt32LE(libc.ifNameToIndex(DEVICE), SkBuff.ifindex);
  try {
    const run = (port: number, wanted: number): number => {
      const packet = frame({
        from: `${address(4, 1, 2)}:${port}`,
        to: `${address(4, 2, 2)}:${PORT}`,
        seq: 1000,
        ack: 1,
        window: 500,
        options: [{ nop: true }, { nop: true }, { timestamp: [1000, 1000] }],
        payload: Buffer.alloc(1448),
        ttl: 255,
      });
      const samples: number[] = [];
      for (let i = 0; i < repeats / REPEATS_EACH; i++) {
        const { verdict, durationNs } = runProgram(program, packet, {
          context,
          repeat: REPEATS_EACH,
        });
        if (verdict !== wanted) throw new Error(`the program said ${verdict}, not ${wanted}`);
        samples.push(durationNs);
      }
      return median(samples);
    };
    return { hit: run(HIT_PORT, TC_ACT_REDIRECT), miss: run(MISS_PORT, TC_ACT_OK) };
  } finally {
    libc.close(program);
    datapath.table.delete(splice);
  }
}
