// SPDX-License-Identifier: MIT
// deadline: 90
/** splice() over real stacks, with real packets; see the drawing in two-legs.ts. */
import { writeFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fdOf, type Snapshot, snapshot } from '../../kernel/socket.js';
import { type RefusalReason, type SpliceOutcome, splice } from '../../kernel/splice.js';
import { isolateOrSkip } from '../support/isolate.js';
import { timely } from '../support/timely.js';
import { within } from '../support/within.js';
import type { Transfer } from './ends/client.js';
import { type Families, TwoLegs } from './two-legs.js';

await isolateOrSkip(import.meta.url);

const SAME: Families = { client: 4, server: 4 };
const OTHERS: Families[] = [
  { client: 6, server: 6 },
  { client: 6, server: 4 },
  { client: 4, server: 6 },
];
const test = suite('splice() over real stacks');
const legs = new TwoLegs();
const proxies: Server[] = [];
/** Of this test. */
let outcomes: SpliceOutcome[] = [];
let refusals: RefusalReason[] = [];
let settleTimeoutMs = 200;
/** What the proxy does before it splices; a test may change it. */
let before: (client: Socket, server: Socket) => Promise<void> | void;

function relay(from: Socket, to: Socket): void {
  from.on('error', () => to.destroy());
  from.pipe(to);
}

async function serve(client: Socket, server: Socket, head: Buffer): Promise<void> {
  const mine = { outcomes, refusals };
  await before(client, server);
  const result = await splice(client, server, { toServer: head, settleTimeoutMs });
  if (result.spliced) {
    mine.outcomes.push(await result.committed);
    return;
  }
  mine.refusals.push(result.reason);
  server.write(result.toServer);
  client.write(result.toClient);
  relay(client, server);
  relay(server, client);
}

/** Pairs of this test whose verdict is still to come: an end may have all of its bytes before that. */
let underWay = new Set<Promise<void>>();

const begin = (client: Socket, server: Socket, head: Buffer): void => {
  const mine = underWay;
  const one = serve(client, server, head).catch((error) => console.error(error));
  mine.add(one);
  void one.then(() => mine.delete(one));
};

const verdicts = (): Promise<unknown> => within(5000, 'the verdicts', Promise.all(underWay));

async function all(count: number, t: Transfer): Promise<void> {
  const results = await Promise.all(Array.from({ length: count }, () => legs.transfer(t)));
  const bad = results.filter((r) => !r.ok).map((r) => r.answer);
  assert.equal(bad, [], `${bad.length} of ${count} wrong`);
}

test.before(async () => {
  await legs.start();
  for (const families of [SAME, ...OTHERS]) proxies.push(await legs.proxy(begin, families));
});

test.after(async () => {
  for (const proxy of proxies) proxy.close();
  await legs.stop();
});

test.before.each(async () => {
  before = () => {};
  settleTimeoutMs = 200;
  underWay = new Set();
  outcomes = [];
  refusals = [];
});

const real = timely(test, 20_000);

real('downloads and uploads arrive byte for byte, and no socket stays', async () => {
  await all(20, { verb: 'GET', length: 2_000_000 });
  await all(20, { verb: 'PUT', length: 2_000_000 });
  await all(40, { verb: 'GET', length: 10 });
  await verdicts();
  assert.equal(refusals, []);
  assert.equal(
    outcomes.filter((o) => o === 'committed').length,
    80,
    `the sockets of all splices are closed: ${outcomes}`,
  );
});

for (const families of OTHERS) {
  const legsName = `an IPv${families.client} client and an IPv${families.server} server`;
  real(`${legsName}: every byte, at the moment of splicing too, and no socket stays`, async () => {
    await all(10, { verb: 'GET', length: 1_000_000, ...families });
    await all(5, { verb: 'PUT', length: 300_000, piece: 20_000, paceMs: 1, ...families });
    for (const finAfterMs of [0, 2]) {
      await all(5, { verb: 'ALL', length: 5_000, finAfterMs, ...families });
    }
    await verdicts();
    assert.equal(new Set(refusals.filter((reason) => reason !== 'not_established')).size, 0);
    // where both ends have gone before it began, there is nothing to splice; the rest is
    assert.is(outcomes.length + refusals.length, 25);
    assert.ok(outcomes.length >= 10, `${outcomes.length} of 25 spliced`);
    assert.equal(
      outcomes.filter((o) => o !== 'committed'),
      [],
    );
  });

  real(`${legsName}: 1 % loss on both ends costs time and no byte`, async () => {
    legs.lose('client', 1);
    legs.lose('server', 1);
    try {
      await all(5, { verb: 'GET', length: 1_000_000, ...families });
      await all(5, { verb: 'PUT', length: 1_000_000, ...families });
    } finally {
      legs.lose('client', 0);
      legs.lose('server', 0);
    }
    assert.equal(refusals, []);
  });
}

real('IPv4 clients of a socket that takes both families are spliced as what they are', async () => {
  const port = 88;
  const both = (server: Server) =>
    new Promise<void>((resolve) => server.listen({ port, host: '::' }, resolve));
  proxies.push(await legs.proxy(begin, { open: both }));
  await all(3, { verb: 'GET', length: 500_000, port });
  await all(3, { verb: 'PUT', length: 500_000, port, client: 6 });
  assert.equal(refusals, []);
});

real('the host says neither FIN nor RST when it closes its sockets', async () => {
  const { local_fin, local_rst, local_stray } = legs.datapath.counters();
  assert.equal(
    { local_fin, local_rst, local_stray },
    { local_fin: 0, local_rst: 0, local_stray: 0 },
  );
});

real('uploads stream through the moment of splicing', async () => {
  const streams = [1, 2, 3].map((paceMs) =>
    all(10, { verb: 'PUT', length: 600_000, piece: 20_000, paceMs }),
  );
  await Promise.all(streams);
  assert.equal(refusals, []);
});

real(
  'a proxy that is too busy to wait until the two stand still splices all the same',
  async () => {
    settleTimeoutMs = 0;
    await all(20, { verb: 'PUT', length: 300_000, piece: 20_000, paceMs: 1 });
    assert.equal(refusals, []);
  },
);

real('100 KB pipelined behind the request go first', async () => {
  before = () => sleep(20); // all of it has arrived by then
  await all(10, { verb: 'PUT', length: 100_000, piece: 100_000 });
  assert.equal(refusals, []);
});

real('a FIN in the window of splicing is neither answered early nor lost', async () => {
  for (const finAfterMs of [0, 1, 2, 3, 5]) {
    await all(4, { verb: 'ALL', length: 5_000, finAfterMs });
  }
});

real("a server that is slow to take the proxy's own data gets all of it once", async () => {
  before = () => sleep(20);
  await all(4, { verb: 'SLOW', length: 3_000_000, pauseMs: 300, piece: 500_000 });
  assert.equal(refusals, []);
});

real('1 % loss on both ends costs time and no byte', async () => {
  legs.lose('client', 1);
  legs.lose('server', 1);
  try {
    await all(16, { verb: 'GET', length: 2_000_000 });
    await all(16, { verb: 'PUT', length: 2_000_000 });
    await all(60, { verb: 'PUT', length: 2_000 });
  } finally {
    legs.lose('client', 0);
    legs.lose('server', 0);
  }
});

for (const option of ['tcp_timestamps', 'tcp_window_scaling', 'tcp_sack']) {
  for (const end of ['client', 'server'] as const) {
    real(`${option} off on the ${end}'s leg only, at 1 % loss`, async () => {
      legs.option(end, option, false);
      legs.lose(end, 1);
      try {
        await all(4, { verb: 'GET', length: 3_000_000 });
        await all(4, { verb: 'PUT', length: 1_000_000 });
        // a client without SACK gets a server leg without it; a server without it is told too late
        const relayed = option === 'tcp_sack' && end === 'server';
        assert.equal([...new Set(refusals)], relayed ? ['sack_mismatch'] : []);
      } finally {
        legs.option(end, option, true);
        legs.lose(end, 0);
      }
    });
  }
}

real('the server leg has no option that the client lacks', async () => {
  const had: Record<string, boolean[]> = {};
  const seen = (socket: Socket) => {
    const { sack, timestamps, ecn } = snapshot(fdOf(socket) as number) as Snapshot;
    return [sack, timestamps, ecn];
  };
  writeFileSync('/proc/sys/net/ipv4/tcp_ecn', '1');
  try {
    legs.option('client', 'tcp_ecn', true);
    for (const option of ['tcp_sack', 'tcp_timestamps', 'tcp_ecn']) {
      before = (client, server) => {
        had[option] = seen(server);
        assert.equal(had[option], seen(client));
      };
      legs.option('client', option, false);
      await all(1, { verb: 'GET', length: 1000 });
      legs.option('client', option, true);
    }
  } finally {
    writeFileSync('/proc/sys/net/ipv4/tcp_ecn', '2');
    legs.option('client', 'tcp_ecn', false);
  }
  assert.equal(had, {
    tcp_sack: [false, true, true],
    tcp_timestamps: [true, false, true],
    tcp_ecn: [true, true, false],
  });
  assert.equal(refusals, []);
});

real(
  'a client that has half-closed is relayed, with every byte, and the reason named',
  async () => {
    before = () => sleep(30); // its FIN has arrived by then
    await all(3, { verb: 'ALL', length: 40_000, finAfterMs: 0 });
    assert.equal([...new Set(refusals)], ['not_established']);
  },
);

real('a socket with data still to write is relayed, with every byte', async () => {
  before = (_, server) => {
    // more than a socket buffer holds, while the server does not read
    server.write(`SLOW 8000000 100\n`);
    server.write(Buffer.alloc(8_000_000));
  };
  const result = await legs.transfer({ verb: 'PUT', length: 1 });
  assert.match(result.answer, /^80000\d\d /);
  assert.equal(refusals, ['write_pending']);
});

test.run();
