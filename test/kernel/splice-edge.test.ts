// SPDX-License-Identifier: MIT
/** Where splice() and connect() meet their limits; see the drawing in two-legs.ts. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connect } from '../../kernel/connect.js';
import { KernelError } from '../../kernel/error.js';
import { listen } from '../../kernel/listen.js';
import { bpf, libc } from '../../kernel/native.js';
import {
  Flag,
  RECORD_SIZE,
  Result,
  SocketOption,
  State,
  TUNABLES_SIZE,
  TunablesOffset,
} from '../../kernel/record/layout.js';
import { RecordView } from '../../kernel/record/record.js';
import { liveCount, type Service } from '../../kernel/service.js';
import {
  boundSocket,
  Errno,
  fdOf,
  IPPROTO_TCP,
  setInteger,
  spliceCall,
} from '../../kernel/socket.js';
import { type SpliceResult, splice } from '../../kernel/splice.js';
import { cgroupRoot } from '../support/cgroup.js';
import { isolateOrSkip, run } from '../support/isolate.js';
import { within } from '../support/within.js';
import type { Transfer } from './ends/client.js';
import { PIN_PATH, TwoLegs } from './two-legs.js';

await isolateOrSkip(import.meta.url);

const TCP_USER_TIMEOUT = 18;
const SERVICE: Service = {
  virtual: { address: '10.1.0.100', port: 80 },
  real: { address: '10.2.0.2', port: 9000 },
};
const test = suite('splice() at its limits');
const legs = new TwoLegs();
let proxy: Server;
/** The pair that the proxy has made, for a test to take. */
let made: (client: Socket, server: Socket, head: Buffer) => void;

const real = (name: string, body: () => Promise<void>): void =>
  test(name, () => within(10_000, name, body()));

/** Let a client begin; comes back with both connections, as the proxy has them. */
async function begin(t: Transfer) {
  const pair = new Promise<{ client: Socket; server: Socket; head: Buffer }>((resolve) => {
    made = (client, server, head) => resolve({ client, server, head });
  });
  const transfer = legs.transfer(t);
  return { ...(await pair), transfer };
}

function relay(client: Socket, server: Socket, result: SpliceResult): string {
  if (result.spliced) return 'spliced';
  server.write(result.toServer);
  client.write(result.toClient);
  client.pipe(server).on('error', () => client.destroy());
  server.pipe(client).on('error', () => server.destroy());
  return result.reason;
}

const entries = (): RecordView[] =>
  [...legs.datapath.table.dump()].flatMap((chunk) =>
    Array.from(
      { length: chunk.length / RECORD_SIZE },
      (_, i) => new RecordView(chunk, i * RECORD_SIZE),
    ),
  );

test.before(async () => {
  await legs.start();
  proxy = await legs.proxy((client, server, head) => made(client, server, head));
});

test.after(async () => {
  proxy.close();
  await legs.stop();
});

test.before.each(() => {
  freeze(false);
  legs.datapath.table.flush();
});

real('what the server has sent before the splice reaches the client first', async () => {
  const { client, server, head, transfer } = await begin({ verb: 'GET', length: 3_000_000 });
  server.write(head);
  server.resume();
  const [first] = await once(server, 'data');
  server.pause();
  await sleep(20); // more of it waits in the socket by now
  const result = await splice(client, server, { toClient: first });
  assert.is(result.spliced, true);
  assert.is((await transfer).ok, true);
});

real('live splices are counted by service, and counted down when they end', async () => {
  const { client, server, head, transfer } = await begin({
    verb: 'SLOW',
    length: 50_000,
    pauseMs: 100,
  });
  const other = await begin({ verb: 'GET', length: 10 });
  assert.ok((await splice(client, server, { toServer: head })).spliced);
  assert.is(liveCount(other.client, SERVICE), 2, 'one spliced, one about to be');
  assert.is((await transfer).ok, true);
  while (liveCount(other.client, SERVICE) !== 1) await sleep(5);
  assert.ok((await splice(other.client, other.server, { toServer: other.head })).spliced);
  assert.is((await other.transfer).ok, true);
});

real('what is held for a node with a weaker claim gives way to a new splice', async () => {
  const held = new Uint8Array(RECORD_SIZE);
  const r = new RecordView(held);
  Object.assign(r, { version: 1, id: 5n, origin: 7, owner: 7, epoch: 1, flags: Flag.STANDBY });
  const spare = boundSocket({ address: '10.1.0.100', port: 0 }) as number;
  const claim = [1, 2].map((net) => ({
    far: { address: `10.${net}.0.3`, port: 5 },
    here: { address: `10.${net}.0.100`, port: 6 },
  }));
  for (const leg of [0, 1] as const) {
    r.setState(leg, State.SPLICED);
    const { far, here } = claim[leg];
    Object.assign(r.tuple(leg), { source: far.address, sourcePort: far.port });
    Object.assign(r.tuple(leg), { destination: here.address, destinationPort: here.port });
  }
  const yielded = legs.datapath.counter('standby_yielded');
  const reserve = (serverPort: number): number => {
    const server = { ...claim[1], here: { ...claim[1].here, port: serverPort } };
    return spliceCall(spare, SocketOption.RESERVE, { legs: [claim[0], server] });
  };
  assert.equal([...legs.datapath.table.insert(held)], [Result.OK]);
  const { epoch } = legs.datapath;
  try {
    legs.datapath.epoch = 1; // of one epoch the higher node wins
    assert.is(reserve(7), Errno.EEXIST);
    legs.datapath.epoch = 2;
    assert.is(reserve(7), 0);
    assert.is(legs.datapath.counter('standby_yielded'), yielded + 1);
    assert.is(entries().length, 1);
    assert.is(entries()[0].owner, 1);
  } finally {
    legs.datapath.epoch = epoch;
    libc.close(spare);
  }
});

real('a full table relays, with every byte, and says so', async () => {
  const { size } = legs.datapath.table;
  const all = new Uint8Array(size * RECORD_SIZE);
  const r = new RecordView(all);
  for (let i = 0; i < size; i++) {
    r.offset = i * RECORD_SIZE;
    r.version = 1;
    r.id = BigInt(i + 1);
    r.remainingMs = 60_000;
    for (const leg of [0, 1] as const) {
      r.setState(leg, State.SPLICED);
      r.tuple(leg).source = '192.0.2.1';
      r.tuple(leg).destination = `192.0.2.${2 + leg}`;
      r.tuple(leg).sourcePort = i;
    }
  }
  legs.datapath.table.insert(all);
  assert.is(legs.datapath.table.live(), size);
  const { client, server, head, transfer } = await begin({ verb: 'PUT', length: 200_000 });
  const result = await splice(client, server, { toServer: head });
  assert.is(relay(client, server, result), 'table_full');
  assert.is((await transfer).ok, true);
});

/** As while the table is being copied into another. */
function freeze(on: boolean): void {
  const fd = bpf().objGet(`${PIN_PATH}/tunables`);
  const [key, tunables] = [Buffer.alloc(4), Buffer.alloc(TUNABLES_SIZE)];
  bpf().mapLookup(fd, key, tunables);
  tunables.writeUInt32LE(on ? 1 : 0, TunablesOffset.frozen);
  bpf().mapUpdate(fd, key, tunables, 0);
  libc.close(fd);
}

real('a table that is being copied holds a splice up for as long, at every step', async () => {
  for (const stepMs of [0, 1, 2, 4, 8]) {
    const { client, server, head, transfer } = await begin({ verb: 'PUT', length: 300_000 });
    const freezing = sleep(stepMs).then(async () => {
      freeze(true);
      await sleep(60);
      freeze(false);
    });
    const result = await splice(client, server, { toServer: head });
    assert.is(relay(client, server, result), 'spliced');
    assert.is((await transfer).ok, true);
    assert.is(result.spliced && (await result.committed), 'committed');
    await freezing;
  }
  freeze(true);
  const late = begin({ verb: 'GET', length: 10 }); // it cannot be reserved yet
  await sleep(60);
  freeze(false);
  const { client, server, head, transfer } = await late;
  assert.ok((await splice(client, server, { toServer: head })).spliced);
  assert.is((await transfer).ok, true);
});

real('a table that is copied for too long relays, and forgets the pair when it can', async () => {
  const { client, server, head, transfer } = await begin({ verb: 'PUT', length: 300_000 });
  freeze(true);
  const result = await splice(client, server, { toServer: head, busyTimeoutMs: 20 });
  assert.is(entries().length, 1);
  assert.is(relay(client, server, result), 'table_busy');
  freeze(false);
  while (entries().length > 0) await sleep(5);
  assert.is((await transfer).ok, true);
});

real('sockets from outside the cgroup are relayed, with every byte', async () => {
  const inside = legs.cgroup;
  writeFileSync(`${cgroupRoot()}/cgroup.procs`, `${process.pid}`);
  try {
    const { client, server, head, transfer } = await begin({ verb: 'PUT', length: 200_000 });
    const result = await splice(client, server, { toServer: head });
    assert.is(relay(client, server, result), 'unavailable');
    assert.is((await transfer).ok, true);
  } finally {
    writeFileSync(`${inside}/cgroup.procs`, `${process.pid}`);
  }
});

real('a client that leaves before the splice leaves no reservation behind', async () => {
  const { client, server, head } = await begin({ verb: 'PUT', length: 0 });
  assert.is(entries().length, 1);
  client.destroy();
  const result = await splice(client, server, { toServer: head });
  assert.is(result.spliced || result.reason, 'not_established');
  assert.equal(entries(), []);
  server.destroy();
});

real('a port is used once per real server, whether by a splice or by a relay', async () => {
  const { client, server, transfer } = await begin({ verb: 'GET', length: 10 });
  const wanted = {
    address: '10.2.0.2',
    port: 9000,
    source: '10.2.0.100',
    ports: [50_000, 50_001] as [number, number],
    client,
    timeoutMs: 1000,
  };
  // no entry knows of these two: their reservations are gone, as those of relayed connections are
  legs.datapath.table.flush();
  const first = await connect(wanted);
  legs.datapath.table.flush();
  const second = await connect(wanted);
  legs.datapath.table.flush();
  assert.equal([first.localPort, second.localPort].sort(), [50_000, 50_001]);
  const error = await connect(wanted).catch((e) => e);
  assert.instance(error, KernelError);
  assert.is(error.errno, 'EADDRINUSE');
  assert.match(error.message, /no free port from 10\.2\.0\.100 to 10\.2\.0\.2:9000.*widen ports/);
  for (const socket of [first, second, server, client]) socket.resetAndDestroy();
  await transfer;
});

real('the port of a splice that has ended rests for a second, then serves again', async () => {
  const { client, server, head, transfer } = await begin({ verb: 'GET', length: 10 });
  const port = server.localPort as number;
  assert.ok((await splice(client, server, { toServer: head })).spliced);
  assert.is((await transfer).ok, true);
  const other = await begin({ verb: 'GET', length: 10 });
  const same = {
    address: '10.2.0.2',
    port: 9000,
    source: '10.2.0.100',
    ports: [port, port] as [number, number],
    client: other.client,
    timeoutMs: 3000,
  };
  const reserved = entries().filter((e) => e.tuple(1).destinationPort === other.server.localPort);
  for (const entry of reserved) legs.datapath.table.delete(entry.slice);
  other.server.resetAndDestroy();
  assert.is((await connect(same).catch((e) => e)).errno, 'EADDRINUSE');
  await sleep(1000);
  const again = await connect(same);
  const result = await splice(other.client, again, { toServer: other.head });
  assert.is(result.spliced, true);
  assert.is((await other.transfer).ok, true);
  assert.is(legs.datapath.counters().port_reused, 1);
});

real('a real server that refuses is named, and leaves no reservation behind', async () => {
  const { client, server, transfer } = await begin({ verb: 'GET', length: 10 });
  legs.datapath.table.flush();
  const nobody = { address: '10.2.0.2', port: 9, source: '10.2.0.100', client, timeoutMs: 1000 };
  const error = await connect(nobody).catch((e) => e);
  assert.match(error.message, /10\.2\.0\.2:9: ECONNREFUSED/);
  assert.equal(entries(), []);
  for (const socket of [client, server]) socket.resetAndDestroy();
  await transfer;
});

real("a server that never takes the proxy's own data costs both ends the connection", async () => {
  const { client, server, head, transfer } = await begin({ verb: 'PUT', length: 100 });
  const giveUpAfter = 300; // ms; as it comes, it would be tcp_retries2, a quarter of an hour
  setInteger(fdOf(server) as number, IPPROTO_TCP, TCP_USER_TIMEOUT, giveUpAfter);
  legs.lose('server', 100);
  try {
    const result = await splice(client, server, { toServer: head });
    assert.is(result.spliced && (await result.committed), 'aborted');
    assert.match((await transfer).answer, /ECONNRESET/);
    assert.equal(entries(), []);
  } finally {
    legs.lose('server', 0);
  }
});

real('it listens with the backlog that was asked for, at addresses not here yet', async () => {
  for (const [address, shown] of [
    ['10.1.0.77', '10.1.0.77'],
    ['fd00:1::77', '[fd00:1::77]'],
  ]) {
    const server = createServer();
    await listen(server, { address, port: 81, backlog: 777 });
    const line = run('ss', '-ltnH', 'sport = 81');
    assert.match(line.replace(/ +/g, ' '), `LISTEN 0 777 ${shown}:81`);
    server.close();
  }
});

test.run();
