// Two real daemons, each in a network namespace with pins and a cgroup of its own.
//
//   namespace a                       namespace b
//   eth0  veth, served                eth0  veth, served
//   eth2  10.9.0.1 ── veth, link ── eth2  10.9.0.2
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { call } from '../../daemon/control/index.js';
import type { Result, StatusResult, Verb, Verbs } from '../../daemon/control/protocol.js';
import { Datapath } from '../../kernel/datapath.js';
import { COUNTED_SIZE } from '../../kernel/record/counted.js';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import { newRecord, nodeId, RecordView } from '../../kernel/record/record.js';
import { command, Lab } from '../lab/lab.js';

const MAIN = fileURLToPath(new URL('../../daemon/main.ts', import.meta.url));
export const VIRTUAL = '10.8.0.100';
export const VIRTUAL6 = 'fd00:8::100';

/** Waits for a condition, and throws when it does not come. */
export async function until(
  what: string,
  seconds: number,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export class Node {
  readonly config: string;
  readonly socket: string;
  readonly pinPath: string;
  readonly trackFile: string;
  readonly id: number;
  private process: ChildProcess | undefined;
  private datapath: Datapath | undefined;

  constructor(
    readonly lab: Lab,
    readonly name: string,
    readonly address: string,
  ) {
    this.id = nodeId(name);
    this.socket = lab.path(name, 'ctl');
    this.pinPath = join(lab.mount('bpf', `${name}-bpf`), 'spliced');
    this.trackFile = lab.path(name, 'track');
    this.config = this.configure();
  }

  /** Writes the configuration anew, altered by `edit`; returns its path. */
  configure(edit: (text: string) => string = (text) => text): string {
    return this.lab.write(
      join(this.name, 'spliced.conf'),
      edit(`Sync {
  Mode FTFW { PurgeTimeout 5 }
  Multicast { IPv4_address 225.0.0.50 Group 3780 Interface eth2 IPv4_interface ${this.address} }
}
Kernel {
  Interface eth0
  TableSize 4096
  Timeouts { probe 1h }
  PinPath ${this.pinPath}
  Cgroup ${this.lab.group(this.name)}
}
General { NodeName ${this.name} HashLimit 4096 UNIX { Path ${this.socket} } }
Failover {
  VirtualAddress ${VIRTUAL} dev eth0
  VirtualAddress ${VIRTUAL6}
  GuardTimeout 2
  TrackFile ${this.trackFile}
}
`),
    );
  }

  start(): void {
    const argv = [process.execPath, '--import', 'tsx', MAIN, '-C', this.config];
    const out = openSync(this.logFile, 'a');
    this.process = this.lab.spawn(this.name, argv, { stdio: ['ignore', out, out] });
    closeSync(out);
  }

  get pid(): number {
    return this.process?.pid ?? Number.NaN;
  }

  get logFile(): string {
    return this.lab.path(this.name, 'log');
  }

  get log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  async signal(signal: NodeJS.Signals, ends: boolean): Promise<number | null> {
    const child = this.process as ChildProcess;
    const ended = ends
      ? new Promise<number | null>((resolve) => child.once('exit', resolve))
      : null;
    child.kill(signal);
    return ended;
  }

  call<V extends Verb>(verb: V, args: Verbs[V]['args']): Promise<Result<V>> {
    return call(this.socket, verb, args);
  }

  async status(): Promise<StatusResult | undefined> {
    try {
      return await call(this.socket, 'status', {}, {}, { idleMs: 2000 });
    } catch {
      return undefined;
    }
  }

  /** It answers. */
  async serves(): Promise<void> {
    const answers = async (): Promise<boolean> => (await this.status()) !== undefined;
    await until(`${this.name} serves: ${this.logFile}`, 40, answers);
  }

  /** It answers, and has heard what there is to hear. */
  async ready(): Promise<void> {
    await until(`${this.name} is in sync: ${this.logFile}`, 40, async () => {
      return (await this.status())?.in_sync === true;
    });
  }

  async dump(what: 'internal' | 'external' | 'kernel'): Promise<RecordView[]> {
    const records: RecordView[] = [];
    const take =
      (size: number) =>
      (bytes: Uint8Array): void => {
        for (let at = 0; at < bytes.length; at += size) {
          records.push(new RecordView(bytes.slice(at, at + RECORD_SIZE)));
        }
      };
    const listener = { records: take(RECORD_SIZE), counted: take(COUNTED_SIZE) };
    await call(this.socket, 'dump', { what }, listener);
    return records;
  }

  /** The node's kernel table, opened beside its daemon, as a proxy would have it. */
  async table(): Promise<Datapath> {
    this.datapath ??= await Datapath.open({
      pinPath: this.pinPath,
      cgroup: this.lab.group(this.name),
      interfaces: [],
      node: this.id,
      tableSize: 4096,
    });
    return this.datapath;
  }

  /** The same, where another process has changed the size of the table meanwhile. */
  reopened(): Promise<Datapath> {
    this.close();
    return this.table();
  }

  /** Records of splices that could have been born on this node; client ports count up from 20000. */
  async born(count: number, firstId: number, table?: Datapath): Promise<Uint8Array> {
    const { incarnation } = table ?? (await this.table());
    const bytes = new Uint8Array(count * RECORD_SIZE);
    for (let i = 0; i < count; i++) {
      const record = newRecord();
      record.id = BigInt(firstId + i);
      record.incarnation = incarnation;
      record.origin = this.id;
      record.owner = this.id;
      record.epoch = 1;
      record.generation = 1;
      record.remainingMs = 432_000_000;
      for (const leg of [0, 1] as const) {
        record.setState(leg, 3);
        const tuple = record.tuple(leg);
        tuple.source = leg === 0 ? '10.8.0.10' : '10.7.0.11';
        tuple.destination = leg === 0 ? VIRTUAL : '10.7.0.100';
        tuple.sourcePort = leg === 0 ? 20000 + firstId + i : 80;
        tuple.destinationPort = leg === 0 ? 80 : 20000 + firstId + i;
      }
      bytes.set(record.bytes, i * RECORD_SIZE);
    }
    return bytes;
  }

  close(): void {
    this.datapath?.close();
    this.datapath = undefined;
  }
}

export class Pair {
  readonly lab = new Lab();
  readonly a: Node;
  readonly b: Node;

  constructor() {
    const { lab } = this;
    const [a, b] = [lab.namespace('a'), lab.namespace('b')];
    for (const name of [a, b]) command('ip', ['netns', 'add', name]);
    command('ip', ['-n', a, 'link', 'add', 'eth2', 'type', 'veth', 'peer', 'eth2', 'netns', b]);
    for (const [node, address] of [
      ['a', '10.9.0.1'],
      ['b', '10.9.0.2'],
    ] as const) {
      lab.ip(node, [
        'link set lo up',
        'link add eth0 type veth peer name peer0',
        'link set peer0 up',
        'link set eth0 up',
        'address add 10.8.0.1/24 dev eth0',
        `address add ${address}/24 dev eth2`,
        'link set eth2 up',
      ]);
    }
    this.a = new Node(lab, 'a', '10.9.0.1');
    this.b = new Node(lab, 'b', '10.9.0.2');
  }

  async start(): Promise<void> {
    this.a.start();
    this.b.start();
    await Promise.all([this.a.ready(), this.b.ready()]);
  }

  /** Waits for a condition, for as long as a machine with much to do may take. */
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    return until(what, 15, holds);
  }

  remove(): void {
    this.a.close();
    this.b.close();
    this.lab.remove();
  }
}
