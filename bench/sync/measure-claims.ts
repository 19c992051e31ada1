// SPDX-License-Identifier: MIT
/**
 * What a takeover costs with hot standby, by the number of entries: `node --import tsx
 * bench/sync/measure-claims.ts [ENTRIES...]`, without any for 1,000, 100,000 and 1,000,000.
 * The owner's daemon is killed, and the address comes to the other node. Says when that node has announced it
 * and the first packet of a live flow has come through it, how long until all entries are its own, and the
 * longest turn of the daemon's event loop and the longest gap of the flow meanwhile. Needs root; all it makes
 * ends with it.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Datapath } from '../../kernel/datapath.js';
import { RECORD_SIZE, RecordOffset, TUPLE_SIZE, TupleOffset } from '../../kernel/record/layout.js';
import { Pair, until, VIRTUAL } from '../../test/daemon/pair.js';
import { exitOnSignals } from '../../test/lab/lab.js';
import { monotonicMs } from '../clock.js';
import { Helper } from '../helper.js';
import { Arrivals } from './arrivals.js';
import type { WireFunctions } from './wire.js';

const COUNTS = ['1000', '100000', '1000000'];
const TABLE_SIZE = 1_048_576;
const CHUNK = 20_000;
const PATIENCE_S = 120;
const SETTLE_MS = 2000;
const LOOK_MS = 5;
const MARK = 'MEASURED_ENTRIES';
const FLOW = { from: '10.8.0.10:20001', to: `${VIRTUAL}:80` };
const SERVER = '10.7.0.11';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Splices like this one, each with addresses of its own. */
function like(pattern: Uint8Array, first: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count * RECORD_SIZE);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    const at = i * RECORD_SIZE;
    const number = first + i;
    bytes.set(pattern, at);
    view.setBigUint64(at + RecordOffset.id, BigInt(number), true);
    const [client, server] = [0, 1].map((leg) => at + RecordOffset.tuple + leg * TUPLE_SIZE);
    // 10.16.0.0/12 and 10.32.0.0/12, so that none is the live one
    const block = number >> 14;
    const port = 1024 + (number & 0x3fff);
    bytes[client + TupleOffset.saddr + 13] = 16;
    view.setUint16(client + TupleOffset.saddr + 14, block);
    view.setUint16(client + TupleOffset.sport, port);
    bytes[server + TupleOffset.daddr + 13] = 32;
    view.setUint16(server + TupleOffset.daddr + 14, block);
    view.setUint16(server + TupleOffset.dport, port);
  }
  return bytes;
}

function configure(pair: Pair): void {
  for (const node of [pair.a, pair.b]) {
    node.configure((text) =>
      text
        .replace('PurgeTimeout 5', 'PurgeTimeout 5\n DisableExternalCache Yes')
        .replace('TableSize 4096', `TableSize ${TABLE_SIZE}`)
        .replace('HashLimit 4096', `HashLimit ${TABLE_SIZE}`),
    );
  }
}

async function cached(pair: Pair, which: RegExp): Promise<number> {
  const { sections } = await pair.b.call('stats', { what: 'cache' });
  return Object.entries(sections[0].values)
    .filter(([name]) => which.test(name))
    .reduce((sum, [, value]) => sum + Number(value), 0);
}

async function fill(pair: Pair, entries: number): Promise<void> {
  const { a } = pair;
  const datapath = await Datapath.open({
    pinPath: a.pinPath,
    cgroup: pair.lab.group(a.name),
    interfaces: [],
    node: a.id,
    tableSize: TABLE_SIZE,
  });
  const pattern = await a.born(1, 1, datapath);
  datapath.table.insert(pattern, { events: true });
  for (let made = 1; made < entries; made += CHUNK) {
    const records = like(pattern, made + 1, Math.min(CHUNK, entries - made));
    const refused = datapath.table.insert(records, { events: true }).filter((r) => r !== 0).length;
    if (refused > 0) throw new Error(`${refused} entries were refused`);
    await pause(LOOK_MS);
  }
  datapath.close();
  await until(`${entries} entries on the other node`, PATIENCE_S, async () => {
    return (await cached(pair, /^external .* records$/)) === entries;
  });
}

/** The network that the node's flow comes from and goes to. */
function surround(pair: Pair): string {
  const { lab, b } = pair;
  const link = (device: string) =>
    JSON.parse(lab.exec(b.name, 'ip', '-json', 'link', 'show', 'dev', device))[0].address as string;
  lab.ip(b.name, [
    'address add 10.7.0.1/24 dev eth0',
    `neighbour replace ${SERVER} lladdr ${link('peer0')} dev eth0`,
  ]);
  lab.exec(b.name, 'sysctl', '-q', '-w', 'net.ipv4.ip_forward=1');
  return link('eth0');
}

async function measure(entries: number): Promise<void> {
  const pair = new Pair();
  const { lab, a, b } = pair;
  const arrivals = new Arrivals(lab);
  try {
    configure(pair);
    const mac = surround(pair);
    await pair.start();
    await fill(pair, entries);
    await a.signal('SIGKILL', true);
    await until('the end of the owner is noticed', PATIENCE_S, async () => {
      return (await b.status())?.peers.every((peer) => peer.state === 'silent') === true;
    });
    await pause(SETTLE_MS);
    const wire = new Helper<WireFunctions>(lab, b.name, './sync/wire.ts');
    arrivals.start(b.pid, 0);
    const watched = wire.call('watch', {
      device: 'peer0',
      mac,
      line: `address add ${VIRTUAL}/24 dev eth0`,
      virtual: VIRTUAL,
      flow: FLOW,
      server: SERVER,
    });
    await until(
      'the claims',
      PATIENCE_S,
      async () => (await cached(pair, /^internal records$/)) > 0,
    );
    const began = monotonicMs();
    await until('all claims', PATIENCE_S, async () => {
      return (await cached(pair, /^internal records$/)) === entries;
    });
    const claimed = monotonicMs() - began;
    const { longestTurn, longestWork } = arrivals.stop();
    await wire.call('end');
    const { announced, firstPacket, longestGap, packets } = await watched;
    const shown = entries.toLocaleString('en').padStart(9);
    console.log(
      `${shown} entries: announced ${announced.toFixed(1)} ms and first packet ${firstPacket.toFixed(1)} ms after the ` +
        `address; longest gap of ${packets} packets ${longestGap.toFixed(1)} ms; all claimed in ${claimed.toFixed(0)} ms, ` +
        `longest turn ${longestTurn.toFixed(1)} ms, ${longestWork.toFixed(1)} ms of it on a processor`,
    );
  } finally {
    arrivals.close();
    pair.remove();
  }
}

/** A process for each number: nothing is left of the one before. */
function each(counts: readonly string[]): number {
  const file = fileURLToPath(import.meta.url);
  for (const count of counts) {
    const env = { ...process.env, [MARK]: count };
    const { status } = spawnSync(process.execPath, [...process.execArgv, file], {
      stdio: 'inherit',
      env,
    });
    if (status !== 0) return status ?? 1;
  }
  return 0;
}

const entries = process.env[MARK];
if (entries === undefined) {
  const named = process.argv.slice(2);
  process.exit(each(named.length > 0 ? named : COUNTS));
}
exitOnSignals();
await measure(Number(entries));
process.exit();
