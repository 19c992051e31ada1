// SPDX-License-Identifier: MIT
// deadline: 90
/** The life of a spliced connection, as its ends make it; see the drawing in network.ts. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { libc } from '../../../kernel/native.js';
import { RECORD_SIZE, State } from '../../../kernel/record/layout.js';
import { RecordView, stateName } from '../../../kernel/record/record.js';
import { closeSilently, resumeReading, stopReading } from '../../../kernel/socket.js';
import { isolateOrSkip } from '../../support/isolate.js';
import { within } from '../../support/within.js';
import { pattern } from '../ends/pattern.js';
import { Capture, Flag } from './capture.js';
import { EVERY, type Families, type Flow, nameOf, SAME } from './flow.js';
import { testLibc } from './libc.js';
import { other, SIDES, type Side } from './network.js';
import { stage, until } from './stage.js';
import {
  abort,
  beginAt,
  descriptor,
  numbers,
  set,
  timestamp,
  timestampsFrom,
  untilReset,
} from './tcp.js';
import { finish, receive, send, transfer, WAYS, way } from './transfer.js';

await isolateOrSkip(import.meta.url);

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_KEEPALIVE = 9;
const IPPROTO_TCP = 6;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const MSG_OOB = 1;
const MSG_DONTWAIT = 0x40;
/** What a transfer of a megabyte may take. */
const MS = 2000;

const { network, flows, spliced, test, run } = stage('the life of a splice');

/** The entries of the table. */
function entries(): RecordView[] {
  return [...network.datapath.table.dump()].flatMap((chunk) =>
    Array.from(
      { length: chunk.length / RECORD_SIZE },
      (_, i) => new RecordView(chunk, i * RECORD_SIZE),
    ),
  );
}

/** Nothing is left of the flows but entries that wait for their time to be up. */
async function untilOver(ms: number): Promise<void> {
  const over = [State.CLOSE, State.TIMEWAIT];
  const rest = (): string =>
    [
      ...entries()
        .filter((e) => !over.includes(e.state(0) as 0))
        .map((e) => stateName(e.state(0))),
      ...[network.balancer, network.end.server].map((space) =>
        space.exec('ss', '-tnH', 'state', 'connected', 'exclude', 'time-wait'),
      ),
    ].join('');
  for (const deadline = performance.now() + ms; rest() !== ''; await sleep(20)) {
    assert.ok(performance.now() < deadline, `still there: ${rest()}`);
  }
}

for (const first of SIDES) {
  test(`the ${first} closes its half and goes on reading`, async () => {
    const one = async (families: Families) => {
      const flow = await spliced({ families });
      await transfer(flow, way(first), 100_000, { ms: MS });
      flow[first].end();
      const to = flow[other(first)];
      to.resume();
      await within(1000, 'the FIN', once(to, 'end'));
      await transfer(flow, way(other(first)), 1_000_000, { ms: MS });
      const back = flow[first];
      back.resume();
      to.end();
      await within(1000, 'the other FIN', once(back, 'end'));
    };
    await Promise.all(EVERY.map(one));
  });
}

test('both ends close at once, again and again', async () => {
  for (let round = 0; round < 10; round++) {
    const flow = await spliced({});
    const ends = SIDES.map((side) => {
      flow[side].resume().end();
      return once(flow[side], 'end');
    });
    await within(1000, 'both FINs', Promise.all(ends));
  }
});

for (const side of SIDES) {
  test(`the ${side} aborts, before a byte, in mid-flow and half-closed`, async () => {
    const states: ((flow: Flow) => Promise<unknown> | unknown)[] = [
      () => {},
      (flow) => {
        void send(flow.client, 20_000_000).catch(() => {});
        void send(flow.server, 20_000_000).catch(() => {});
        flow[side].resume();
        return sleep(5);
      },
      (flow) => {
        flow[side].end();
        return once(flow[other(side)].resume(), 'end');
      },
      (flow) => {
        flow[other(side)].end();
        return once(flow[side].resume(), 'end');
      },
    ];
    for (const families of EVERY) {
      for (const state of states) {
        const flow = await spliced({ families });
        await state(flow);
        abort(flow[side]);
        await untilReset(flow[other(side)], 1000);
      }
    }
  });
}

test('a client that aborts while it is being spliced leaves nothing behind', async () => {
  for (const families of EVERY) {
    for (let i = 0; i < 24; i++) {
      const { client } = flows.begin({ families });
      await sleep(i / 4);
      abort(client);
    }
  }
  await untilOver(2000);
});

test('a port is used again and again, however its last connection ended', async () => {
  const endings: ((flow: Flow) => Promise<unknown> | unknown)[] = [
    (flow) => finish(flow, 'server'),
    (flow) => abort(flow.client),
    async (flow) => {
      abort(flow.server);
      await untilReset(flow.client, 1000);
    },
  ];
  const one = async (families: Families): Promise<void> => {
    for (let round = 0; round < 12; round++) {
      const flow = await spliced({ families, port: 40_123 });
      for (const way of WAYS) await transfer(flow, way, 50_000, { ms: MS });
      await endings[round % endings.length](flow);
      flow.client.destroy();
    }
  };
  await Promise.all(SAME.map(one));
});

test('a client that has forgotten its connection gets another one of the same port', async () => {
  const one = async (families: Families): Promise<void> => {
    const lost = await spliced({ families, port: 40_124 });
    closeSilently(lost.client);
    const flow = await spliced({ families, port: 40_124 });
    await untilReset(lost.server, 1000);
    await transfer(flow, 'download', 50_000, { ms: MS });
  };
  const counts = await network.counted(async () => {
    await Promise.all(SAME.map(one));
  });
  assert.is(counts.syn_probed, SAME.length);
});

test('sequence numbers wrap, with losses around it', async () => {
  network.bundles(false);
  for (const side of SIDES) network.lose(side, 1);
  const one = async (families: Families): Promise<void> => {
    const flow = await spliced({ families, prepare: (fd) => beginAt(fd, -300_000) });
    const both = WAYS.map((way) => transfer(flow, way, 600_000, { ms: 4000 }));
    await Promise.all(both);
    await finish(flow);
  };
  await Promise.all(EVERY.map(one));
});

test('timestamps wrap', async () => {
  const one = async (families: Families): Promise<void> => {
    const flow = await spliced({ families });
    for (const side of SIDES) {
      // by half of their space at most, or the other end takes them for old ones
      for (let steps = 0; timestamp(flow[side]) < 2 ** 32 - 50 && steps < 3; steps++) {
        const to = Math.min(timestamp(flow[side]) + 2 ** 30, 2 ** 32 - 40);
        timestampsFrom(flow[side], steps === 2 ? 2 ** 32 - 40 : to);
        await transfer(flow, way(side), 1000, { ms: MS });
      }
      await transfer(flow, way(side), 200_000, { ms: MS, piece: 5000, paceMs: 2 });
      assert.ok(timestamp(flow[side]) < 1000, `${timestamp(flow[side])} has not wrapped`);
    }
    await finish(flow);
  };
  await Promise.all(EVERY.map(one));
});

test("the proxy's own data is lost while the server sends much: both arrive", async () => {
  for (const families of EVERY) {
    const own = Buffer.alloc(3000, 'own');
    const begun = flows.begin({
      families,
      prepare: (fd) => set(fd, SOL_SOCKET, SO_RCVBUF, 65_536), // an ACK may lag by a window and no more
      before: async (greeting, server) => {
        server.write(greeting);
        await begun.server;
        network.filter('server', 'tcp dport 9000 meta length > 200 drop');
        return own;
      },
    });
    const { refusal, committed } = await begun.made;
    assert.is(refusal, undefined);
    const flow = { client: begun.client, server: await begun.server };
    await transfer(flow, 'download', 2_000_000, { ms: MS });
    network.filter('server', '');
    const got: Buffer[] = [];
    flow.server.on('data', (bytes) => got.push(bytes)).resume();
    assert.is(await within(MS, `${nameOf(families)}: own data`, committed), 'committed');
    await until(() => Buffer.concat(got).length >= own.length, 'own data');
    flow.server.pause().removeAllListeners('data');
    assert.ok(Buffer.concat(got).equals(own));
    await transfer(flow, 'upload', 100_000, { ms: MS });
    await finish(flow);
  }
});

test("the proxy's own data is lost while the client sends much: the FIN is believed afterwards", async () => {
  network.sysctl(network.end.server, 'ipv4/tcp_rmem', '4096 4194304 16777216'); // its window grows at once
  network.bundles(false);
  const length = 90_000;
  for (const families of EVERY) {
    const begun = flows.begin({
      families,
      before: async (greeting, server) => {
        server.write(greeting);
        const { ack } = numbers(await begun.server);
        const lost = `${ack + 85_000}-${ack + length - 1}`; // all but the end grows the window
        network.filter('server', `tcp dport 9000 tcp sequence ${lost} drop`);
        return Buffer.concat([...pattern(length)]);
      },
    });
    const { refusal, committed } = await begun.made;
    assert.is(refusal, undefined);
    const flow = { client: begun.client, server: await begun.server };
    const own = receive(flow.server, length);
    const sending = send(flow.client, 1_000_000);
    sending.catch(() => {}); // looked at below
    await sleep(100);
    network.filter('server', '');
    await within(MS, 'own data', own);
    await within(MS, 'upload', Promise.all([sending, receive(flow.server, 1_000_000)]));
    await within(MS, 'the commit', committed);
    await finish(flow);
  }
});

test('urgent data comes at its place', async () => {
  for (const families of EVERY) {
    const flow = await spliced({ families });
    for (const side of SIDES) {
      const [from, to] = [flow[side], flow[other(side)]].map(descriptor);
      stopReading(flow[other(side)]);
      testLibc.send(from, Buffer.from('before'), 6, 0);
      testLibc.send(from, Buffer.from('!'), 1, MSG_OOB);
      testLibc.send(from, Buffer.from('after'), 5, 0);
      await sleep(20);
      const read = (flags: number): string => {
        const bytes = Buffer.alloc(100);
        const got = Number(libc.recv(to, bytes, bytes.length, flags | MSG_DONTWAIT));
        return bytes.toString('latin1', 0, Math.max(got, 0));
      };
      assert.equal([read(0), read(MSG_OOB), read(0)], ['before', '!', 'after'], nameOf(families));
    }
  }
});

test('an idle connection is kept by keep-alives, which the far end answers', async () => {
  const captures = SIDES.map((side) => new Capture(network.end[side]));
  const idle = await Promise.all(EVERY.map((families) => spliced({ families })));
  for (const flow of idle) {
    for (const side of SIDES) {
      const fd = descriptor(flow[side]);
      set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
      set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
      set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
    }
  }
  await sleep(100);
  const before = captures.map((capture) => capture.segments.length);
  await sleep(1600);
  for (const [i, capture] of captures.entries()) {
    const later = capture.segments.slice(before[i]);
    for (const out of [true, false]) {
      const count = later.filter((packet) => packet.out === out).length;
      assert.ok(count >= 2 * idle.length, `${count} probes and answers at the ${SIDES[i]}`);
    }
    capture.close();
  }
  for (const flow of idle) await finish(flow);
});

test('a receiver that does not read for a while gets every byte when it does', async () => {
  const capture = new Capture(network.end.client);
  const one = async (families: Families, side: Side): Promise<void> => {
    const flow = await spliced({ families });
    const lazy = flow[other(side)];
    set(descriptor(lazy), SOL_SOCKET, SO_RCVBUF, 32_768);
    stopReading(lazy);
    const sending = send(flow[side], 2_000_000);
    await sleep(1300);
    const received = receive(lazy, 2_000_000);
    resumeReading(lazy);
    await within(MS, 'what was kept back', Promise.all([sending, received]));
    await finish(flow);
  };
  await Promise.all(EVERY.flatMap((families) => SIDES.map((side) => one(families, side))));
  const closed = capture.segments.filter(
    ({ tcp }) => tcp.window === 0 && !(tcp.flags & (Flag.RST | Flag.SYN)),
  );
  for (const out of [true, false]) {
    const count = closed.filter((packet) => packet.out === out).length;
    assert.ok(
      count >= 2 * EVERY.length,
      `${count} closed windows ${out ? 'from' : 'to'} the client`,
    );
  }
  capture.close();
});

run();
