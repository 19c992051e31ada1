/**
 * One node's splice datapath: the programs, their table and their settings. It lives in the kernel,
 * pinned; an object of this class is a handle on it that comes and goes.
 */
import { KernelError } from './error.js';
import { attachInterface, detachInterface, interfaceIndex } from './interfaces.js';
import { bpf, libc } from './native.js';
import { loadObject } from './object.js';
import {
  allPinned,
  checkCgroup,
  type MapName,
  makePinDirectory,
  mapInfo,
  openPin,
  type ProgramName,
  programPin,
  removePins,
} from './pins.js';
import {
  Counter,
  type CounterName,
  ENTRY_SIZE,
  MAILBOX_SIZE,
  Timeout,
  type TimeoutName,
  TUNABLES_SIZE,
  TunablesOffset,
} from './record/layout.js';
import { formatAddress, parseAddress } from './record/record.js';
import { type EventHandler, EventRing } from './ring.js';
import { mapArray, Table } from './table.js';

/** skb mark of translated packets on their way out. */
export const SPLICE_MARK = 0x53504c;
const SWEEP_MS = 1000;
const ARMED = 0xffffffffffffffffn;
const ADDRESS_SIZE = 16;

/** Seconds. RFC 9293 and the old tcp_splice sysctls stand behind most of them. */
export const DEFAULT_TIMEOUTS: Record<TimeoutName, number> = {
  close: 10,
  synsent: 60,
  synack: 60,
  established: 432000,
  finwait: 120,
  lastack: 60,
  timewait: 120,
  probe: 5,
};

export interface DatapathOptions {
  /** Directory on a bpf file system for the pins. */
  pinPath: string;
  /** cgroup v2 directory whose sockets may be spliced. */
  cgroup: string;
  /** Served interfaces of the present network namespace. */
  interfaces: string[];
  /** nodeId() of this node. */
  node: number;
  /** Splices that fit; fixed when the table is made. */
  tableSize: number;
  /** Seconds; DEFAULT_TIMEOUTS where not given. */
  timeouts?: Partial<Record<TimeoutName, number>>;
}

/** The start that pinned it was not cut off before the table was whole. */
function initialised(pinPath: string): boolean {
  const fd = openPin(pinPath, 'tunables');
  try {
    const tunables = Buffer.alloc(mapInfo(fd).valueSize);
    bpf().mapLookup(fd, Buffer.alloc(4), tunables);
    // of another version, all is different; that is found out, and said, when it is opened
    return tunables.length !== TUNABLES_SIZE || tunables.readUInt32LE(TunablesOffset.mark) !== 0;
  } finally {
    libc.close(fd);
  }
}

export class Datapath {
  /** The table was there before: an earlier process made it. */
  readonly adopted: boolean;
  readonly table: Table;
  readonly #options: DatapathOptions;
  readonly #tunables: DataView;
  readonly #maps = new Map<string, number>();

  private constructor(options: DatapathOptions, adopted: boolean) {
    this.#options = options;
    this.adopted = adopted;
    const entries = mapInfo(this.#map('entries'));
    if (
      entries.valueSize !== ENTRY_SIZE ||
      mapInfo(this.#map('mailbox')).valueSize !== MAILBOX_SIZE ||
      mapInfo(this.#map('tunables')).valueSize !== TUNABLES_SIZE ||
      mapInfo(this.#map('counters')).maxEntries !== Object.keys(Counter).length
    ) {
      throw new KernelError(
        'LAYOUT_CHANGED',
        `the table pinned in ${options.pinPath} is of another version; remove that directory (its ` +
          'splices end) and start again',
      );
    }
    this.#tunables = new DataView(mapArray(this.#map('tunables'), TUNABLES_SIZE));
    const mailbox = mapArray(this.#map('mailbox'), MAILBOX_SIZE);
    this.table = new Table(entries.maxEntries, this.#program('table_op'), mailbox);
  }

  /**
   * Adopt the datapath that is pinned under pinPath, or load one; then serve the interfaces. What the
   * options say about node, timeouts and interfaces holds in either case; tableSize only for a new one.
   * @throws KernelError
   */
  static async open(options: DatapathOptions): Promise<Datapath> {
    if (process.getuid?.() !== 0) {
      throw new KernelError('NOT_ROOT', 'the splice datapath needs root');
    }
    makePinDirectory(options.pinPath);
    checkCgroup(options.cgroup);
    for (const name of options.interfaces) interfaceIndex(name);
    const adopted = allPinned(options.pinPath) && initialised(options.pinPath);
    if (!adopted) {
      removePins(options.pinPath); // what a start that was cut off may have left
      makePinDirectory(options.pinPath);
      try {
        loadObject(options.pinPath, options.cgroup, options.tableSize);
      } catch (error) {
        removePins(options.pinPath);
        throw error;
      }
    }
    const datapath = new Datapath(options, adopted);
    if (!adopted) datapath.#initialise();
    datapath.#setTunable('node', options.node);
    datapath.setTimeouts(options.timeouts ?? {});
    datapath.serve(options.interfaces);
    return datapath;
  }

  /** Take the programs off the interfaces and end the table, with the splices in it. */
  static async unload(pinPath: string, interfaces: string[]): Promise<void> {
    for (const name of interfaces) detachInterface(name);
    removePins(pinPath);
  }

  #pin(name: string): number {
    let fd = this.#maps.get(name);
    if (fd === undefined) {
      fd = openPin(this.#options.pinPath, name);
      this.#maps.set(name, fd);
    }
    return fd;
  }

  #map(name: MapName): number {
    return this.#pin(name);
  }

  #program(name: ProgramName): number {
    return this.#pin(programPin(name));
  }

  #setTunable(name: keyof typeof TunablesOffset, value: number): void {
    this.#tunables.setUint32(TunablesOffset[name], value, true);
  }

  #initialise(): void {
    const microseconds = BigInt(Date.now()) * 1000n + ((process.hrtime.bigint() / 1000n) % 1000n);
    this.#tunables.setBigUint64(TunablesOffset.incarnation, microseconds, true);
    this.#setTunable('tableSize', this.table.size);
    this.#setTunable('sweepMs', SWEEP_MS);
    this.table.initialise();
    this.#setTunable('mark', SPLICE_MARK); // last: it says that the table is whole
  }

  /** Attach to these interfaces, in place of what an earlier version left there. */
  serve(interfaces: string[]): void {
    const programs = { ingress: this.#program('ingress'), egress: this.#program('egress') };
    for (const name of interfaces) attachInterface(name, programs);
  }

  /** Of the table, not of this process: microseconds of Unix time. */
  get incarnation(): bigint {
    return this.#tunables.getBigUint64(TunablesOffset.incarnation, true);
  }

  /** The highest epoch that this node has seen; new splices are born with it. */
  get epoch(): number {
    return this.#tunables.getUint32(TunablesOffset.epoch, true);
  }
  set epoch(epoch: number) {
    this.#setTunable('epoch', epoch);
  }

  /** Seconds per state; those not named get their default. */
  setTimeouts(timeouts: Partial<Record<TimeoutName, number>>): void {
    for (const [name, index] of Object.entries(Timeout) as [TimeoutName, number][]) {
      const seconds = timeouts[name] ?? DEFAULT_TIMEOUTS[name];
      const at = TunablesOffset.timeoutMs + 4 * index;
      this.#tunables.setUint32(at, Math.min(seconds * 1000, 0xffffffff), true);
    }
  }

  /** The virtual addresses, whose packets the guard may hold back. */
  setGuard(addresses: string[]): void {
    const map = this.#map('guard');
    const wanted = new Map(
      addresses.map((address) => {
        const key = Buffer.alloc(ADDRESS_SIZE);
        parseAddress(address, key);
        return [formatAddress(key), key];
      }),
    );
    const key = Buffer.alloc(ADDRESS_SIZE);
    const present: Buffer[] = [];
    let previous: Buffer | null = null;
    while (bpf().mapNextKey(map, previous, key) === 0) {
      previous = Buffer.from(key);
      present.push(previous);
    }
    for (const old of present) {
      if (!wanted.has(formatAddress(old))) bpf().mapDelete(map, old);
    }
    for (const address of wanted.values()) bpf().mapUpdate(map, address, Buffer.of(1), 0);
  }

  /** Hold back what belongs to no splice yet, until released. */
  guardArm(): void {
    this.#tunables.setBigUint64(TunablesOffset.guardUntilNs, ARMED, true);
  }

  /** Go on holding back for afterMs, then answer as the stack does. */
  guardRelease(afterMs: number): void {
    const until = process.hrtime.bigint() + BigInt(Math.round(afterMs * 1e6));
    this.#tunables.setBigUint64(TunablesOffset.guardUntilNs, until, true);
  }

  /** Drop new connections to the virtual addresses; their SYNs come again, to the next owner. */
  setDraining(on: boolean): void {
    this.#setTunable('draining', on ? 1 : 0);
  }

  /** One counter, over all processors. */
  counter(name: CounterName): number {
    const values = Buffer.alloc(8 * bpf().possibleCpus());
    const key = Buffer.alloc(4);
    key.writeUInt32LE(Counter[name]);
    bpf().mapLookup(this.#map('counters'), key, values);
    let sum = 0n;
    for (let at = 0; at < values.length; at += 8) sum += values.readBigUInt64LE(at);
    return Number(sum);
  }

  counters(): Record<CounterName, number> {
    const names = Object.keys(Counter) as CounterName[];
    return Object.fromEntries(names.map((name) => [name, this.counter(name)])) as Record<
      CounterName,
      number
    >;
  }

  /** Be the one consumer of the table's events. */
  watch(onEvents: EventHandler): { close(): void } {
    return new EventRing(this.#map('events'), () => this.counter('events_lost'), onEvents);
  }

  /** Let go of the descriptors; the datapath and its splices go on. */
  close(): void {
    for (const fd of this.#maps.values()) libc.close(fd);
    this.#maps.clear();
  }
}
