// FTFW over real links of each kind: see nodes.ts for the networks.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { LinkSettings } from '../../../sync/transport/settings.js';
import { isolateOrSkip, run } from '../../support/isolate.js';
import { equal, layNetworks, linkOf, pause, RemoteNode } from './nodes.js';

await isolateOrSkip(import.meta.url);

const exchange = suite('exchange');

const a = new RemoteNode('a');
const b = new RemoteNode('b');
const c = new RemoteNode('c');
const all = [a, b, c];

exchange.before(async () => {
  layNetworks();
  for (const node of all) await node.connect();
});

exchange.after(() => {
  for (const node of all) node.kill();
});

exchange.after.each(async () => {
  for (const node of all) await node.tell('stop');
});

exchange('forty thousand splices that are born at once overflow no buffer', async () => {
  for (const node of [a, b])
    await node.tell('start', node.name, [linkOf('multicast', 4, node.name)]);
  await equal([a, b], 3000);
  await a.tell('open', 40_000);
  const [, { link, repaired }] = await equal([a, b], 5000);
  assert.is(link['multicast eth0 overflowed'], 0);
  assert.is(repaired, 0);
});

const KINDS: LinkSettings['kind'][] = ['multicast', 'udp', 'tcp'];

/** A death is noticed within half a second. */
const TIMING = { helloMs: 100, deadAfterMs: 500 };

for (const kind of KINDS) {
  const start = (node: RemoteNode, family: 4 | 6 = 4) =>
    node.tell('start', node.name, [linkOf(kind, family, node.name)], TIMING);

  exchange(
    `${kind}: a third node that joins late gets all; its death holds up nobody`,
    async () => {
      await start(a);
      await start(b);
      await a.tell('open', 4000);
      await b.tell('open', 4000);
      await equal([a, b], 5000);
      await start(c);
      await c.tell('open', 1000);
      const [{ holds }] = await equal(all, 5000);
      assert.is(holds.c.records, 1000);
      c.ip('link', 'set', 'eth0', 'down'); // without a good-bye
      await a.tell('open', 2000);
      await a.tell('close', 1000);
      const [{ holds: after }] = await equal([a, b], 3000);
      assert.is(after.c.alive, false);
      assert.is(after.c.records, 1000, 'what it owned is kept for a commit');
      c.ip('link', 'set', 'eth0', 'up');
      await equal(all, 5000);
      await c.tell('stop');
      await b.tell('open', 100);
      await equal([a, b], 1000);
      assert.is((await b.tell('ask', false)).holds.c.alive, false, 'it has said good-bye');
    },
  );

  exchange(`${kind}: what changes while the link is down arrives when it is up again`, async () => {
    await start(a);
    await start(b);
    await b.tell('open', 500);
    await equal([a, b], 5000);
    a.ip('link', 'set', 'eth0', 'down');
    await a.tell('open', 500);
    await b.tell('close', 500);
    await pause(100);
    a.ip('link', 'set', 'eth0', 'up');
    const [{ link }] = await equal([a, b], 6000);
    assert.ok(link[`${kind} eth0 not_sent_down`] > 0, 'the link says what it could not send');
  });

  exchange(
    `${kind}: an interface that is removed and made anew carries the link again`,
    async () => {
      await start(a);
      await start(b);
      await equal([a, b], 5000);
      run('ip', 'link', 'del', 'a0');
      await a.tell('open', 100);
      await pause(50);
      a.plug(0);
      await b.tell('open', 100);
      await equal([a, b], 6000);
    },
  );

  exchange(`${kind}: over IPv6`, async () => {
    await start(a, 6);
    await start(b, 6);
    await a.tell('open', 2000);
    await b.tell('open', 2000);
    await equal([a, b], 6000);
  });
}

exchange.run();
