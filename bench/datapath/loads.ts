// SPDX-License-Identifier: MIT
/** What the client does: downloads by iperf3, requests by wrk. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { LabError } from '../../test/lab/lab.js';
import type { Load } from '../measure.js';
import type { Family } from './bed.js';
import {
  HTTP_PORT,
  IPERF_PORT,
  listens,
  type SystemName,
  type Systems,
  target,
} from './systems.js';

/** Ethernet, IP and TCP with timestamps: what is not payload in each packet. */
const HEADERS: Record<Family, number> = { 4: 14 + 20 + 32, 6: 14 + 40 + 32 };
const FLOWING_BYTES = 1 << 20;

interface Program {
  child: ChildProcess;
  said: string;
}

function program(systems: Systems, node: string, argv: string[]): Program {
  const child = systems.bed.lab.spawn(node, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const program = { child, said: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (piece: Buffer) => {
      program.said = (program.said + piece).slice(-2000);
    });
  }
  return program;
}

async function end({ child }: Program): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Waits until it flows; that it does not is worth an explanation. */
async function flowing(systems: Systems, system: SystemName, who: Program, flows: () => unknown) {
  await systems.bed.lab.until(`traffic by way of ${system}`, 10, async () => {
    const { child, said } = who;
    const refused = system === 'ours' ? await systems.bed.balancer.call('refused') : '';
    if (refused) throw new LabError('COMMAND', `a connection was not spliced: ${refused}`);
    if (child.exitCode !== null) {
      throw new LabError('ENDED_EARLY', `${child.spawnargs.join(' ')} ended: ${said}`);
    }
    return Boolean(await flows());
  });
}

/** TCP payload that a process's namespace has received on one of its devices. */
function received(pid: number | undefined, device: string, family: Family): number {
  const line = readFileSync(`/proc/${pid}/net/dev`, 'latin1')
    .split('\n')
    .find((text) => text.trimStart().startsWith(`${device}:`));
  if (!line) return 0; // it has not entered its namespace yet
  const [bytes, packets] = line.split(':')[1].trim().split(/\s+/).map(Number);
  return bytes - packets * HEADERS[family];
}

/** Downloads without end on so many connections at once; done in octets. */
export async function download(
  systems: Systems,
  system: SystemName,
  { streams, family }: { streams: number; family: Family },
): Promise<Load> {
  const { lab } = systems.bed;
  const { address, port, device } = target(system, family, IPERF_PORT);
  const server = program(systems, 'server', ['iperf3', '-s', '-1', '-p', `${IPERF_PORT}`]);
  await lab.until('iperf3', 5, () => listens(lab, 'server', IPERF_PORT));
  const ends = ['-c', address, '-p', `${port}`];
  const client = program(systems, 'client', [
    'iperf3',
    ...ends,
    ...['-R', '-t', '60', '-i', '0', '-P', `${streams}`],
  ]);
  const done = () => received(client.child.pid, device, family);
  const stop = async () => {
    await Promise.all([end(client), end(server)]);
  };
  try {
    let before = Number.POSITIVE_INFINITY; // devices have seen earlier traffic
    await flowing(systems, system, client, () => {
      const now = done();
      before = now === 0 ? before : Math.min(before, now);
      return now - before > FLOWING_BYTES;
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { done, stop };
}

/** Requests without end on so many connections at once, each kept or closed after one. */
export async function request(
  systems: Systems,
  system: SystemName,
  { connections, keep }: { connections: number; keep: boolean },
): Promise<Load> {
  const { address, port } = target(system, 4, HTTP_PORT);
  const client = program(systems, 'client', [
    ...['wrk', '-t', '1', '-c', `${connections}`, '-d', '60s'],
    ...(keep ? [] : ['-H', 'Connection: close']),
    `http://${address}:${port}/`,
  ]);
  const done = () => systems.requests();
  const stop = () => end(client);
  try {
    const before = await done();
    await flowing(systems, system, client, async () => (await done()) > before + connections);
  } catch (error) {
    await stop();
    throw error;
  }
  return { done, stop };
}
