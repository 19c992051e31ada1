// SPDX-License-Identifier: MIT
/**
 * How long transfers stall when their node dies and another one takes over, with and without a nudge:
 *
 *   node --import tsx test/kernel/path/stall.ts [OUTAGE_MS,...] [reno,cubic,bbr] [ROUNDS] [RTT_MS]
 *
 * RTT_MS: of the client, by a relay (delay.c); the server is near.
 */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { Nudge } from '../../../daemon/nudge.js';
import { libc } from '../../../kernel/native.js';
import { IPPROTO_TCP } from '../../../kernel/socket.js';
import { isolate } from '../../support/isolate.js';
import { delay } from './delay.js';
import { type Families, type Flow, Flows, SAME } from './flow.js';
import { Network, type Side } from './network.js';
import { beginOutage, takeOver } from './outage.js';
import { descriptor } from './tcp.js';

const args = process.argv.slice(2);
if (args.length > 0) process.env.STALL = JSON.stringify(args);
isolate(import.meta.url);
const [outages = '300,1000,3000,8000', controls = 'reno,cubic,bbr', rounds = '5', delayMs = '0'] =
  JSON.parse(process.env.STALL ?? '[]') as string[];

const TCP_CONGESTION = 13;
const KINDS = ['download', 'upload', 'both'] as const;

function control(socket: Socket, name: string): void {
  const value = Buffer.from(name);
  const fd = descriptor(socket);
  if (libc.setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, value, value.length)) {
    throw new Error(`${name} is not to be had`);
  }
}

/** Never stops sending. */
function pour(socket: Socket): void {
  const piece = Buffer.alloc(65_536, 'x');
  const go = (): void => {
    while (!socket.destroyed && socket.write(piece));
  };
  socket.on('drain', go);
  go();
}

/** When something came last, and first after a moment. */
function drain(socket: Socket): { last(): number; after(moment: number): Promise<number> } {
  let last = performance.now();
  let waits: { moment: number; resolve: (at: number) => void } | undefined;
  socket.on('data', () => {
    const now = performance.now();
    last = now;
    if (waits && now > waits.moment) {
      waits.resolve(now);
      waits = undefined;
    }
  });
  socket.resume();
  return {
    last: () => last,
    after: (moment) =>
      new Promise((resolve) => {
        waits = { moment, resolve };
      }),
  };
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1];

const network = new Network();
const flows = new Flows(network);
await network.start();
await flows.start();
if (Number(delayMs) > 0) await delay(network, 'client', Number(delayMs) / 2);
const log = pino({ enabled: process.env.LOG === '1' });
const nudge = new Nudge({
  datapath: network.datapath,
  log,
  enabled: () => true,
  active: () => true,
});

async function once(cc: string, families: Families, outageMs: number, nudged: boolean) {
  const senders: { kind: string; side: Side; to: Side; flow: Flow }[] = [];
  for (const kind of KINDS) {
    const flow = await flows.open({ families });
    await flow.committed;
    for (const side of ['client', 'server'] as const) control(flow[side], cc);
    if (kind !== 'download') senders.push({ kind, side: 'client', to: 'server', flow });
    if (kind !== 'upload') senders.push({ kind, side: 'server', to: 'client', flow });
  }
  const drains = senders.map(({ flow, to }) => drain(flow[to]));
  for (const { flow, side } of senders) pour(flow[side]);
  await sleep(700 + 10 * Number(delayMs));
  const outage = beginOutage(network);
  const began = performance.now();
  await sleep(outageMs);
  takeOver(network.datapath);
  outage.end();
  const over = performance.now();
  const firsts = Promise.all(drains.map((d) => d.after(over)));
  const result = nudged ? nudge.nudge() : undefined;
  const late = (await firsts).map((at) => at - over);
  const errors = result ? (await result).errors : 0;
  const probes = result ? (await result).probes : 0;
  flows.closeAll();
  await sleep(50);
  network.datapath.table.flush();
  return { late, errors, probes, outage: over - began };
}

for (const cc of controls.split(',')) {
  for (const outageMs of outages.split(',').map(Number)) {
    for (const nudged of [false, true]) {
      const late: number[] = [];
      let errors = 0;
      let probes = 0;
      let lasted = 0;
      let n = 0;
      for (let round = 0; round < Number(rounds); round++) {
        for (const families of SAME) {
          await sleep(Math.random() * 100);
          const one = await once(cc, families, outageMs + Math.random() * 200, nudged);
          late.push(...one.late);
          errors += one.errors;
          probes += one.probes;
          lasted += one.outage;
          n++;
        }
      }
      const worst = Math.max(...late);
      console.log(
        [
          cc.padEnd(6),
          `outage ${Math.round(lasted / n)}`.padEnd(12),
          nudged ? 'nudged' : '      ',
          `after it: median ${Math.round(median(late))} ms, worst ${Math.round(worst)} ms`,
          nudged
            ? `${(errors / late.length).toFixed(1)} errors, ${(probes / late.length).toFixed(1)} probes a direction`
            : '',
        ].join('  '),
      );
    }
  }
}
process.exit(0);
