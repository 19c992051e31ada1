// SPDX-License-Identifier: MIT
// deadline: 60
/** Ends that wait after a takeover are made to go on: see network.ts, outage.ts. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import { Nudge } from '../../../daemon/nudge.js';
import { libc } from '../../../kernel/native.js';
import { BATCH_ITEM_SIZE } from '../../../kernel/record/layout.js';
import { isolateOrSkip } from '../../support/isolate.js';
import { Capture, type Tcp } from './capture.js';
import { EVERY, type Families, type Flow, nameOf, SAME } from './flow.js';
import { testLibc } from './libc.js';
import { other, SIDES, type Side } from './network.js';
import { beginOutage, takeOver } from './outage.js';
import { stage, until } from './stage.js';
import { descriptor, info, set } from './tcp.js';
import { transfer, WAYS, way } from './transfer.js';

await isolateOrSkip(import.meta.url);

const { network, spliced, test, run } = stage('a nudge after a takeover');

const SOL_SOCKET = 1;
const SO_ERROR = 4;
const IPPROTO_IP = 0;
const IP_RECVERR = 11;
const IPPROTO_IPV6 = 41;
const IPV6_RECVERR = 25;
const MSG_ERRQUEUE = 0x2000;
const MSG_DONTWAIT = 0x40;
/** Errors to one end, at most. */
const ERRORS_MAX = 10;
/** Doublings of a timer after which its next step is seconds away. */
const BACKOFF = 3;
/** So many whose next step is far away, at least. */
const WAITING = 4;
const WAIT_MS = 12_000;

const nudge = new Nudge({
  get datapath() {
    return network.datapath;
  },
  log: pino({ enabled: false }),
  enabled: () => true,
  active: () => true,
});

/** A side that sends without end, and what its other end has got so far. */
class Pouring {
  got = 0;
  readonly flow: Flow;
  readonly from: Side;

  constructor(flow: Flow, from: Side) {
    this.flow = flow;
    this.from = from;
    const piece = Buffer.alloc(65_536, 'x');
    const { sender } = this;
    const pour = (): void => {
      while (!sender.destroyed && sender.write(piece));
    };
    sender.on('drain', pour);
    pour();
    flow[other(from)].on('data', (bytes) => {
      this.got += bytes.length;
    });
    flow[other(from)].resume();
  }

  get sender(): Socket {
    return this.flow[this.from];
  }

  /** Milliseconds until its timer fires. */
  get timerMs(): number {
    const { rto, sinceSent } = info(this.sender);
    return rto / 1000 - sinceSent;
  }
}

async function pouring(families: Families, from: Side[]): Promise<Pouring[]> {
  const flow = await spliced({ families });
  return from.map((side) => new Pouring(flow, side));
}

/** Down, up, and both ways, for each of these. */
async function allKinds(which: Families[]): Promise<Pouring[]> {
  const kinds: Side[][] = [['server'], ['client'], ['client', 'server']];
  const all = await Promise.all(which.flatMap((f) => kinds.map((sides) => pouring(f, sides))));
  await until(() => all.flat().every(({ got }) => got > 1_000_000), 'all are at it', 5000);
  return all.flat();
}

/** Hear errors about the connection from a socket. */
function hearErrors(fd: number, v4: boolean): void {
  set(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, 1);
}

/** What the kernel has told a socket. */
function errorOf(socket: Socket): number {
  const value = Buffer.alloc(4);
  libc.getsockopt(descriptor(socket), SOL_SOCKET, SO_ERROR, value, [value.length]);
  return value.readInt32LE();
}

function nothingInErrorQueue(socket: Socket): boolean {
  const bytes = Buffer.alloc(256);
  const name = Buffer.alloc(32);
  const flags = MSG_ERRQUEUE | MSG_DONTWAIT;
  return Number(testLibc.recvfrom(descriptor(socket), bytes, 256, flags, name, [32])) < 0;
}

test('senders go on before their timers, which have backed off, would let them', async () => {
  const all = await allKinds(EVERY);
  const outage = beginOutage(network);
  // whose timer fires by itself at this moment says nothing
  const waiting = (): Pouring[] => all.filter(({ timerMs }) => timerMs > 1000);
  const ready = (): boolean =>
    all.every(({ sender }) => info(sender).backoff >= BACKOFF) && waiting().length >= WAITING;
  await until(ready, 'back-off', WAIT_MS);
  const before = all.map(({ got }) => got);
  takeOver(network.datapath);
  const due = all.map(({ timerMs }) => performance.now() + timerMs);
  const waits = waiting();
  outage.end();
  const nudged = nudge.nudge();
  const movedAt = all.map(() => 0);
  const look = (): boolean => {
    for (const [i, one] of all.entries()) {
      if (one.got > before[i]) movedAt[i] ||= performance.now();
    }
    return all.every((one, i) => !waits.includes(one) || movedAt[i] > 0);
  };
  await until(look, 'those that waited go on', WAIT_MS);
  for (const [i, one] of all.entries()) {
    if (waits.includes(one)) assert.ok(movedAt[i] < due[i], `${i}: its timer was not waited for`);
  }
  const { asked, owed, moved, errors } = await nudged;
  assert.ok(asked >= EVERY.length, `${asked} asked`);
  assert.ok(owed > 0 && moved === owed, `${moved} of ${owed} moved`);
  assert.ok(errors > 0 && errors <= ERRORS_MAX * all.length, `${errors} errors`);
});

test('an idle flow is asked, and nothing else: its sockets hear of no error', async () => {
  const captures = SIDES.map((side) => new Capture(network.end[side]));
  const idle = await Promise.all(
    EVERY.flatMap((families) =>
      [0, 1].map(async () => {
        const flow = await spliced({ families });
        for (const [leg, side] of SIDES.entries()) {
          hearErrors(descriptor(flow[side]), families[leg] === 4);
        }
        return flow;
      }),
    ),
  );
  takeOver(network.datapath);
  const { asked, owed, errors, probes, unanswered } = await nudge.nudge();
  assert.equal([asked, owed, errors, probes, unanswered], [idle.length, 0, 0, 2 * idle.length, 0]);
  for (const flow of idle) {
    for (const side of SIDES) {
      assert.is(errorOf(flow[side]), 0);
      assert.ok(nothingInErrorQueue(flow[side]));
    }
  }
  for (const capture of captures) {
    assert.is(capture.errors.length, 0);
    capture.close();
  }
  for (const flow of idle) for (const way of WAYS) await transfer(flow, way, 50_000, { ms: 4000 });
});

test('a flow that is asked while it is at it goes on, and every byte is right', async () => {
  for (const gently of [true, false]) {
    const open = await Promise.all(SAME.map((families) => spliced({ families })));
    const transfers = open.flatMap((flow) =>
      WAYS.map((way) => transfer(flow, way, 20_000_000, { ms: 10_000 })),
    );
    await sleep(20);
    takeOver(network.datapath);
    const { errors } = await nudge.nudge({ gently });
    if (gently) assert.is(errors, 0);
    await Promise.all(transfers);
  }
});

test('a sender that cannot be made to go on gets ten errors at most: about what it waits for, as it knows it', async () => {
  const captures = SIDES.map((side) => new Capture(network.end[side]));
  const open = await Promise.all(
    EVERY.flatMap((families) =>
      SIDES.map(async (side) => ({ families, side, flow: await spliced({ families }) })),
    ),
  );
  for (const { flow, side } of open) await transfer(flow, way(side), 10_000, { ms: 4000 });
  // what they send does not come through, but what they are asked does, and their answers
  for (const side of SIDES) {
    network.rule(network.router[side], 'forward', 'meta l4proto tcp meta length > 200 drop');
  }
  for (const { flow, side } of open) flow[side].write(Buffer.alloc(50_000, 'x'));
  const waiting = (): boolean => open.every(({ flow, side }) => info(flow[side]).backoff >= 1);
  await until(waiting, 'back-off', WAIT_MS);
  takeOver(network.datapath);
  const { asked, owed, moved, errors } = await nudge.nudge();
  assert.equal([asked, owed, moved], [open.length, open.length, 0]);
  assert.ok(errors <= ERRORS_MAX * open.length, `${errors}`);
  let seen = 0;
  for (const { families, side, flow } of open) {
    const leg = SIDES.indexOf(side);
    const { localPort, remotePort } = flow[side];
    const isMine = (tcp?: Tcp): boolean =>
      tcp?.sourcePort === localPort && tcp?.destinationPort === remotePort;
    const mine = captures[leg].errors.filter(({ icmp }) => isMine(icmp.about?.tcp));
    // what it sends again and again is what it waits for
    const first = captures[leg].segments.findLast(
      ({ out, tcp }) => out && isMine(tcp) && tcp.payload > 0,
    );
    assert.ok(mine.length > 0 && mine.length <= ERRORS_MAX, `${mine.length}`);
    seen += mine.length;
    for (const { from, to, icmp } of mine) {
      assert.equal([icmp.type, icmp.code], families[leg] === 4 ? [3, 1] : [1, 0]);
      assert.equal([from, icmp.about?.to], [first?.to, first?.to]);
      assert.equal([to, icmp.about?.from], [first?.from, first?.from]);
      assert.is(icmp.about?.tcp?.seq, first?.tcp.seq, nameOf(families));
    }
  }
  assert.is(seen, errors);
  for (const capture of captures) capture.close();
});

test('flows with data outstanding are told from those without', async () => {
  const idle = await Promise.all(SAME.map((families) => spliced({ families })));
  for (const flow of idle) for (const way of WAYS) await transfer(flow, way, 1000, { ms: 4000 });
  const { table } = network.datapath;
  const busy = (): number => {
    let sum = 0;
    for (const items of table.busy(60_000)) sum += items.length / BATCH_ITEM_SIZE;
    return sum;
  };
  await until(() => busy() === 0, 'all is acknowledged');
  network.filter('server', 'meta l4proto tcp drop');
  idle[0].client.write('x');
  await until(() => busy() === 1, 'one waits');
  network.filter('server', '');
});

run();
