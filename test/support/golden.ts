// SPDX-License-Identifier: MIT
/**
 * Golden packets: one goes in, and what comes out is compared with what was expected, byte by byte,
 * with checksums computed afresh. The datapath is the real one, run by BPF_PROG_TEST_RUN.
 *
 *   client                        the node                           server
 *   10.1.0.2:40001 ──── 10.1.0.100:80 │ 10.2.0.100:50001 ──── 10.2.0.11:8080
 *              leg 0, "front"              leg 1, "back"
 *
 * The numbers of the splice are such that one can do the sums in one's head:
 *
 *   a sequence number of the client's       1,000 is for the server    51,000
 *   a sequence number of the server's       7,000 is for the client   907,000
 *   a timestamp of the client's               100 is for the server    10,100
 *   a timestamp of the server's               500 is for the client    20,500
 *   the client's window is halved for the server, the server's is an eighth for the client
 */
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { Datapath } from '../../kernel/datapath.js';
import { libc } from '../../kernel/native.js';
import {
  type CounterName,
  EntryOffset,
  Flag,
  type FlagName,
  LiveOffset,
  Option,
  RECORD_SIZE,
  RecordOffset,
  State,
  type StateName,
} from '../../kernel/record/layout.js';
import { newRecord, RecordView, stateName } from '../../kernel/record/record.js';
import { cgroupRoot } from './cgroup.js';
import { run } from './isolate.js';
import { type Ends, segment } from './notation.js';
import { describe, ETHERNET, frame, NODE_MAC, type Segment } from './packet.js';
import { poke } from './poke.js';
import { Tap } from './tap.js';
import { testRun } from './test-run.js';

export const ENDS: Ends = {
  client: '10.1.0.2:40001',
  virtual: '10.1.0.100:80',
  proxy: '10.2.0.100:50001',
  server: '10.2.0.11:8080',
};
export const PIN_PATH = '/sys/fs/bpf/spliced';
const INTERFACES = ['front', 'back'];
const TABLE_SIZE = 64;
/** Octets that the far ends of a splice in the making have offered its sockets. */
const SOCKET_WINDOW = 65_536;
/** Of the next hops, and of the interfaces that the copies are caught on. */
const FAR_MAC = '02:00:00:00:00:20';
const VERDICTS = { stack: 0, drop: 2, forward: 7 } as const;

/** By leg, or by direction for the offsets. */
type Pair<T> = [T, T];

/** What differs from the splice described above. */
export interface GoldenEntry {
  states?: Pair<StateName>;
  seqD?: Pair<number>;
  tsvalD?: Pair<number>;
  wscaleIn?: Pair<number>;
  wscaleOut?: Pair<number>;
  timestamps?: Pair<boolean>;
  ecn?: Pair<boolean>;
  server?: string;
  idleMs?: number;
  remainingMs?: number;
  /**
   * A splice in the making, as only the kernel can leave it: states and flags at will, and what it
   * knows of the sockets that are still open. `copied`: the socket has had its last acknowledgement.
   */
  making?: {
    states: Pair<StateName>;
    flags: FlagName[];
    ownEnd: Pair<number>;
    localNext: Pair<number>;
    tsSent?: Pair<number>;
    copied?: Pair<boolean>;
  };
}

export interface GoldenStep {
  program?: 'ingress' | 'egress';
  /** In the notation of notation.ts, or as an object. */
  in: string | Segment;
  /** What comes out; without it, the packet as it went in. Not compared when it is dropped. */
  out?: string | Segment;
  /** A second packet, sent beside the one that comes out; without it, there must be none. */
  copy?: string;
  /** The answer goes back to where the packet came from. */
  swapsMacs?: boolean;
  /** Default: forward when `out` is given, else stack. */
  verdict?: keyof typeof VERDICTS;
  /** Mark of the packet as it goes in. */
  mark?: number;
  /** Counters that must go up by one each. */
  counts?: CounterName[];
  /** States of the legs afterwards, or `gone`. */
  states?: Pair<StateName> | 'gone';
  remainingMsMin?: number;
  remainingMsMax?: number;
}

export type GoldenCase = { title: string; entry?: GoldenEntry } & (
  | GoldenStep
  | { steps: GoldenStep[] }
);

/** A datapath of its own on two interfaces, in the namespaces of the calling process. */
export class Golden {
  static async open(tableSize = TABLE_SIZE): Promise<Golden> {
    for (const [name, address, end] of [
      ['front', '10.1.0.100/24', '10.1.0.2'],
      ['back', '10.2.0.100/24', '10.2.0.11'],
    ]) {
      run('ip', 'link', 'add', name, 'address', NODE_MAC, 'type', 'veth', 'peer', `${name}-far`);
      run('ip', 'address', 'add', address, 'dev', name);
      run('ip', 'link', 'set', name, 'up');
      run('ip', 'link', 'set', `${name}-far`, 'address', FAR_MAC, 'up');
      run('ip', 'neighbour', 'add', end, 'lladdr', FAR_MAC, 'dev', name);
      writeFileSync(`/proc/sys/net/ipv4/conf/${name}/forwarding`, '1');
    }
    const cgroup = `${cgroupRoot()}/spliced-golden-${process.pid}`;
    mkdirSync(cgroup);
    // all else goes with the namespaces; this must go even if the test is ended at its deadline
    process.once('exit', () => rmdirSync(cgroup));
    process.once('SIGTERM', () => process.exit(1));
    const options = {
      pinPath: PIN_PATH,
      cgroup,
      interfaces: INTERFACES,
      node: 1,
      tableSize,
    };
    const datapath = await Datapath.open(options);
    return new Golden(datapath, [new Tap('front-far'), new Tap('back-far')]);
  }

  private constructor(
    readonly datapath: Datapath,
    private readonly taps: Tap[],
  ) {}

  async close(): Promise<void> {
    for (const tap of this.taps) tap.close();
    this.datapath.close();
    await Datapath.unload(PIN_PATH, INTERFACES);
  }

  /** Sets the table to the one splice of the case, and takes it through its steps. */
  check(one: GoldenCase): void {
    this.reset(one.entry);
    const steps = 'steps' in one ? one.steps : [one];
    for (const [at, step] of steps.entries()) {
      this.step({ ...step, title: steps.length > 1 ? `${one.title}, step ${at + 1}` : one.title });
    }
  }

  /** Sets the table to one splice. */
  reset(entry: GoldenEntry = {}): void {
    this.datapath.table.flush();
    const results = this.datapath.table.insert(record(entry));
    assert.equal([...results], [0], 'the splice could not be inserted');
    const { making } = entry;
    if (making) poke(PIN_PATH, TABLE_SIZE, (bytes) => make(bytes, making));
  }

  /** The splice's last packet comes, by the other processor's clock, so much later than now. */
  stampAhead(ms: number): void {
    const stamp = process.hrtime.bigint() + BigInt(ms) * 1_000_000n;
    poke(PIN_PATH, TABLE_SIZE, (bytes) =>
      bytes.writeBigUInt64LE(stamp, EntryOffset.live + LiveOffset.lastSeenNs),
    );
  }

  /** One packet, on the table as it is. */
  step(step: GoldenStep & { title: string }): void {
    const { title } = step;
    const sent = read(step.in);
    const wanted = step.verdict ?? (step.out ? 'forward' : 'stack');
    const input = frame(sent);
    const before = this.datapath.counters();
    for (const tap of this.taps) tap.frames();
    const { verdict, output } = testRun(`${PIN_PATH}/prog_${step.program ?? 'ingress'}`, input, {
      mark: step.mark ?? 0,
      ifindex: libc.ifNameToIndex(sent.from.startsWith('10.1.') ? 'front' : 'back'),
    });
    const after = this.datapath.counters();

    const name = Object.entries(VERDICTS).find(([, value]) => value === verdict)?.[0] ?? verdict;
    assert.is(name, wanted, `${title}: verdict`);
    if (wanted !== 'drop') {
      const expected = step.out ? frame(read(step.out)) : input;
      if (step.swapsMacs)
        Buffer.concat([input.subarray(6, 12), input.subarray(0, 6)]).copy(expected);
      assert.is(describe(output), describe(expected), title);
      // the socket's share keeps the copy's Ethernet header, which nobody reads any more
      const from = step.copy ? ETHERNET : 0;
      const [got, want] = [output, expected].map((bytes) => bytes.toString('hex', from));
      assert.is(got, want, `${title}: bytes`);
    }
    const copies = this.taps.flatMap((tap) => tap.frames());
    const expectedCopies = step.copy ? [frame({ ...segment(step.copy, ENDS), mac: FAR_MAC })] : [];
    for (const copy of expectedCopies)
      Buffer.from(NODE_MAC.replaceAll(':', ''), 'hex').copy(copy, 6);
    assert.equal(copies.map(describe), expectedCopies.map(describe), `${title}: copies sent`);
    assert.equal(copies, expectedCopies, `${title}: bytes of the copies sent`);
    for (const counter of step.counts ?? []) {
      assert.is(Number(after[counter] - before[counter]), 1, `${title}: counter ${counter}`);
    }
    this.checkEntry(step, title);
  }

  private checkEntry(step: GoldenStep, title: string): void {
    const left = Buffer.concat([...this.datapath.table.dump()]);
    if (step.states === 'gone') {
      assert.is(left.length, 0, `${title}: the entry is still there`);
      return;
    }
    assert.is(left.length, RECORD_SIZE, `${title}: the entry is gone`);
    const r = new RecordView(left);
    if (step.states) {
      assert.equal([stateName(r.state(0)), stateName(r.state(1))], step.states, `${title}: states`);
    }
    const { remainingMsMin = 0, remainingMsMax = Number.POSITIVE_INFINITY } = step;
    assert.ok(
      r.remainingMs >= remainingMsMin && r.remainingMs <= remainingMsMax,
      `${title}: expires in ${r.remainingMs} ms`,
    );
  }
}

function read(packet: string | Segment): Segment {
  return typeof packet === 'string' ? segment(packet, ENDS) : packet;
}

function record(entry: GoldenEntry): Uint8Array {
  const r = newRecord();
  const timestamps = entry.timestamps ?? [true, true];
  r.id = 1n;
  r.incarnation = 1n;
  r.origin = r.owner = 1;
  r.epoch = r.generation = 1;
  r.idleMs = entry.idleMs ?? 0;
  r.remainingMs = entry.remainingMs ?? 3_600_000;
  r.flags = Flag.ACKED0 | Flag.ACKED1;
  r.options = Option.SACK0 | Option.SACK1;
  if (timestamps[0]) r.options |= Option.TS0;
  if (timestamps[1]) r.options |= Option.TS1;
  const ecn = entry.ecn ?? [true, true];
  if (ecn[0]) r.options |= Option.ECN0;
  if (ecn[1]) r.options |= Option.ECN1;
  for (const [leg, far, near] of [
    [0, ENDS.client, ENDS.virtual],
    [1, entry.server ?? ENDS.server, ENDS.proxy],
  ] as const) {
    const tuple = r.tuple(leg);
    const [source, sourcePort] = far.split(':');
    const [destination, destinationPort] = near.split(':');
    Object.assign(tuple, { source, destination });
    tuple.sourcePort = Number(sourcePort);
    tuple.destinationPort = Number(destinationPort);
    r.setState(leg, State[(entry.states ?? ['SPLICED', 'SPLICED'])[leg]]);
    r.setSeqDelta(leg, (entry.seqD ?? [50_000, 900_000])[leg]);
    r.setTsvalDelta(leg, (entry.tsvalD ?? [10_000, 20_000])[leg]);
    r.setBase(leg, [1_000, 7_000][leg]);
    r.setWscaleIn(leg, (entry.wscaleIn ?? [7, 6])[leg]);
    r.setWscaleOut(leg, (entry.wscaleOut ?? [9, 8])[leg]);
    r.setMss(leg, 1460);
  }
  return r.bytes;
}

function make(entry: Buffer, making: NonNullable<GoldenEntry['making']>): void {
  const { states, flags, ownEnd, localNext, tsSent = [0, 0], copied = [false, false] } = making;
  const bits = flags.reduce((sum, name) => sum | Flag[name], 0);
  const at = EntryOffset.live;
  entry.writeUInt16LE(bits, RecordOffset.flags);
  for (const leg of [0, 1]) {
    entry[RecordOffset.state + leg] = State[states[leg]];
    entry.writeUInt32LE(ownEnd[leg], at + LiveOffset.ownEnd + 4 * leg);
    entry.writeUInt32LE(localNext[leg], at + LiveOffset.localNext + 4 * leg);
    entry.writeUInt32LE(tsSent[leg], at + LiveOffset.tsSent + 4 * leg);
    // as the kernel leaves it: what was said last is what the sockets said
    entry.writeUInt32LE(localNext[leg], at + LiveOffset.seenEnd + 4 * leg);
    entry.writeUInt32LE(ownEnd[leg], at + LiveOffset.seenAck + 4 * leg);
    entry.writeUInt32LE(SOCKET_WINDOW, at + LiveOffset.seenWindow + 4 * leg);
    entry[at + LiveOffset.seen + leg] = 1;
  }
  entry[at + LiveOffset.copied] = (copied[0] ? 1 : 0) | (copied[1] ? 2 : 0);
}
