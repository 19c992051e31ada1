// SPDX-License-Identifier: MIT
/**
 * What it costs to exchange programs and table with so many splices in it: `ENTRIES=1000000 node --import tsx
 * test/kernel/upgrade/measure.ts`.
 * A client and a server send one octet to and fro over a splice all the while; the longest time that
 * one takes is compared with that of the second before. Needs root; all it makes ends with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../../kernel/connect.js';
import { Datapath } from '../../../kernel/datapath.js';
import { listen } from '../../../kernel/listen.js';
import { RECORD_SIZE, State } from '../../../kernel/record/layout.js';
import { newRecord } from '../../../kernel/record/record.js';
import { splice } from '../../../kernel/splice.js';
import { isolate } from '../../support/isolate.js';
import { TwoLegs } from '../two-legs.js';
import { Traffic } from './traffic.js';
import { otherObject } from './variant.js';

isolate(import.meta.url);

const entries = Number(process.env.ENTRIES ?? 1_000_000);
const size = 2 ** Math.ceil(Math.log2(entries + 1000));
const CHUNK = 10_000;
const ECHO = `require('net').createServer((s) => { s.setNoDelay(true); s.pipe(s); }).listen(9001, '10.2.0.2')`;
/** Tells, whenever a line comes in, the longest round trip since the last one, and how many there were. */
const PING = `
const s = require('net').connect(81, '10.1.0.100');
s.setNoDelay(true);
let sent, longest = 0, count = 0;
const ping = () => { sent = performance.now(); s.write('x'); };
s.on('data', () => {
  longest = Math.max(longest, performance.now() - sent);
  count++;
  setTimeout(ping, 0);
});
s.on('connect', ping);
s.on('close', () => console.log('closed'));
process.stdin.on('data', () => { console.log(longest.toFixed(1) + ' ms of ' + count); longest = count = 0; });
`;

const legs = new TwoLegs();
const directory = mkdtempSync(join(tmpdir(), 'spliced-objects-'));
const children: ChildProcess[] = [];

function inside(end: 'client' | 'server', script: string): ChildProcess {
  const program = [`--net=${legs.namespace(end)}`, process.execPath, '-e', script];
  const child = spawn('nsenter', program, { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  return child;
}

/** Records of splices between addresses that nobody has. */
function* records(): Generator<Uint8Array> {
  const record = newRecord();
  record.incarnation = legs.datapath.incarnation - 1n;
  record.origin = record.owner = record.epoch = record.generation = 1;
  record.remainingMs = 3_600_000;
  for (const leg of [0, 1] as const) record.setState(leg, State.SPLICED);
  for (let first = 0; first < entries; first += CHUNK) {
    const count = Math.min(CHUNK, entries - first);
    const chunk = new Uint8Array(count * RECORD_SIZE);
    for (let i = 0; i < count; i++) {
      const n = first + i;
      record.id = BigInt(n + 1);
      for (const leg of [0, 1] as const) {
        const tuple = record.tuple(leg);
        tuple.source = `10.${100 + leg}.${(n >> 16) & 255}.1`;
        tuple.destination = `10.${110 + leg}.0.1`;
        tuple.sourcePort = n & 0xffff;
        tuple.destinationPort = 80 + leg;
      }
      chunk.set(record.bytes, i * RECORD_SIZE);
    }
    yield chunk;
  }
}

async function measure(what: string, ping: ChildProcess, run: () => Promise<void>): Promise<void> {
  const longest = async (): Promise<string> => {
    ping.stdin?.write('\n');
    const [line] = (await once(ping.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
    return line.toString().trim();
  };
  await longest();
  await sleep(1000);
  const before = await longest();
  await run();
  const during = await longest();
  const report = legs.datapath.upgraded;
  const figures = report
    ? `${report.totalMs.toFixed(0)} ms, frozen ${report.frozenMs.toFixed(1)} ms, copied ${report.copied}`
    : 'nothing done';
  console.log(`${what}: ${figures}; longest round trip ${during} (the second before: ${before})`);
}

try {
  await legs.start();
  const proxy = createServer({ allowHalfOpen: true }, (client) => {
    client.once('data', async (toServer) => {
      client.pause();
      const to = { address: '10.2.0.2', port: 9001, source: '10.2.0.100' };
      const server = await connect({ ...to, client, timeoutMs: 3000 });
      const result = await splice(client, server, { toServer: toServer as Buffer });
      if (!result.spliced) throw new Error(result.reason);
    });
  });
  await listen(proxy, { address: '10.1.0.100', port: 81, backlog: 10 });
  inside('server', ECHO);
  await sleep(300);
  const ping = inside('client', PING);
  await sleep(300);
  await legs.datapath.resize(size);
  for (const chunk of records()) legs.datapath.table.insert(chunk);
  console.log(`${legs.datapath.table.live()} entries in a table of ${size}`);
  await measure('another size', ping, () => legs.datapath.resize(size + 1000));
  await measure('and back', ping, () => legs.datapath.resize(size));
  const options = { pinPath: '/sys/fs/bpf/spliced', cgroup: legs.cgroup, node: 1, tableSize: size };
  await measure('other programs', ping, async () => {
    const object = otherObject(directory, 'measure');
    legs.datapath.close();
    legs.datapath = await Datapath.open({ ...options, interfaces: ['cli', 'srv'], object });
  });
  const traffic = new Traffic(legs);
  const other = await traffic.proxy();
  await measure('another size under load', ping, () =>
    traffic.during(() => legs.datapath.resize(size + 1000)),
  );
  console.log(
    `of ${traffic.outcomes.length} transfers meanwhile, each was spliced and arrived whole`,
  );
  other.close();
  proxy.close();
} finally {
  for (const child of children) child.kill();
  await legs.stop();
  rmSync(directory, { recursive: true });
}
process.exit();
