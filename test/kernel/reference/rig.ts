// SPDX-License-Identifier: MIT
/**
 * The real datapath for the reference to be compared with: one splice in its table, one packet at a
 * time (BPF_PROG_TEST_RUN), and a look at all that may have changed. It opens everything once, and
 * keeps it open: thousands of packets a second go through it.
 *
 *   far ends of leg 0 ──── front │ the node │ back ──── far ends of leg 1
 *     10.1.0.2, fd00:1::2        │          │           10.2.0.11, fd00:2::11
 *                       MTU 1500              MTU 1400
 */
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import koffi from 'koffi';
import { Datapath, SPLICE_MARK } from '../../../kernel/datapath.js';
import { callFailed, errnoName } from '../../../kernel/error.js';
import { bpf, errno, libc } from '../../../kernel/native.js';
import { mapPin, openPin } from '../../../kernel/pins.js';
import { runProgram } from '../../../kernel/program.js';
import {
  Counter,
  type CounterName,
  ENTRY_SIZE,
  LEG_REF_SIZE,
  LegRefOffset,
  RecordOffset,
  SERVICE_SIZE,
  ServiceOffset,
  State,
  type TimeoutName,
  TUPLE_SIZE,
  TupleOffset,
} from '../../../kernel/record/layout.js';
import { newRecord, parseAddress, type RecordView } from '../../../kernel/record/record.js';
import { cgroupRoot } from '../../support/cgroup.js';
import { run } from '../../support/isolate.js';
import { decodeEntry, type Entry, encodeEntry, type Leg, type Tuple } from './entry.js';
import type { Address } from './packet.js';
import type { Guard, Route } from './world.js';

export const PIN_PATH = '/sys/fs/bpf/spliced';
const INTERFACES = ['front', 'back'] as const;
const MTU = [1500, 1400];
const TABLE_SIZE = 8;
const NODE_MAC = '02:00:00:00:00:10';
const FAR_MAC = '02:00:00:00:00:20';
/** Seconds; all different, so that one cannot be taken for another. */
const TIMEOUTS: Record<TimeoutName, number> = {
  close: 21,
  synsent: 61,
  synack: 62,
  established: 7200,
  finwait: 123,
  lastack: 64,
  timewait: 125,
  probe: 12,
};

export const text = (address: string): Address => {
  const bytes = Buffer.alloc(16);
  parseAddress(address, bytes);
  return bytes.toString('hex');
};

/** Addresses by leg: of the node, of a far end, of one whose neighbour is unknown, of one without route. */
export const ADDRESSES = [
  {
    4: { near: '10.1.0.100', far: '10.1.0.2', unresolved: '10.1.0.9', unrouted: '172.16.8.8' },
    6: { near: 'fd00:1::100', far: 'fd00:1::2', unresolved: 'fd00:1::9', unrouted: 'fd00:8::8' },
  },
  {
    4: { near: '10.2.0.100', far: '10.2.0.11', unresolved: '10.2.0.9', unrouted: '172.16.9.9' },
    6: { near: 'fd00:2::100', far: 'fd00:2::11', unresolved: 'fd00:2::9', unrouted: 'fd00:9::9' },
  },
] as const;

const VERDICTS: Record<number, Observed['verdict']> = { 0: 'stack', 2: 'drop', 7: 'send' };
/** Offsets in struct __sk_buff (linux/bpf.h) of what the kernel lets a test run set. */
const SkBuff = { mark: 8, ifindex: 40, gsoSegs: 164, gsoSize: 176, size: 192 } as const;

/** In the order of their numbers. */
const COUNTERS = Object.keys(Counter) as CounterName[];
/** All of a map in one call; at its end it says ENOENT. */
const lookupBatch = koffi
  .load('libbpf.so.1')
  .func(
    'int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, _Inout_ uint32_t *count, void *opts)',
  );
const ENOENT = 2;

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const ETH_P_ALL = 0x0003;
const FRAME_BYTES_MAX = 65_536;

export interface Observed {
  verdict: 'stack' | 'drop' | 'send' | 'unknown';
  frame: Buffer;
  copies: Buffer[];
  counts: Map<CounterName, number>;
  entry: Entry | undefined;
  live: number;
  /** The clock before and after. */
  ns: [bigint, bigint];
}

export class Rig {
  static async open(): Promise<Rig> {
    for (const leg of [0, 1] as const) {
      const name = INTERFACES[leg];
      run('ip', 'link', 'add', name, 'address', NODE_MAC, 'type', 'veth', 'peer', `${name}-far`);
      for (const end of [name, `${name}-far`]) {
        writeFileSync(`/proc/sys/net/ipv6/conf/${end}/addr_gen_mode`, '1');
        writeFileSync(`/proc/sys/net/ipv6/conf/${end}/accept_dad`, '0');
      }
      run('ip', 'link', 'set', name, 'mtu', String(MTU[leg]), 'up');
      run('ip', 'link', 'set', `${name}-far`, 'address', FAR_MAC, 'up');
      for (const family of [4, 6] as const) {
        const { near, far } = ADDRESSES[leg][family];
        const prefix = family === 4 ? '24' : '64';
        run('ip', 'address', 'add', `${near}/${prefix}`, 'dev', name);
        run('ip', 'neighbour', 'add', far, 'lladdr', FAR_MAC, 'dev', name);
        writeFileSync(`/proc/sys/net/ipv${family}/conf/${name}/forwarding`, '1');
      }
    }
    const cgroup = `${cgroupRoot()}/spliced-reference-${process.pid}`;
    mkdirSync(cgroup);
    // all else goes with the namespaces; this must go even if the test is ended at its deadline
    process.once('exit', () => rmdirSync(cgroup));
    process.once('SIGTERM', () => process.exit(1));
    const datapath = await Datapath.open({
      pinPath: PIN_PATH,
      cgroup,
      interfaces: [...INTERFACES],
      node: 1,
      tableSize: TABLE_SIZE,
      timeouts: TIMEOUTS,
    });
    return new Rig(datapath);
  }

  /** As the reference wants them. */
  readonly timeoutMs = Object.fromEntries(
    Object.entries(TIMEOUTS).map(([name, seconds]) => [name, seconds * 1000]),
  ) as Record<TimeoutName, number>;
  readonly mark = SPLICE_MARK;
  /** What clients of a listening address are not to negotiate (SPLICE_SO_ALIGN), by address and port. */
  readonly aligned = new Map<string, number>();
  /** Nothing listens here. */
  readonly guard: Guard = {
    addresses: new Set(),
    untilNs: 0n,
    draining: false,
    silent: false,
    socket: () => undefined,
  };
  readonly nodeMac = Buffer.from(NODE_MAC.replaceAll(':', ''), 'hex');
  readonly farMac = Buffer.from(FAR_MAC.replaceAll(':', ''), 'hex');
  readonly #programs: Record<'ingress' | 'egress', number>;
  readonly #maps: Record<'entries' | 'legs' | 'counters' | 'services' | 'listeners', number>;
  readonly #taps: number[];
  readonly #ifindex = INTERFACES.map((name): number => libc.ifNameToIndex(name));
  readonly #routes = new Map<Address, Route>();
  readonly #output = Buffer.alloc(FRAME_BYTES_MAX);
  readonly #tapped = Buffer.alloc(FRAME_BYTES_MAX);
  readonly #context = Buffer.alloc(SkBuff.size);
  readonly #next = Buffer.alloc(8);
  readonly #keys = Buffer.alloc(4 * COUNTERS.length);
  readonly #values = Buffer.alloc(8 * COUNTERS.length * bpf().possibleCpus());
  /** Legs of the first fragments that have passed, by name: the entry's own memory of them. */
  readonly fragments = new Map<string, Leg>();
  #counters: number[] = [];
  #slot = 0;
  #tuples: Buffer[] = [];

  private constructor(readonly datapath: Datapath) {
    const open = (name: string): number => openPin(PIN_PATH, name);
    this.#programs = { ingress: open('prog_ingress'), egress: open('prog_egress') };
    this.#maps = {
      entries: open('entries'),
      legs: open('legs'),
      counters: open('counters'),
      services: open('services'),
      listeners: open(mapPin('listeners')),
    };
    this.#taps = INTERFACES.map((name) => tap(`${name}-far`));
    for (const leg of [0, 1] as const) {
      for (const family of [4, 6] as const) {
        const { far, unresolved } = ADDRESSES[leg][family];
        const ethernet = Buffer.concat([this.farMac, this.nodeMac]);
        this.#routes.set(text(far), { mtu: MTU[leg], ethernet });
        this.#routes.set(text(unresolved), { mtu: MTU[leg] });
      }
    }
  }

  async close(): Promise<void> {
    for (const fd of [
      ...this.#taps,
      ...Object.values(this.#programs),
      ...Object.values(this.#maps),
    ]) {
      libc.close(fd);
    }
    this.datapath.close();
    await Datapath.unload(PIN_PATH, [...INTERFACES]);
  }

  readonly route = (destination: Address): Route | undefined => this.#routes.get(destination);

  /** Makes this splice the only one of the table. Returns it as the table has it. */
  place(entry: Entry): Entry {
    const { table } = this.datapath;
    this.fragments.clear();
    table.flush();
    // servers are never forgotten, and here each splice has one of its own
    if (this.#tuples.length > 0) bpf().mapDelete(this.#maps.services, this.#service());
    const record = recordOf(entry);
    const result = table.insert(record.bytes)[0];
    if (result !== 0) throw new Error(`the splice could not be inserted: ${result}`);
    this.#tuples = [0, 1].map((leg) => {
      const at = RecordOffset.tuple + leg * TUPLE_SIZE;
      return Buffer.from(record.bytes.slice(at, at + TUPLE_SIZE));
    });
    const ref = Buffer.alloc(LEG_REF_SIZE);
    bpf().mapLookup(this.#maps.legs, this.#tuples[0], ref);
    this.#slot = ref.readUInt32LE(LegRefOffset.slot);
    const bytes = this.#slotBytes();
    encodeEntry(entry, bytes);
    const error = bpf().mapUpdate(this.#maps.entries, slotKey(this.#slot), bytes, 0n);
    if (error) throw callFailed('writing an entry', errno());
    this.#counters = this.#readCounters();
    return decodeEntry(bytes);
  }

  /** Puts these addresses under guard; whether it is up is set for itself. */
  guardAddresses(addresses: string[]): void {
    this.datapath.setGuard(addresses);
    for (const address of addresses) this.guard.addresses.add(text(address));
  }

  setFence(silent: boolean): void {
    this.datapath.answer(silent ? 'never' : 'always');
    this.guard.silent = silent;
  }

  setGuard(armed: boolean, draining: boolean): void {
    if (armed) this.datapath.guardArm();
    else this.datapath.guardRelease(-1);
    this.guard.untilNs = armed ? BigInt.asUintN(64, -1n) : 0n;
    this.datapath.setDraining(draining);
    this.guard.draining = draining;
  }

  /** Takes options, those of leg 0, out of SYNs to this address. */
  align(address: Address, port: number, options: number): void {
    const key = Buffer.alloc(20); // struct listen_key
    key.write(address, 0, 'hex');
    key.writeUInt16BE(port, 16);
    const error = bpf().mapUpdate(this.#maps.listeners, key, Buffer.of(options), 0n);
    if (error) throw callFailed('aligning an address', errno());
    this.aligned.set(`${address} ${port}`, options);
  }

  /**
   * One packet, as it would come in on, or leave by, the interface of a leg.
   * @param gsoSize not 0: a bundle of segments with so much payload each
   */
  run(program: 'ingress' | 'egress', leg: Leg, packet: Buffer, mark = 0, gsoSize = 0): Observed {
    for (const fd of this.#taps) this.#drain(fd);
    const liveBefore = this.#live();
    this.#context.writeUInt32LE(mark, SkBuff.mark);
    this.#context.writeUInt32LE(this.#ifindex[leg], SkBuff.ifindex);
    this.#context.writeUInt32LE(gsoSize && Math.ceil(packet.length / gsoSize), SkBuff.gsoSegs);
    this.#context.writeUInt32LE(gsoSize, SkBuff.gsoSize);
    const before = process.hrtime.bigint();
    const { verdict, outputLength } = runProgram(this.#programs[program], packet, {
      context: this.#context,
      output: this.#output,
    });
    const ns: [bigint, bigint] = [before, process.hrtime.bigint()];
    const copies = this.#taps.flatMap((fd) => this.#drain(fd));
    return {
      verdict: VERDICTS[verdict] ?? 'unknown',
      frame: Buffer.from(this.#output.subarray(0, outputLength)),
      copies,
      counts: this.#counted(),
      entry: this.#entry(),
      live: (this.#live() - liveBefore) | 0,
      ns,
    };
  }

  /** The verdict alone: for many packets, of which nothing is expected. */
  verdict(program: 'ingress' | 'egress', leg: Leg, packet: Buffer): Observed['verdict'] {
    this.#context.writeUInt32LE(0, SkBuff.mark);
    this.#context.writeUInt32LE(this.#ifindex[leg], SkBuff.ifindex);
    const { verdict } = runProgram(this.#programs[program], packet, { context: this.#context });
    return VERDICTS[verdict] ?? 'unknown';
  }

  /** What has been counted since it was asked last, and the table as it is now. */
  since(): { counts: Map<CounterName, number>; entry: Entry | undefined } {
    return { counts: this.#counted(), entry: this.#entry() };
  }

  #slotBytes(): Buffer {
    const bytes = Buffer.alloc(ENTRY_SIZE);
    const error = bpf().mapLookup(this.#maps.entries, slotKey(this.#slot), bytes);
    if (error) throw callFailed('reading an entry', errno());
    return bytes;
  }

  /** Gone means: by its slot and by both its addresses; anything between is a broken table. */
  #entry(): Entry | undefined {
    const bytes = this.#slotBytes();
    const id = bytes.readBigUInt64LE(RecordOffset.id);
    const ref = Buffer.alloc(LEG_REF_SIZE);
    const found = this.#tuples.map((tuple) => bpf().mapLookup(this.#maps.legs, tuple, ref) === 0);
    if (found[0] !== (id !== 0n) || found[1] !== (id !== 0n)) {
      throw new Error(`a broken table: id ${id}, legs found: ${found}`);
    }
    return id === 0n ? undefined : decodeEntry(bytes);
  }

  #readCounters(): number[] {
    const count = [COUNTERS.length];
    const opts = null;
    const error = lookupBatch(
      this.#maps.counters,
      null,
      this.#next,
      this.#keys,
      this.#values,
      count,
      opts,
    );
    if (error && errno() !== ENOENT) throw callFailed('reading the counters', errno());
    const cpus = bpf().possibleCpus();
    return COUNTERS.map((_, i) => {
      let sum = 0n;
      for (let cpu = 0; cpu < cpus; cpu++)
        sum += this.#values.readBigUInt64LE(8 * (i * cpus + cpu));
      return Number(sum);
    });
  }

  /** What has been counted since the last time; an event that found no room counts as one all the same. */
  #counted(): Map<CounterName, number> {
    const before = this.#counters;
    this.#counters = this.#readCounters();
    const counts = new Map<CounterName, number>();
    for (const [i, name] of COUNTERS.entries()) {
      const by = this.#counters[i] - before[i];
      const as = name === 'events_lost' ? 'events' : name;
      if (by !== 0) counts.set(as, (counts.get(as) ?? 0) + by);
    }
    return counts;
  }

  /** Live splices of the real server. */
  #live(): number {
    const count = Buffer.alloc(4);
    bpf().mapLookup(this.#maps.services, this.#service(), count);
    return count.readUInt32LE();
  }

  #service(): Buffer {
    const [client, server] = this.#tuples;
    const { saddr, daddr, sport, dport } = TupleOffset;
    const service = Buffer.alloc(SERVICE_SIZE);
    client.copy(service, ServiceOffset.vaddr, daddr, daddr + 16);
    server.copy(service, ServiceOffset.raddr, saddr, saddr + 16);
    client.copy(service, ServiceOffset.vport, dport, dport + 2);
    server.copy(service, ServiceOffset.rport, sport, sport + 2);
    return service;
  }

  #drain(fd: number): Buffer[] {
    const found: Buffer[] = [];
    for (;;) {
      const length = Number(libc.recv(fd, this.#tapped, this.#tapped.length, 0));
      if (length < 0) return found;
      // what the node says to its neighbours for itself, such as its multicast groups, is multicast
      if (this.#tapped[0] & 1) continue;
      found.push(Buffer.from(this.#tapped.subarray(0, length)));
    }
  }
}

function slotKey(slot: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(slot);
  return key;
}

/** A packet socket (packet(7)) that gets all that arrives at an interface. */
function tap(device: string): number {
  const fd: number = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  const address = Buffer.alloc(20); // struct sockaddr_ll
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(ETH_P_ALL, 2);
  address.writeUInt32LE(libc.ifNameToIndex(device), 4);
  if (fd < 0 || libc.bind(fd, address, address.length)) {
    throw new Error(`packet socket on ${device}: ${errnoName(errno())}`);
  }
  return fd;
}

/** What the table takes from user space; the rest is written over it. */
function recordOf({ id, tuple }: Entry): RecordView {
  const r = newRecord();
  r.id = id;
  r.incarnation = 1n;
  r.origin = r.owner = 1;
  r.epoch = r.generation = 1;
  r.remainingMs = TIMEOUTS.established * 1000;
  for (const leg of [0, 1] as const) {
    r.setState(leg, State.SPLICED);
    writeTuple(r.bytes, RecordOffset.tuple + leg * TUPLE_SIZE, tuple[leg]);
  }
  return r;
}

function writeTuple(bytes: Uint8Array, at: number, tuple: Tuple): void {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  view.write(tuple.far + tuple.near, at, 'hex');
  view.writeUInt16BE(tuple.farPort, at + TupleOffset.sport);
  view.writeUInt16BE(tuple.nearPort, at + TupleOffset.dport);
}
