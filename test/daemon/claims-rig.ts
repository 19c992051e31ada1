// SPDX-License-Identifier: MIT
/**
 * Node b with hot standby: its replication in simulated time, its kernel and its claims real. Its peer a is
 * simulated.
 */
import { Claims } from '../../daemon/claims.js';
import { Follower } from '../../daemon/follower.js';
import type { Log } from '../../daemon/log.js';
import { Standby } from '../../daemon/standby.js';
import type { Datapath } from '../../kernel/datapath.js';
import { EventType, Flag, RECORD_SIZE, State } from '../../kernel/record/layout.js';
import { RecordView } from '../../kernel/record/record.js';
import type { SyncEngine } from '../../sync/api.js';
import { type Node, World } from '../sync/world.js';

const silent = { info() {}, warn() {}, error() {} } as unknown as Log;
const PURGE_MS = 60_000;

interface Life {
  readonly standby: Standby;
  readonly follower: Follower;
  readonly claims: Claims;
}

export class ClaimsRig {
  readonly world = new World(1);
  readonly a: Node;
  readonly b: Node;
  /** Called after each chunk of a plan. */
  onChunk: (chunks: number) => void = () => {};
  life!: Life;

  constructor(
    private readonly datapath: Datapath,
    hashLimit = 20_000,
  ) {
    datapath.table.flush();
    const options = { hashLimit };
    this.a = this.world.node('lb-a', options);
    this.b = this.world.node('lb-b', {
      ...options,
      disableExternalCache: true,
      epoch: 1,
      events: {
        demoted: (records) => this.life.standby.demote(records, PURGE_MS),
        ended: (records) => datapath.table.delete(records),
        standby: (records) => this.life.standby.put(records),
        standbyGone: (records) => this.life.standby.gone(records),
        syncChanged() {},
        peerChanged() {},
        epochChanged: (epoch) => {
          datapath.epoch = epoch;
        },
        notice() {},
      },
    });
    this.live();
    this.a.engine.start();
    this.b.engine.start();
    this.world.run(300);
  }

  /** b's daemon is another one from now on. */
  restart(): void {
    this.end();
    this.b.link++;
    this.b.restart();
    this.live();
    this.b.engine.start();
  }

  end(): void {
    this.life.standby.flush();
    void this.life.follower.stop();
  }

  private live(): void {
    const { datapath, b } = this;
    const standby = new Standby(datapath, silent);
    const sync = new Proxy<SyncEngine>(b.engine, {
      get: (engine, name) => {
        if (name === 'plan') return this.planned(engine);
        const value = Reflect.get(engine, name, engine);
        return typeof value === 'function' ? value.bind(engine) : value;
      },
    });
    const follower = new Follower(datapath, sync, silent);
    follower.begin();
    follower.start();
    const claims = new Claims({
      datapath,
      sync,
      follower,
      standby,
      log: silent,
      commitTimeoutMs: () => 0,
      datagrams: () => 0,
      committed() {},
    });
    this.life = { standby, follower, claims };
  }

  private planned(engine: SyncEngine) {
    return (...args: Parameters<SyncEngine['plan']>) => {
      const plan = engine.plan(...args);
      const told = function* (this: ClaimsRig): Generator<Uint8Array> {
        let chunks = 0;
        for (const chunk of plan) {
          yield chunk;
          this.onChunk(++chunks);
        }
      };
      return told.call(this);
    };
  }

  /** Splices of a's, each with addresses of its own, which b has heard of. */
  born(
    count: number,
    change: (record: RecordView, index: number) => void = () => {},
  ): RecordView[] {
    const records = Array.from({ length: count }, (_, index) => {
      const record = this.a.record();
      const n = Number(record.id);
      for (const leg of [0, 1] as const) {
        record.setState(leg, State.SPLICED);
        const tuple = record.tuple(leg);
        tuple.source = `10.${leg + 3}.${n >> 16}.2`;
        tuple.destination = `10.${leg + 3}.0.1`;
        tuple.sourcePort = n & 0xffff;
        tuple.destinationPort = 80;
      }
      change(record, index);
      return record;
    });
    for (let at = 0; at < count; at += 1000) {
      this.a.emit(EventType.NEW, ...records.slice(at, at + 1000));
      this.settle();
    }
    return records;
  }

  /** What is under way on the link arrives, and stands in the kernel. */
  settle(): void {
    this.world.run(500);
    this.life.standby.flush();
  }

  /** b's kernel: entries of its own, and those that are held. */
  kernel(): { own: RecordView[]; held: RecordView[] } {
    const records = [...this.datapath.table.dump()].flatMap((chunk) =>
      Array.from(
        { length: chunk.length / RECORD_SIZE },
        (_, i) => new RecordView(chunk, i * RECORD_SIZE),
      ),
    );
    const isHeld = (record: RecordView): boolean => (record.flags & Flag.STANDBY) !== 0;
    return { own: records.filter((r) => !isHeld(r)), held: records.filter(isHeld) };
  }

  /** The same, counted: own, held; and what b's caches have. */
  counts(): { own: number; held: number; internal: number; external: number } {
    const { own, held } = this.kernel();
    const { engine } = this.b;
    let external = 0;
    for (const cache of engine.external.values()) external += cache.size;
    return { own: own.length, held: held.length, internal: engine.internal.size, external };
  }

  /** All claims are made, or were cut short, and the peer has heard of them. */
  async claimed(): Promise<void> {
    while (this.life.claims.status) await new Promise((resolve) => setTimeout(resolve, 1));
    await this.life.claims.stop();
    this.life.follower.drain();
    this.settle();
  }
}
