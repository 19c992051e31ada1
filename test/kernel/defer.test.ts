// SPDX-License-Identifier: MIT
/** Commits that wait until another node has the splice; the drawing is in two-legs.ts. */
import type { Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EVENT_SIZE, Flag, RECORD_SIZE, Result } from '../../kernel/record/layout.js';
import { eventRecord, RecordView, stateName } from '../../kernel/record/record.js';
import { type SpliceOutcome, splice } from '../../kernel/splice.js';
import { isolateOrSkip } from '../support/isolate.js';
import { within } from '../support/within.js';
import { TwoLegs } from './two-legs.js';

await isolateOrSkip(import.meta.url);

const test = suite('commits that wait');
const legs = new TwoLegs();
const outcomes: SpliceOutcome[] = [];
let announced: Uint8Array[] = [];
let proxy: Server;
let watch: { close(): void };

const real = (name: string, body: () => Promise<void>): void =>
  test(name, () => within(10_000, name, body()));

const until = async (what: string, holds: () => boolean): Promise<void> => {
  const deadline = performance.now() + 3000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within 3 s`);
    await sleep(2);
  }
};

const dump = (options: { announced?: boolean } = {}): RecordView[] =>
  [...legs.datapath.table.dump(options)].flatMap((chunk) =>
    Array.from(
      { length: chunk.length / RECORD_SIZE },
      (_, i) => new RecordView(chunk, i * RECORD_SIZE),
    ),
  );
const states = (r: RecordView | undefined): string =>
  r ? ([0, 1] as const).map((leg) => stateName(r.state(leg))).join(' ') : 'gone';
const counter = (name: 'deferred' | 'defer_expired'): number => legs.datapath.counter(name);

test.before(async () => {
  await legs.start();
  watch = legs.datapath.watch((bytes, count) => {
    for (let i = 0; i < count; i++) {
      const { offset } = eventRecord(bytes.subarray(0, (i + 1) * EVENT_SIZE), i);
      announced.push(bytes.slice(offset, offset + RECORD_SIZE));
    }
  });
  proxy = await legs.proxy(async (client, server, head) => {
    const result = await splice(client, server, { toServer: head });
    if (result.spliced) outcomes.push(await result.committed);
  });
});

test.after(async () => {
  watch.close();
  proxy.close();
  await legs.stop();
});

test.before.each(async () => {
  legs.datapath.table.flush();
  await sleep(20); // the events of the test before
  announced = [];
  outcomes.length = 0;
});

/** A client that writes for half a second, which nobody holds up. */
const transfer = (): Promise<{ ok: boolean }> =>
  legs.transfer({ verb: 'PUT', length: 100_000, piece: 10_000, paceMs: 60 });

real('the splice is announced at once, and is spliced when another node has it', async () => {
  legs.datapath.deferMs = 60_000;
  const before = counter('deferred');
  const done = transfer();
  await until('the announcement', () => announced.length === 1);
  const r = new RecordView(announced[0]);
  assert.is(states(r), 'SPLICED SPLICED', 'others hear of a splice that can live with them');
  assert.is(r.flags & (Flag.DEFER0 | Flag.DEFER1), 0);
  const [{ packets }] = [...legs.datapath.table.dumpEntries()].flat();
  await sleep(150);
  const [waiting] = dump();
  assert.match(states(waiting), /PRE_SPLICED/);
  assert.equal(outcomes, [], 'the proxy keeps its socket');
  assert.is(waiting.generation, r.generation);
  const [asAnnounced] = dump({ announced: true });
  assert.is(states(asAnnounced), 'SPLICED SPLICED', 'a resync finds what was announced');
  assert.is(asAnnounced.flags & (Flag.DEFER0 | Flag.DEFER1), 0);
  const [now] = [...legs.datapath.table.dumpEntries()].flat();
  assert.ok(now.packets[0] > packets[0], 'data goes on meanwhile');
  assert.equal([...legs.datapath.table.confirm(announced[0])], [Result.OK]);
  assert.is(states(dump()[0]), 'SPLICED SPLICED');
  await until('the commit', () => outcomes.length === 1);
  assert.equal(outcomes, ['committed']);
  assert.is(dump()[0].generation, r.generation, 'nothing that was announced has changed');
  assert.is(counter('deferred'), before + 1);
  assert.ok((await done).ok);
});

real('when nobody confirms, the commit goes on after the time that it is given', async () => {
  legs.datapath.deferMs = 200;
  const before = counter('defer_expired');
  const began = performance.now();
  const done = transfer();
  await until('the announcement', () => announced.length === 1);
  await until('the commit', () => outcomes.length === 1);
  const took = performance.now() - began;
  assert.ok(took > 200, `${took} ms`);
  assert.is(counter('defer_expired'), before + 1);
  assert.is(states(dump()[0]), 'SPLICED SPLICED');
  assert.ok((await done).ok);
});

real('it goes on at once when nobody is to be waited for any more', async () => {
  legs.datapath.deferMs = 60_000;
  const before = counter('defer_expired');
  const done = transfer();
  await until('the announcement', () => announced.length === 1);
  legs.datapath.deferMs = 0;
  await until('the commit', () => outcomes.length === 1);
  assert.is(counter('defer_expired'), before);
  assert.ok((await done).ok);
});

real('a flow that ends while its commit waits is told, and waits no longer', async () => {
  legs.datapath.deferMs = 60_000;
  // or it may be over, on a machine that is busy, before the proxy asks for the first time
  const chain = 'type filter hook output priority 0; tcp flags & fin == fin drop;';
  legs.in('server', 'nft', `table inet t { chain o { ${chain} }; }`);
  const done = legs.transfer({ verb: 'PUT', length: 100 });
  await until('the announcement', () => announced.length === 1);
  assert.is(states(new RecordView(announced[0])), 'SPLICED SPLICED');
  assert.equal(outcomes, []);
  legs.lose('server', 0);
  await until('the end', () => announced.some((r) => states(new RecordView(r)).includes('FIN')));
  await until('the commit', () => outcomes.length === 1);
  assert.ok((await done).ok);
});

test.run();
