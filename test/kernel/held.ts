// SPDX-License-Identifier: MIT
/** The splice of golden.ts, held for a peer or owned by this node: what tests of standby entries begin with. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { EventOffset, Flag, RECORD_SIZE } from '../../kernel/record/layout.js';
import { eventRecord, RecordView, stateName } from '../../kernel/record/record.js';
import type { Entry, Table } from '../../kernel/table.js';
import { Golden } from '../support/golden.js';

export const ME = 1;
export const PEER = 9;
/** One round of the sweep over the table, and some. */
export const SWEEP_MS = 1_200;

export const DATA = {
  title: 'data',
  in: 'client > virtual A seq  1000 ack 907000 win 512 ttl 64',
  out: 'proxy > server  A seq 51000 ack   7000 win 256 ttl 63',
} as const;
export const FIN = {
  title: 'a FIN',
  in: 'client > virtual FA seq  1000 ack 907000 win 512 ttl 64',
  out: 'proxy > server  FA seq 51000 ack   7000 win 256 ttl 63',
} as const;
export const FIN_ACKNOWLEDGED = {
  title: 'its acknowledgement',
  in: 'server  > proxy  A seq   7000 ack 51001 win 80 ttl 64',
  out: 'virtual > client A seq 907000 ack  1001 win 10 ttl 63',
} as const;
export const RESET = {
  title: 'a reset',
  in: 'client > virtual RA seq  1001 ack 907000 win 512 ttl 64',
  out: 'proxy > server  RA seq 51001 ack   7000 win 256 ttl 63',
} as const;
export const SYN = { in: 'client > virtual S seq 9000 win 512 ttl 64' } as const;

export interface Told {
  readonly type: number;
  readonly owner: number;
  readonly epoch: number;
  readonly generation: number;
}

export class HeldSplice {
  readonly table: Table;
  private told: Told[] = [];
  private readonly watch: { close(): void };
  private readonly template: Uint8Array;

  static async open(): Promise<HeldSplice> {
    return new HeldSplice(await Golden.open());
  }

  private constructor(readonly golden: Golden) {
    const { datapath } = golden;
    this.table = datapath.table;
    golden.reset();
    this.template = this.only().bytes.slice(0, RECORD_SIZE);
    this.watch = datapath.watch((bytes, count) => {
      for (let i = 0; i < count; i++) {
        const { owner, epoch, generation, offset } = eventRecord(bytes, i);
        const at = bytes.byteOffset + offset - EventOffset.record + EventOffset.type;
        const type = new DataView(bytes.buffer).getUint32(at, true);
        this.told.push({ type, owner, epoch, generation });
      }
    });
  }

  async close(): Promise<void> {
    this.watch.close();
    await this.golden.close();
  }

  /** An empty table, and no event of what was before. */
  async empty(): Promise<void> {
    this.table.flush();
    await this.events();
    this.told = [];
  }

  /** All that was told since then. */
  async events(): Promise<Told[]> {
    await sleep(50);
    return this.told;
  }

  /** What the peer says of the splice, with something changed. */
  said(change: (r: RecordView) => void = () => {}): RecordView {
    const r = new RecordView(this.template.slice());
    r.owner = r.origin = PEER;
    r.epoch = 3;
    r.generation = 4;
    r.flags |= Flag.STANDBY;
    change(r);
    return r;
  }

  /** The same as an entry of this node's own. */
  own(change: (r: RecordView) => void = () => {}): RecordView {
    return this.said((r) => {
      r.owner = ME;
      r.flags &= ~Flag.STANDBY;
      change(r);
    });
  }

  /** What a commit makes of what the peer has said: under a claim above its. */
  claim(change: (r: RecordView) => void = () => {}): RecordView {
    return this.own((r) => {
      r.epoch = 4;
      r.generation = 5;
      change(r);
    });
  }

  put(r: RecordView): number {
    return this.table.insert(r.bytes)[0];
  }

  dump(): RecordView[] {
    return [...this.table.dump()].flatMap((chunk) =>
      Array.from(
        { length: chunk.length / RECORD_SIZE },
        (_, i) => new RecordView(chunk, i * RECORD_SIZE),
      ),
    );
  }

  only(): RecordView {
    const [r, ...more] = this.dump();
    assert.is(more.length, 0);
    return r;
  }

  entry(): Entry {
    const [entry] = [...this.table.dumpEntries()].flat();
    return entry;
  }
}

export const states = (r: RecordView): string =>
  ([0, 1] as const).map((leg) => stateName(r.state(leg))).join(' ');
export const isHeld = (r: RecordView): boolean => (r.flags & Flag.STANDBY) !== 0;
