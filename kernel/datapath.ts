/**
 * One node's splice datapath: the programs, their table and their settings. It lives in the kernel,
 * pinned; an object of this class is a handle on it that comes and goes.
 */
import { BATCHES_SIZE } from './batch.js';
import { KernelError } from './error.js';
import { attachInterface, detachInterface, interfaceIndex } from './interfaces.js';
import { bpf, libc } from './native.js';
import { keepCgroup, SpliceObject } from './object.js';
import {
  allPinned,
  checkCgroup,
  clearPins,
  lockPins,
  makePinDirectory,
  mapInfo,
  mapPin,
  openPin,
  Pins,
  removePins,
} from './pins.js';
import {
  Counter,
  type CounterName,
  MAILBOX_SIZE,
  Timeout,
  type TimeoutName,
  TUNABLES_SIZE,
  TunablesOffset,
} from './record/layout.js';
import { formatAddress, parseAddress } from './record/record.js';
import { type EventHandler, EventRing } from './ring.js';
import { MappedArray, Table } from './table.js';
import {
  mapsToReplace,
  recover,
  type UpgradeReport,
  type UpgradeStep,
  upgrade,
} from './upgrade.js';

/** skb mark of translated packets on their way out. */
export const SPLICE_MARK = 0x53504c;
const SWEEP_MS = 1000;
const ARMED = 0xffffffffffffffffn;
const ADDRESS_SIZE = 16;
/** The datapath keeps 16 bits of the time at which a wait began. */
const DEFER_MS_MAX = 60_000;

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
  /** Splices that fit. A table of another size is copied into one of this; see resize(). */
  tableSize: number;
  /** Seconds; DEFAULT_TIMEOUTS where not given. */
  timeouts?: Partial<Record<TimeoutName, number>>;
  /** Path of other compiled programs than those of this version. */
  object?: string;
  /** Told how far an upgrade has come. */
  upgradeStep?: (step: UpgradeStep) => void;
}

/** The start that pinned it was not cut off before the table was whole. */
function initialised(pinPath: string): boolean {
  const fd = openPin(pinPath, 'tunables');
  try {
    const tunables = Buffer.alloc(mapInfo(fd).valueSize);
    bpf().mapLookup(fd, Buffer.alloc(4), tunables);
    // of another version, all is different; what has become of its table is found out later
    return tunables.length !== TUNABLES_SIZE || tunables.readUInt32LE(TunablesOffset.mark) !== 0;
  } finally {
    libc.close(fd);
  }
}

/** Load the programs, with a table of their own, and pin everything. */
async function load(object: SpliceObject, options: DatapathOptions): Promise<void> {
  clearPins(options.pinPath); // what a start that was cut off may have left
  try {
    await object.load();
    object.pin(options.pinPath, object.maps);
    object.attachCgroup(options.pinPath, options.cgroup);
  } catch (error) {
    clearPins(options.pinPath);
    throw error;
  }
}

/** See Datapath.answer(). */
export type Answering = 'always' | 'never' | { readonly forMs: number };

export class Datapath {
  /** The table was there before: an earlier process made it. */
  readonly adopted: boolean;
  readonly table = new Table();
  /** The last time that other programs or another table took over, by this object's doing. */
  upgraded: UpgradeReport | undefined;
  #options: DatapathOptions;
  #pins: Pins;
  #mailbox: MappedArray | undefined;
  #batches: MappedArray | undefined;
  #mapped: MappedArray | undefined;
  #upgrading: Promise<unknown> = Promise.resolve();

  private constructor(options: DatapathOptions, adopted: boolean) {
    this.#options = options;
    this.adopted = adopted;
    this.#pins = new Pins(options.pinPath);
  }

  /**
   * Adopt the datapath that is pinned under pinPath, or load one; then serve the interfaces. What the
   * options say holds in either case. Where the pinned programs are of another version, those of this
   * one take over, with the table as it is if they can, else with a copy of it; its splices go on.
   * @throws KernelError
   */
  static async open(options: DatapathOptions): Promise<Datapath> {
    if (process.getuid?.() !== 0) {
      throw new KernelError('NOT_ROOT', 'the splice datapath needs root');
    }
    makePinDirectory(options.pinPath);
    checkCgroup(options.cgroup);
    for (const name of options.interfaces) interfaceIndex(name);
    const unlock = await lockPins(options.pinPath);
    try {
      const adopted = allPinned(options.pinPath) && initialised(options.pinPath);
      const datapath = new Datapath(options, adopted);
      if (adopted) await datapath.#adopt();
      else await datapath.#load();
      datapath.#setTunable('node', options.node);
      datapath.setTimeouts(options.timeouts ?? {});
      datapath.serve(options.interfaces);
      return datapath;
    } finally {
      unlock();
    }
  }

  /** Take the programs off the interfaces and end the table, with the splices in it. */
  static async unload(pinPath: string, interfaces: string[]): Promise<void> {
    for (const name of interfaces) detachInterface(name);
    removePins(pinPath);
  }

  /** Work with what these pins lead to. */
  #use(pins: Pins = this.#pins): void {
    const mapped = [this.#mailbox, this.#batches, this.#mapped];
    const before = this.#pins;
    this.#pins = pins;
    this.#mapped = new MappedArray(pins.map('tunables'), TUNABLES_SIZE);
    this.#mailbox = new MappedArray(pins.map('mailbox'), MAILBOX_SIZE);
    const { maxEntries } = mapInfo(pins.map('entries'));
    this.#batches = new MappedArray(pins.get(mapPin('batches')), BATCHES_SIZE);
    this.table.use(maxEntries, pins.program('table_op'), this.#mailbox, this.#batches);
    if (before !== pins) before.close();
    for (const old of mapped) old?.close();
  }

  async #load(): Promise<void> {
    const object = new SpliceObject(this.#options.tableSize, this.#options.object);
    try {
      await load(object, this.#options);
      this.#use();
      this.#initialise(object.id);
    } finally {
      object.close();
    }
  }

  async #adopt(): Promise<void> {
    await recover(this.#options);
    await this.#become(this.#options.tableSize);
    keepCgroup(this.#pins, this.#options.pinPath, this.#options.cgroup);
  }

  /** Let this version's programs, and a table of this size, take over if others are pinned. */
  async #become(tableSize: number): Promise<void> {
    const object = new SpliceObject(tableSize, this.#options.object);
    try {
      if (mapsToReplace(object, this.#pins).length === 0) {
        this.#use();
        if (this.#tunables.getBigUint64(TunablesOffset.objectId, true) === object.id) return;
      }
      const switched = (pins: Pins): void => this.#use(pins);
      this.upgraded = await upgrade(object, { ...this.#options, switched });
    } finally {
      object.close();
    }
  }

  /**
   * Change the size of the table while its splices go on: its entries are copied, so both have to fit
   * into memory for the while.
   * @throws KernelError TABLE_TOO_SMALL when there are more splices, TABLE_TOO_LARGE when there is no
   *   memory for it; then all is as it was
   */
  async resize(tableSize: number): Promise<void> {
    const turn = this.#upgrading.then(async () => {
      if (tableSize === this.table.size) return;
      const unlock = await lockPins(this.#options.pinPath);
      try {
        if (await recover(this.#options)) this.#use(new Pins(this.#options.pinPath));
        await this.#become(tableSize);
      } finally {
        unlock();
      }
    });
    this.#upgrading = turn.catch(() => undefined);
    await turn;
  }

  get #tunables(): DataView {
    if (!this.#mapped) throw new RangeError('the datapath is not open');
    return this.#mapped.view;
  }

  #setTunable(name: keyof typeof TunablesOffset, value: number): void {
    this.#tunables.setUint32(TunablesOffset[name], value, true);
  }

  #initialise(object: bigint): void {
    const microseconds = BigInt(Date.now()) * 1000n + ((process.hrtime.bigint() / 1000n) % 1000n);
    this.#tunables.setBigUint64(TunablesOffset.incarnation, microseconds, true);
    this.#setTunable('tableSize', this.table.size);
    this.#setTunable('sweepMs', SWEEP_MS);
    this.table.initialise();
    this.#tunables.setBigUint64(TunablesOffset.objectId, object, true);
    this.#setTunable('mark', SPLICE_MARK); // last: it says that the table is whole
  }

  /** Attach to these interfaces, in place of what an earlier version left there. */
  serve(interfaces: string[]): void {
    this.#options = { ...this.#options, interfaces };
    const programs = {
      ingress: this.#pins.program('ingress'),
      egress: this.#pins.program('egress'),
    };
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

  /** What goes to the kernel's trace pipe: 0 nothing, 1 drops, 2 and changes of state, 3 and packets. */
  get debugLevel(): number {
    return this.#tunables.getUint32(TunablesOffset.debugLevel, true);
  }
  set debugLevel(level: number) {
    this.#setTunable('debugLevel', level);
  }

  /**
   * How long the last commit of a splice waits for Table.confirm(), in milliseconds; 0: not at all. It goes
   * on without when that time is over.
   */
  get deferMs(): number {
    return this.#tunables.getUint32(TunablesOffset.deferMs, true);
  }
  set deferMs(ms: number) {
    this.#setTunable('deferMs', Math.min(Math.ceil(ms), DEFER_MS_MAX));
  }

  /**
   * After so many milliseconds without a packet an entry that is held for another node goes; 0: when that
   * node says so.
   */
  get standbyMs(): number {
    return this.#tunables.getUint32(TunablesOffset.standbyMs, true);
  }
  set standbyMs(ms: number) {
    this.#setTunable('standbyMs', Math.min(Math.ceil(ms), 0xffffffff));
  }

  /** This node takes over now: what it has seen of flows while others owned them is out of date. */
  takenOver(): void {
    this.#tunables.setBigUint64(TunablesOffset.takenNs, process.hrtime.bigint(), true);
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
    const map = this.#pins.map('guard');
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

  /**
   * Whether this node answers for the addresses of setGuard() and sends from them: ARP and neighbour
   * discovery, the stack's packets, new connections. Splices are translated in any case.
   * @param how `forMs`: until so much time is over, by the clock of the kernel, and then not at all
   */
  answer(how: Answering): void {
    const until =
      how === 'always'
        ? 0n
        : how === 'never'
          ? 1n
          : process.hrtime.bigint() + BigInt(Math.round(how.forMs * 1e6));
    this.#tunables.setBigUint64(TunablesOffset.answerUntilNs, until, true);
  }

  /** As it is now: outlives the process that has said it. */
  get answering(): Answering {
    const until = this.#tunables.getBigUint64(TunablesOffset.answerUntilNs, true);
    if (until === 0n) return 'always';
    const left = Number(until - process.hrtime.bigint()) / 1e6;
    return left > 0 ? { forMs: left } : 'never';
  }

  /** One counter, over all processors. */
  counter(name: CounterName): number {
    const values = Buffer.alloc(8 * bpf().possibleCpus());
    const key = Buffer.alloc(4);
    key.writeUInt32LE(Counter[name]);
    bpf().mapLookup(this.#pins.map('counters'), key, values);
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
  watch(onEvents: EventHandler): EventRing {
    return new EventRing(this.#pins.map('events'), () => this.counter('events_lost'), onEvents);
  }

  /** Let go of the descriptors; the datapath and its splices go on. */
  close(): void {
    this.#pins.close();
  }
}
