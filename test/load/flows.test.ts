// SPDX-License-Identifier: MIT
/** The load program tells what is right from what is wrong: through a relay that does harm when told to. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { broken, compileFlows, type FlowOptions, Flows, type GroupReport } from './flows.js';
import { compileProbe, type Gap, Probe } from './probe.js';

const WAIT_MS = 10_000;
const STALL_MS = 150;
const monotonicMs = () => Number(process.hrtime.bigint()) / 1e6;
/** Of this process alone, so that no other run is in the way. */
const HOST = `127.77.${(process.pid >> 8) & 255}.${process.pid & 255 || 1}`;
const SERVER = { host: HOST, port: 8080 };
const RELAY = { host: HOST, port: 8081 };

/** What may happen on the way from the server to the client. */
let harm: ((chunk: Buffer, client: Socket) => Buffer | undefined) | undefined;
const pairs = new Set<[client: Socket, server: Socket]>();

const relay: Server = createServer({ allowHalfOpen: true }, (client) => {
  const server = connect({ ...SERVER, allowHalfOpen: true });
  const pair: [Socket, Socket] = [client, server];
  pairs.add(pair);
  for (const [one, other] of [pair, [server, client]]) {
    one.on('error', () => other.resetAndDestroy());
    one.on('end', () => other.end());
    one.on('close', () => {
      other.destroy();
      pairs.delete(pair);
    });
  }
  client.on('data', (chunk) => server.write(chunk));
  server.on('data', (chunk: Buffer) => {
    const left = harm ? harm(chunk, client) : chunk;
    if (left) client.write(left);
  });
});

let dir: string;
let server: Flows;
let client: Flows;
const flows = suite('load program');

flows.before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'flows-'));
  const program = compileFlows(join(dir, 'flows'));
  const start = ([file, ...args]: string[]): ChildProcess => spawn(file, args, { stdio: 'pipe' });
  await new Promise<void>((resolve) => relay.listen(RELAY, resolve));
  server = await Flows.serve(start, program, [`${SERVER.host}:${SERVER.port}`]);
  client = await Flows.run(start, program, 2);
});

flows.after(async () => {
  relay.close();
  for (const sockets of pairs) for (const socket of sockets) socket.destroy();
  await Promise.all([client?.stop(), server?.stop()]);
  rmSync(dir, { recursive: true, force: true });
});

flows.before.each(() => {
  harm = undefined;
});

async function open(name: string, options: Partial<FlowOptions>, through = RELAY) {
  await client.start(name, {
    kind: 'download',
    count: 3,
    to: [`${through.host}:${through.port}`],
    from: [HOST],
    pace: 1_000_000,
    every: 20,
    ...options,
  });
  return client.made(name, WAIT_MS);
}

const some = (bytes: number) => (group: { bytes_received: number }) =>
  group.bytes_received >= bytes;
const lost = (n: number) => (group: Parameters<typeof broken>[0]) => broken(group) === n;

flows('every kind runs until its end is commanded, each octet checked', async () => {
  const kinds = ['download', 'upload', 'both', 'ping', 'idle'] as const;
  for (const kind of kinds) await open(`all-${kind}`, { kind, pace: 0 }, SERVER);
  await client.until('downloads', 'all-download', WAIT_MS, some(1_000_000));
  await client.until('both ways', 'all-both', WAIT_MS, some(1_000_000));
  await client.until('echoes', 'all-ping', WAIT_MS, some(640));
  await server.until('uploads', 'all-upload', WAIT_MS, some(1_000_000));
  for (const kind of kinds) {
    const group = await client.finish(`all-${kind}`, WAIT_MS);
    assert.is(group.ended, 3, JSON.stringify(group));
    assert.is(broken(group), 0);
    const there = await server.until(kind, `all-${kind}`, WAIT_MS, (g) => g.ended === 3);
    // The heads and trailers are not of the stream.
    assert.is(there.bytes_received, group.bytes_sent);
    assert.is(group.bytes_received - 3 * 32, there.bytes_sent);
  }
});

flows('those with a length end by themselves', async () => {
  for (const kind of ['download', 'upload', 'both'] as const) {
    await open(`finite-${kind}`, { kind, bytes: 300_001, pace: 0 });
    const ended = await client.until(kind, `finite-${kind}`, WAIT_MS, (g) => g.ended === 3);
    assert.is(broken(ended), 0);
  }
});

flows('a wrong octet breaks the flow, and no other', async () => {
  await open('wrong', {});
  harm = (chunk) => {
    harm = undefined;
    chunk[chunk.length >> 1] ^= 1;
    return chunk;
  };
  const group = await client.until('the loss', 'wrong', WAIT_MS, lost(1));
  assert.is(group.wrong, 1);
  assert.equal(group.broken_by, { 'wrong bytes': 1 });
  assert.is(group.alive, 2);
  assert.is((await client.finish('wrong', WAIT_MS)).ended, 2);
});

flows('an octet that is missing is a wrong one', async () => {
  await open('missing', { count: 1 });
  harm = (chunk) => {
    harm = undefined;
    return chunk.subarray(1);
  };
  assert.is((await client.until('the loss', 'missing', WAIT_MS, lost(1))).wrong, 1);
});

flows('a reset is counted and told with the address of the flow', async () => {
  await open('reset', {});
  let port: number | undefined;
  harm = (_, victim) => {
    harm = undefined;
    port = victim.remotePort;
    victim.resetAndDestroy();
    return undefined;
  };
  const group = await client.until('the loss', 'reset', WAIT_MS, lost(1));
  assert.is(group.resets, 1);
  const told = client.losses.filter((loss) => loss.group === 'reset');
  assert.is(told.length, 1);
  assert.is(told[0].lost, 'ECONNRESET');
  assert.equal(told[0].here, { address: HOST, port });
  assert.equal(told[0].to, { address: HOST, port: RELAY.port });
  await client.finish('reset', WAIT_MS);
});

flows('an end without the trailer is cut short', async () => {
  await open('cut', { count: 1 });
  harm = (_, victim) => {
    harm = () => undefined;
    victim.end();
    return undefined;
  };
  const group = await client.until('the loss', 'cut', WAIT_MS, lost(1));
  assert.equal(group.broken_by, { 'cut short': 1 });
});

flows(
  'a stall behind the mark is seen while it lasts and after it, and not behind the next',
  async () => {
    await open('stalled', { count: 2 });
    const held: [Socket, Buffer][] = [];
    harm = (chunk, victim) => {
      held.push([victim, chunk]);
      return undefined;
    };
    await client.mark();
    const longest = async () => (await client.report()).get('stalled') as GroupReport;
    let report: GroupReport;
    do report = await longest();
    while (report.stall_ms.max < STALL_MS);
    assert.is(report.waiting, 2);
    assert.is(report.stall_ms.flows, 2);
    harm = undefined;
    for (const [victim, chunk] of held) victim.write(chunk);
    const { bytes_received } = report;
    await client.until('the rest', 'stalled', WAIT_MS, some(bytes_received + 100_000));
    report = await longest();
    assert.is(report.stalls.length, 2);
    assert.ok(report.stall_ms.max >= STALL_MS);
    const marked = await client.mark();
    report = await longest();
    assert.ok(report.stall_ms.max <= monotonicMs() - marked, JSON.stringify(report));
  },
);

flows('what nobody listens to has not been made', async () => {
  const group = await open('nobody', {}, { host: HOST, port: 1 });
  assert.equal(group.not_made_by, { ECONNREFUSED: 3 });
  assert.is(group.opened, 0);
});

flows('the probe has answers on a connection of its own', async () => {
  const program = compileProbe(join(dir, 'probe'));
  const start = ([file, ...args]: string[]): ChildProcess => spawn(file, args, { stdio: 'pipe' });
  // An address that nothing else sends from.
  const from = HOST.replace('127.77', '127.78');
  const probe = await Probe.open(start, [program, from, SERVER.host, `${SERVER.port}`]);
  try {
    await probe.mark();
    let report: Gap;
    do report = await probe.report();
    while (report.answered < 50);
    assert.ok(report.gap_ms > 0 && report.to > report.from);
    assert.not(report.reset);
  } finally {
    await probe.stop();
  }
});

flows.run();
