// Code that has not run yet is interpreted, at a fifth of its speed; and what this daemon is for, a burst
// of new splices or a takeover, comes without notice. So the replication is rehearsed once at the start:
// two engines of its own kind that know nothing of the real one, on a link in memory.
import { createSecretKey } from 'node:crypto';
import {
  EVENT_SIZE,
  EventOffset,
  EventType,
  Flag,
  RecordOffset,
  State,
  TUPLE_SIZE,
  TupleOffset,
} from '../kernel/record/layout.js';
import { newRecord, nodeId } from '../kernel/record/record.js';
import { Sync } from '../sync/engine.js';
import type { Clock, Link } from '../sync/ports.js';
import { SECRET_SIZE } from '../sync/seal/box.js';
import { openSeal, type Seal } from '../sync/seal/seal.js';
import { Breath } from './breath.js';
import { random } from './world.js';

/** So many that the compiler has done with it: else it is at work beside the first real burst. */
const RECORDS = 4000;
/** Events of one burst, and changes that come alone. */
const BURST = 200;
const SINGLE = 3000;
/** The second time with other objects than those that the code has been made for. */
const TIMES = 2;
/** Numbers of all sizes, as the real ones are: else the code is made for small ones, and made again. */
const INCARNATIONS = [0x0006_4f1c_8000_0001n, 0x0006_4f1c_7000_0001n];
const ORIGINS = [0xf000_0001, 1];
const MTU = 1400;
/** After so much time whatever is due has been done. */
const STEP_MS = 5;
const ROUNDS_MAX = 2000;

/** As the daemon is configured. */
export interface Play {
  readonly mode: string;
  readonly sealed: boolean;
}

/** Of no link. */
const KEY = { id: 1, secret: createSecretKey(Buffer.alloc(SECRET_SIZE)) };

/** Time that passes only when it is told to. */
class Stage implements Clock {
  #now = 0;
  readonly #due = new Map<object, { at: number; fn: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, fn: () => void): { cancel(): void } {
    const timer = { cancel: () => this.#due.delete(timer) };
    this.#due.set(timer, { at: this.#now + ms, fn });
    return timer;
  }

  pass(): void {
    this.#now += STEP_MS;
    for (const [timer, { at, fn }] of [...this.#due]) {
      if (at > this.#now || !this.#due.delete(timer)) continue;
      fn();
    }
  }
}

/** One of the two, with what is on its way to it. */
class Player {
  readonly sync: Sync;
  readonly #mail: Uint8Array[] = [];
  readonly #seal: Seal | undefined;

  constructor(
    readonly name: string,
    stage: Stage,
    { mode, sealed }: Play,
    other: () => Player,
  ) {
    const node = nodeId(name);
    const cable: Link = {
      mtu: MTU,
      paths: 1,
      send: (datagram) => other().#mail.push(datagram.slice()) > 0,
      stats: () => ({}),
    };
    if (sealed) {
      const deliver = (datagram: Uint8Array) => this.sync.receive(datagram);
      const proved = () => this.sync.greet();
      const keys = [KEY];
      this.#seal = openSeal({ link: cable, keys, node, clock: stage, random, deliver, proved });
    }
    const link = this.#seal ?? cable;
    this.sync = new Sync({
      node,
      name,
      incarnation: INCARNATIONS[0],
      clock: stage,
      random: { u32: () => 1 },
      link,
      events: {
        demoted: () => {},
        ended: () => {},
        syncChanged: () => {},
        peerChanged: () => {},
        epochChanged: () => {},
        notice: () => {},
      },
      mode,
      hashLimit: 2 * RECORDS,
    });
  }

  read(): void {
    for (let datagram = this.#mail.shift(); datagram; datagram = this.#mail.shift()) {
      (this.#seal ?? this.sync).receive(datagram);
    }
  }

  stop(): void {
    this.sync.stop();
    this.#seal?.stop();
  }
}

/** Events of splices of this node, numbered from `first`. */
function events(node: number, first: number, count: number, type: number, generation: number) {
  const record = newRecord();
  record.owner = node;
  record.epoch = 1;
  record.remainingMs = 432_000_000;
  record.flags = Flag.ACKED0 | Flag.ACKED1;
  for (const leg of [0, 1] as const) {
    record.setState(leg, State.SPLICED);
    Object.assign(record.tuple(leg), { source: '192.0.2.1', destination: '192.0.2.2' });
  }
  const bytes = new Uint8Array(count * EVENT_SIZE);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    const at = i * EVENT_SIZE + EventOffset.record;
    view.setUint32(i * EVENT_SIZE + EventOffset.type, type, true);
    bytes.set(record.bytes, at);
    view.setUint32(at + RecordOffset.id, first + i + 1, true);
    view.setUint32(at + RecordOffset.generation, generation, true);
    view.setBigUint64(at + RecordOffset.incarnation, INCARNATIONS[i & 1], true);
    view.setUint32(at + RecordOffset.origin, ORIGINS[i & 1], true);
    for (const leg of [0, 1]) {
      const tuple = at + RecordOffset.tuple + leg * TUPLE_SIZE;
      view.setUint16(tuple + TupleOffset.sport, first + i);
    }
  }
  return bytes;
}

/** All that happens to a pair in its life, in pieces of a millisecond or so. */
function* rehearsal(play: Play): Generator<void> {
  const stage = new Stage();
  const a: Player = new Player('first', stage, play, () => b);
  const b: Player = new Player('second', stage, play, () => a);
  const settle = function* (done: () => boolean): Generator<void> {
    for (let i = 0; i < ROUNDS_MAX && !done(); i++) {
      stage.pass();
      a.read();
      b.read();
      yield;
    }
  };
  const held = () => b.sync.external.get(nodeId(a.name))?.size ?? 0;
  const happen = function* (type: number, count: number, burst: number, generation: number) {
    for (let first = 0; first < count; first += burst) {
      a.sync.local(events(nodeId(a.name), first, burst, type, generation));
      b.read();
      stage.pass();
      a.read();
      yield;
    }
  };
  for (const { sync } of [a, b]) sync.start();
  yield* settle(() => a.sync.inSync && b.sync.inSync);
  yield* happen(EventType.NEW, RECORDS, BURST, 1);
  yield* happen(EventType.UPDATE, SINGLE, 1, 2);
  b.sync.flush('external');
  b.sync.request();
  yield* settle(() => held() === RECORDS);
  yield* happen(EventType.DESTROY, SINGLE, BURST, 2);
  for (const chunk of b.sync.plan()) {
    b.sync.committed(chunk, new Uint32Array(chunk.length / newRecord().bytes.length));
    a.read();
    yield;
  }
  yield* settle(() => a.sync.internal.size === 0);
  for (const player of [a, b]) player.stop();
}

/** Rehearses until it is done or `ended` says so, and lets all else have its turn. */
export async function warmUp(play: Play, ended: () => boolean): Promise<void> {
  const breath = new Breath();
  for (let i = 0; i < TIMES; i++) {
    for (const _ of rehearsal(play)) {
      if (ended()) return;
      await breath.take();
    }
  }
}
