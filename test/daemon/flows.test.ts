// SPDX-License-Identifier: MIT
/*
 * What the daemon does for flows, over real stacks (test/kernel/two-legs.ts). Entries as a commit puts
 * them in: those of flows that live and are silent stay, and go on; those whose ends are gone leave the
 * table. And an interface that goes and comes back under a flow.
 */
import type { Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { InterfaceWatch } from '../../daemon/interfaces.js';
import { Prober } from '../../daemon/prober.js';
import { SPLICE_MARK } from '../../kernel/datapath.js';
import { ProbeSender } from '../../kernel/probe.js';
import { PROBE_MAX, writeProbe } from '../../kernel/probe-segment.js';
import {
  EVENT_SIZE,
  EventOffset,
  EventType,
  Option,
  RECORD_SIZE,
} from '../../kernel/record/layout.js';
import { eventRecord, type Leg, newRecord, RecordView } from '../../kernel/record/record.js';
import { splice } from '../../kernel/splice.js';
import { clientLeg, type Family, serverLeg } from '../kernel/ends/plan.js';
import { TwoLegs } from '../kernel/two-legs.js';
import { isolateOrSkip, run } from '../support/isolate.js';
import { checksum } from '../support/packet.js';
import { within } from '../support/within.js';

await isolateOrSkip(import.meta.url);

const FAMILIES: { client: Family; server: Family }[] = [
  { client: 4, server: 4 },
  { client: 6, server: 6 },
  { client: 6, server: 4 },
];
const PERIOD_MS = 150;

const flows = suite('flows');
const legs = new TwoLegs();
const proxies: Server[] = [];
const destroyed = new Set<bigint>();
let committed = 0;
let watch: { close(): void };
let active = true;
const test = (name: string, body: () => Promise<void>): void =>
  flows(name, () => within(15_000, name, body()));

const until = async (what: string, holds: () => boolean): Promise<void> => {
  const deadline = performance.now() + 5000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within 5 s`);
    await sleep(10);
  }
};

flows.before(async () => {
  await legs.start();
  watch = legs.datapath.watch((events, count) => {
    for (let i = 0; i < count; i++) {
      const type = new DataView(events.buffer, events.byteOffset).getUint32(
        i * EVENT_SIZE + EventOffset.type,
        true,
      );
      if (type === EventType.DESTROY) destroyed.add(eventRecord(events, i).id);
    }
  });
  for (const families of FAMILIES) {
    const serve = async (
      ...[client, server, head]: Parameters<Parameters<typeof legs.proxy>[0]>
    ) => {
      const result = await splice(client, server, { toServer: head });
      if (result.spliced && (await result.committed) === 'committed') committed++;
    };
    proxies.push(await legs.proxy((...ends) => void serve(...ends), families));
  }
});

flows.after(async () => {
  watch?.close();
  for (const proxy of proxies) proxy.close();
  await legs.stop();
});

/** Out of the table and in again, as though another node had owned them until now. */
function takeOver(): RecordView[] {
  const { table } = legs.datapath;
  const records = [...table.dump()].flatMap((chunk) =>
    Array.from({ length: chunk.length / RECORD_SIZE }, (_, i) => {
      return new RecordView(chunk.slice(i * RECORD_SIZE, (i + 1) * RECORD_SIZE));
    }),
  );
  for (const { bytes } of records) {
    assert.equal([...table.delete(bytes)], [0]);
    assert.equal([...table.insert(bytes)], [0]);
  }
  return records;
}

/** Flows like these of which nothing is left at either end. */
function gone(like: RecordView[], edit: (record: RecordView, leg: Leg) => void): RecordView[] {
  return like.map((alive) => {
    const record = new RecordView(alive.bytes.slice());
    record.id += 1000n + BigInt(destroyed.size);
    for (const leg of [0, 1] as const) edit(record, leg);
    assert.equal([...legs.datapath.table.insert(record.bytes)], [0]);
    return record;
  });
}

const present = (): bigint[] =>
  [...legs.datapath.table.dumpEntries()].flat().map(({ record }) => record.id);

test('a silent flow that lives is proven and goes on; what is gone is removed in four periods', async () => {
  const transfers = FAMILIES.map((families) =>
    legs.transfer({ ...families, verb: 'PUT', length: 20_000, piece: 10_000, paceMs: 900 }),
  );
  await until('the commits', () => committed === FAMILIES.length);
  const alive = takeOver();
  assert.is(alive.length, FAMILIES.length);
  const dead = gone(alive, (record, leg) => {
    const tuple = record.tuple(leg);
    tuple.source = tuple.source.replace(/2$/, '77'); // nobody has that address
  });
  const prober = new Prober({
    datapath: legs.datapath,
    log: pino({ enabled: false }),
    active: () => active,
    periodMs: () => PERIOD_MS,
    commitTimeoutMs: () => 0,
  });
  const began = performance.now();
  prober.start();
  await until('the end of the dead', () => dead.every(({ id }) => destroyed.has(id)));
  const took = performance.now() - began;
  assert.ok(took > 3 * PERIOD_MS && took < 4 * PERIOD_MS + 2000, `took ${took} ms`);
  assert.equal(present().sort(), alive.map(({ id }) => id).sort(), 'the live ones are there');
  assert.is(legs.datapath.counter('probe_expired'), dead.length);
  const { probes_sent, probes_unsent } = prober.counters;
  const asked = (probes_sent + probes_unsent) / 2; // a flow that has gone on by itself is not
  assert.ok(asked >= 3 * dead.length && asked <= 3 * dead.length + alive.length, `${asked} asked`);
  for (const transfer of transfers) assert.ok((await transfer).ok);
  active = false;
  const { probe_rounds } = prober.counters;
  await sleep(2 * PERIOD_MS);
  assert.is(prober.counters.probe_rounds, probe_rounds, 'a node that is not active asks nobody');
  await prober.stop();
});

test('with CommitTimeout a silent flow that lives is asked before its time is over', async () => {
  legs.datapath.table.flush(); // what has ended waits for nobody
  committed = 0;
  active = true;
  const timeoutMs = 1200;
  const transfers = FAMILIES.map((families) =>
    legs.transfer({
      ...families,
      verb: 'PUT',
      length: 20_000,
      piece: 10_000,
      paceMs: 2 * timeoutMs,
    }),
  );
  await until('the commits', () => committed === FAMILIES.length);
  const { table } = legs.datapath;
  const alive = takeOver().map((record) => {
    assert.equal([...table.delete(record.bytes)], [0]);
    record.remainingMs = timeoutMs;
    record.idleMs = 0;
    assert.equal([...table.insert(record.bytes)], [0]);
    return record.id;
  });
  const prober = new Prober({
    datapath: legs.datapath,
    log: pino({ enabled: false }),
    active: () => active,
    periodMs: () => 3_600_000,
    commitTimeoutMs: () => timeoutMs,
  });
  prober.start();
  prober.committed(alive.length);
  const began = performance.now();
  try {
    await until('answers that give them their whole time again', () => {
      const entries = [...table.dumpEntries()].flat();
      return entries.every(({ record }) => record.remainingMs > timeoutMs);
    });
    assert.ok(performance.now() - began < timeoutMs, 'in time');
    assert.equal(present().sort(), alive.sort());
  } finally {
    active = false;
    await prober.stop();
  }
  for (const transfer of transfers) assert.ok((await transfer).ok);
});

test('each end is asked in each round in a way that it answers', async () => {
  committed = 0;
  const transfers = FAMILIES.map((families) =>
    legs.transfer({ ...families, verb: 'PUT', length: 20_000, piece: 10_000, paceMs: 600 }),
  );
  await until('the commits', () => committed === FAMILIES.length);
  const sender = new ProbeSender(SPLICE_MARK);
  for (const leg of [0, 1] as const) {
    for (const round of [1, 3]) {
      const records = takeOver();
      for (const record of records) sender.probe(record, leg, round);
      assert.equal(sender.flush(), { sent: records.length, unsent: 0 });
      await until(`answers of leg ${leg} in round ${round}`, () => {
        const entries = [...legs.datapath.table.dumpEntries()].flat();
        return entries.every(({ packets }) => packets[leg] > 0);
      });
    }
  }
  sender.close();
  for (const transfer of transfers) assert.ok((await transfer).ok);
});

test('a flow goes on over an interface that went and came back', async () => {
  committed = 0;
  const interfaces = new InterfaceWatch(['cli', 'srv'], legs.datapath, pino({ enabled: false }));
  interfaces.start();
  const transfers = FAMILIES.map((families) =>
    legs.transfer({ ...families, verb: 'PUT', length: 40_000, piece: 10_000, paceMs: 250 }),
  );
  await until('the commits', () => committed === FAMILIES.length);
  run('ip', 'link', 'delete', 'srv');
  await until('the loss', () => interfaces.status.unserved.length === 1);
  const [, , pid] = legs.namespace('server').split('/');
  run('ip', 'link', 'add', 'srv', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${pid}`);
  await until('its return', () => interfaces.status.served.length === 2);
  for (const family of [4, 6] as const) {
    const { here, there } = serverLeg[family];
    const options = family === 6 ? ['nodad'] : [];
    const bits = family === 6 ? 64 : 24;
    run('ip', 'address', 'add', `${here}/${bits}`, 'dev', 'srv', ...options);
    legs.in('server', 'ip', 'address', 'add', `${there}/${bits}`, 'dev', 'eth0', ...options);
  }
  legs.in('server', 'ip', 'link', 'set', 'eth0', 'up');
  run('ip', 'link', 'set', 'srv', 'up');
  for (const transfer of transfers) assert.equal((await transfer).ok, true);
  assert.equal(interfaces.counters, {
    interfaces_attached: 3,
    interfaces_lost: 1,
    interfaces_refused: 0,
  });
  interfaces.stop();
});

test('an end that has forgotten the flow says so by RST, and the entry goes', async () => {
  legs.datapath.setTimeouts({ probe: 0.2 });
  const [entry] = [...legs.datapath.table.dumpEntries()].flat();
  assert.ok(entry);
  const forgotten = gone([entry.record], (record, leg) => {
    record.tuple(leg).sourcePort = 9999 + leg;
    record.tuple(leg).source = leg === 0 ? clientLeg[4].there : serverLeg[4].there;
    record.tuple(leg).destination = leg === 0 ? clientLeg[4].here : serverLeg[4].here;
    record.setState(leg, 3);
    record.flags = 0;
    record.remainingMs = 100_000;
  });
  const sender = new ProbeSender(SPLICE_MARK);
  for (const record of forgotten) sender.probe(record, 0, 1);
  sender.flush();
  await until('its end', () => forgotten.every(({ id }) => destroyed.has(id)));
  sender.close();
});

test('a question has whole checksums, and timestamps in the second round where the leg has them', async () => {
  const record = newRecord();
  record.options = Option.TS1;
  record.setBase(0, 5);
  record.setBase(1, 0xfffffff0);
  record.setSeqDelta(1, 0x20);
  for (const leg of [0, 1] as const) {
    record.tuple(leg).source = '2001:db8::ffff:1';
    record.tuple(leg).destination = '2001:db8::2';
    record.tuple(leg).sourcePort = 40001;
  }
  const tcp = (leg: Leg, round: number): Buffer => {
    const into = Buffer.alloc(PROBE_MAX);
    const packet = into.subarray(0, writeProbe(into, 0, record, leg, round));
    const pseudo = Buffer.alloc(4);
    pseudo.writeUInt16BE(packet.length - 40);
    pseudo[3] = 6;
    assert.is(checksum(Buffer.concat([packet.subarray(8), pseudo])), 0);
    return packet.subarray(40);
  };
  assert.equal([tcp(0, 1).readUInt32BE(4), tcp(0, 1).readUInt32BE(8)], [0x0f, 5]);
  assert.equal([tcp(0, 1).length, tcp(0, 2).length], [20, 20]);
  assert.equal([tcp(1, 1).length, tcp(1, 2).length, tcp(1, 3).length], [20, 32, 20]);
});

flows.run();
