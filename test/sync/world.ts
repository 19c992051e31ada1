/**
 * Several nodes on one link in simulated time: the real engine of each, a network that loses,
 * doubles and delays by a seed, and beside each node what its kernel would hold.
 */
import {
  EVENT_SIZE,
  EventOffset,
  EventType,
  RECORD_SIZE,
  State,
} from '../../kernel/record/layout.js';
import { newRecord, nodeId, RecordView } from '../../kernel/record/record.js';
import type { NoticeCode, PeerChange, SyncEvents, SyncOptions } from '../../sync/api.js';
import type { Cache } from '../../sync/cache.js';
import { Sync } from '../../sync/engine.js';
import type { Clock, Link } from '../../sync/ports.js';
import type { SealKey } from '../../sync/seal/box.js';
import { openSeal } from '../../sync/seal/seal.js';
import { generator } from '../support/random.js';

export interface Faults {
  /** Parts of one. */
  loss?: number;
  duplication?: number;
  /** Delivered up to so many ms later than the rest. */
  jitterMs?: number;
}

interface Due {
  at: number;
  order: number;
  fn: (() => void) | undefined;
}

export interface NodeOptions extends Partial<SyncOptions> {
  bootedAt?: number;
  /** Those that seal its link. */
  keys?: readonly SealKey[];
}

/** One start of a daemon. */
interface Started {
  readonly engine: Sync;
  readonly link: number;
  receive(datagram: Uint8Array): void;
}

export class World {
  now = 0;
  faults: Faults = {};
  readonly random: () => number;
  readonly nodes: Node[] = [];
  /** Datagrams that were sent, as copies, when recording is on. */
  recording: Uint8Array[] | undefined;
  /** Datagrams for which this says true are lost. */
  lose: (datagram: Uint8Array, from: Node, to: Node) => boolean = () => false;
  #queue: Due[] = [];
  #order = 0;

  constructor(seed = 1) {
    this.random = generator(seed);
  }

  after(ms: number, fn: () => void): { cancel(): void } {
    const due: Due = { at: this.now + ms, order: this.#order++, fn };
    let low = 0;
    let high = this.#queue.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#queue[middle].at <= due.at) low = middle + 1;
      else high = middle;
    }
    this.#queue.splice(low, 0, due);
    return {
      cancel: () => {
        due.fn = undefined;
      },
    };
  }

  /** Let so much time pass. */
  run(ms: number): void {
    const end = this.now + ms;
    while (this.#queue.length > 0 && this.#queue[0].at <= end) this.#step();
    this.now = end;
  }

  /** Let time pass until this holds, looked at every 2 ms. False: it does not within maxMs. */
  until(holds: () => boolean, maxMs: number): boolean {
    for (const end = this.now + maxMs; this.now < end; this.run(2)) if (holds()) return true;
    return holds();
  }

  node(name: string, options: NodeOptions = {}, offered?: SyncEvents['offered']): Node {
    const node = new Node(this, name, options, offered);
    this.nodes.push(node);
    return node;
  }

  carry(from: Node, datagram: Uint8Array): void {
    this.recording?.push(datagram.slice());
    for (const to of this.nodes) {
      if (to === from || to.down || from.down || this.lose(datagram, from, to)) continue;
      if (this.random() < (this.faults.loss ?? 0)) continue;
      const copies = this.random() < (this.faults.duplication ?? 0) ? 2 : 1;
      for (let copy = 0; copy < copies; copy++) {
        const bytes = datagram.slice();
        const delay = 0.1 + this.random() * (this.faults.jitterMs ?? 0);
        this.after(delay, () => {
          if (!to.down && to.link === to.sync.link) to.sync.receive(bytes);
        });
      }
    }
  }

  #step(): void {
    const due = this.#queue.shift();
    if (!due) return;
    this.now = Math.max(this.now, due.at);
    due.fn?.();
  }
}

export class Node {
  readonly id: number;
  /** What its kernel holds: by identity. It outlives the daemon. */
  readonly kernel = new Map<string, Uint8Array>();
  readonly notices: NoticeCode[] = [];
  readonly changes: PeerChange[] = [];
  /** Called when it yields, and when nobody stands for its address any more. */
  onYield: (to: string) => void = () => {};
  onUnclaimed: () => void = () => {};
  demotions = 0;
  down = false;
  link = 0;
  sync: Started;
  /** Of the daemon that is started next. */
  options: NodeOptions;
  #nextId = 1n;
  #starts = 0;

  constructor(
    readonly world: World,
    readonly name: string,
    options: NodeOptions,
    /** What it does when a peer offers its addresses. */
    readonly offered?: SyncEvents['offered'],
  ) {
    this.id = nodeId(name);
    this.options = options;
    this.sync = this.#daemon(undefined);
  }

  get engine(): Sync {
    return this.sync.engine;
  }

  /** The daemon dies without a word, and a new one starts over the same kernel. */
  restart(incarnation?: bigint): void {
    this.link++;
    this.sync = this.#daemon(incarnation);
    this.resync();
  }

  resync(): void {
    this.engine.resyncBegin();
    for (const record of this.kernel.values()) this.engine.resyncRecords(record);
    this.engine.resyncEnd();
  }

  /** A splice is born here, or a batch of them in one turn. */
  open(count = 1): RecordView[] {
    const records = Array.from({ length: count }, () => this.record());
    this.emit(EventType.NEW, ...records);
    return records;
  }

  record(): RecordView {
    const record = newRecord();
    const id = this.#nextId++;
    record.id = id;
    record.incarnation = 1_700_000_000_000_000n;
    record.origin = this.id;
    record.owner = this.id;
    record.epoch = Math.max(1, this.engine.epoch);
    record.generation = 1;
    record.remainingMs = 432_000_000;
    record.setState(0, State.SPLICED);
    record.setState(1, State.SPLICED);
    record.setSeqDelta(0, Number(id & 0xffffffffn));
    for (const leg of [0, 1] as const) {
      record.tuple(leg).source = '10.1.0.2';
      record.tuple(leg).destination = '10.1.0.1';
      record.tuple(leg).sourcePort = Number(id % 60000n);
    }
    return record;
  }

  change(record: RecordView): void {
    record.generation++;
    record.setState(0, State.FIN_RELAYED);
    this.emit(EventType.UPDATE, record);
  }

  close(...records: RecordView[]): void {
    this.emit(EventType.DESTROY, ...records);
  }

  emit(type: number, ...records: RecordView[]): void {
    const events = new Uint8Array(records.length * EVENT_SIZE);
    const view = new DataView(events.buffer);
    for (const [index, record] of records.entries()) {
      view.setUint32(index * EVENT_SIZE + EventOffset.type, type, true);
      events.set(record.slice, index * EVENT_SIZE + EventOffset.record);
      if (type === EventType.DESTROY) this.kernel.delete(record.identity);
      else this.kernel.set(record.identity, record.slice.slice());
    }
    this.engine.local(events);
  }

  /** Take over what the others owned. */
  commit(): number {
    let ours = 0;
    for (const chunk of this.engine.plan()) {
      for (let at = 0; at < chunk.length; at += RECORD_SIZE) {
        const record = new RecordView(chunk, at);
        this.kernel.set(record.identity, record.slice.slice());
      }
      ours += this.engine.committed(chunk, new Uint32Array(chunk.length / RECORD_SIZE));
    }
    return ours;
  }

  external(of: Node): Cache | undefined {
    return this.engine.external.get(of.id);
  }

  #daemon(incarnation: bigint | undefined): Started {
    const { world } = this;
    const link = this.link;
    const alive = () => link === this.link;
    const { bootedAt = 0, keys, ...options } = this.options;
    const clock: Clock = {
      now: () => world.now + bootedAt,
      after: (ms, fn) => world.after(ms, () => (alive() ? fn() : undefined)),
    };
    const random = { u32: () => Math.floor(world.random() * 2 ** 32) };
    const carrier: Link = {
      mtu: 1472,
      paths: 1,
      send: (datagram) => {
        if (alive()) world.carry(this, datagram);
        return true;
      },
      stats: () => ({}),
    };
    const deliver = (datagram: Uint8Array): void => engine.receive(datagram);
    const proved = (): void => engine.greet();
    const parts = { link: carrier, node: this.id, clock, random, deliver, proved };
    const seal = keys && openSeal({ ...parts, keys });
    const giveUp = (records: Uint8Array): void => {
      for (let at = 0; at < records.length; at += RECORD_SIZE) {
        this.kernel.delete(new RecordView(records, at).identity);
        this.demotions++;
      }
    };
    const engine: Sync = new Sync({
      node: this.id,
      name: this.name,
      incarnation: incarnation ?? 1_800_000_000_000_000n + BigInt(++this.#starts),
      clock,
      random,
      link: seal ?? carrier,
      hashLimit: 8192,
      resendQueueSize: 4096,
      events: {
        demoted: giveUp,
        ended: giveUp,
        syncChanged: () => {},
        peerChanged: (_, change) => this.changes.push(change),
        epochChanged: () => {},
        yield: ({ name }) => this.onYield(name),
        unclaimed: () => this.onUnclaimed(),
        notice: (code) => this.notices.push(code),
        ...(this.offered && { offered: this.offered }),
      },
      ...options,
    });
    return { engine, link, receive: (datagram) => (seal ?? engine).receive(datagram) };
  }
}

/** Two nodes that have found each other. */
export function startedPair(seed: number, options: NodeOptions): [World, Node, Node] {
  const world = new World(seed);
  const a = world.node('lb-a', options);
  const b = world.node('lb-b', options);
  a.engine.start();
  b.engine.start();
  world.run(300);
  return [world, a, b];
}

/** What a cache holds, times aside: comparable with another one. */
export function content(cache: Cache | undefined): string[] {
  const lines: string[] = [];
  for (const chunk of cache?.chunks() ?? []) {
    for (let at = 0; at < chunk.length; at += RECORD_SIZE) {
      const record = new RecordView(chunk, at);
      record.remainingMs = 0;
      record.idleMs = 0;
      lines.push(`${record.identity} ${Buffer.from(record.slice).toString('latin1')}`);
    }
  }
  return lines.sort();
}

/** Does every other live node hold exactly what each node owns? */
export function converged(...nodes: Node[]): boolean {
  return nodes.every((owner) => {
    const owned = content(owner.engine.internal).join('\n');
    return nodes.every(
      (other) => other === owner || content(other.external(owner)).join('\n') === owned,
    );
  });
}
