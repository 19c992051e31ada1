// SPDX-License-Identifier: MIT
// DisableExternalCache, on a real pair: what the peer owns stands in this node's kernel too, and follows it.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Flag, RECORD_SIZE, State } from '../../kernel/record/layout.js';
import { RecordView } from '../../kernel/record/record.js';
import { privileges } from '../support/privileges.js';
import { within } from '../support/within.js';
import { type Node, Pair } from './pair.js';

const standby = suite('flows of the peer in the own kernel');
const lacking = privileges();
if (lacking) standby.skip(lacking);
else {
  let lab: Pair;
  const test = (name: string, body: () => Promise<void>): void =>
    standby(name, () => within(20_000, name, body()));

  /** What a kernel holds: how many for others, how many as its own, and whose they are. */
  const kernel = async (node: Node): Promise<{ held: number; own: number; owners: number[] }> => {
    const records = await node.dump('kernel');
    const held = records.filter((record) => record.flags & Flag.STANDBY).length;
    const owners = [...new Set(records.map((record) => record.owner))];
    return { held, own: records.length - held, owners };
  };
  const becomes = async (
    node: Node,
    wanted: { held: number; own: number; owners: number[] },
  ): Promise<void> => {
    const same = async (): Promise<boolean> =>
      JSON.stringify(await kernel(node)) === JSON.stringify(wanted);
    await lab
      .until(`the kernel of ${node.name}`, same)
      .catch(async () => assert.equal(await kernel(node), wanted));
  };
  const counter = async (node: Node, name: string): Promise<number | string | null> => {
    const [{ values }] = (await node.call('stats', { what: 'kernel' })).sections;
    return values[name];
  };

  standby.before(async () => {
    lab = new Pair();
    for (const node of [lab.a, lab.b]) {
      node.configure((text) =>
        text.replace('PurgeTimeout 5', 'PurgeTimeout 5\n DisableExternalCache Yes'),
      );
    }
    await lab.start();
  });
  standby.after(() => lab?.remove());

  test('what is born on one node is held by the kernel of the other, changes with it and goes with it', async () => {
    const { table } = await lab.a.table();
    table.insert(await lab.a.born(600, 1), { events: true });
    await becomes(lab.b, { held: 600, own: 0, owners: [lab.a.id] });
    assert.is((await lab.b.status())?.external.entries, 600, 'the bookkeeping is as ever');
    const changed = new RecordView(await lab.a.born(1, 1));
    changed.generation = 2;
    changed.setState(1, State.FIN_RELAYED);
    table.insert(changed.bytes, { events: true });
    await lab.until('the change', async () => {
      const records = await lab.b.dump('kernel');
      return records.some((r) => r.generation === 2 && r.state(1) === State.FIN_RELAYED);
    });
    table.delete(await lab.a.born(50, 551), { events: true });
    await becomes(lab.b, { held: 550, own: 0, owners: [lab.a.id] });
  });

  test('a commit makes them own where they stand, and the other node holds them from then on', async () => {
    const result = await lab.b.call('commit', {});
    assert.is(result.claiming, 550, 'they translate already');
    assert.equal(result.refused, {});
    assert.is(await counter(lab.b, 'standby_taken'), 550);
    await becomes(lab.b, { held: 0, own: 550, owners: [lab.b.id] });
    await becomes(lab.a, { held: 550, own: 0, owners: [lab.b.id] });
  });

  test('what ended while the daemon was away is not held any longer', async () => {
    await lab.a.signal('SIGTERM', true);
    const gone = (await lab.b.dump('kernel')).slice(0, 30).map((record) => record.bytes);
    const { table } = await lab.b.table();
    const bytes = Buffer.concat(gone);
    assert.is(bytes.length, 30 * RECORD_SIZE);
    table.delete(bytes, { events: true });
    assert.is((await (await lab.a.table()).table).live(), 550, 'they stand there without a daemon');
    lab.a.start();
    await lab.a.ready();
    await becomes(lab.a, { held: 520, own: 0, owners: [lab.b.id] });
  });

  test('they go when the daemon is told to keep an external cache again', async () => {
    await lab.a.signal('SIGTERM', true);
    lab.a.configure((text) => text.replace('PurgeTimeout 5', 'PurgeTimeout 1'));
    lab.a.start();
    await lab.a.ready();
    await becomes(lab.a, { held: 0, own: 0, owners: [] });
    assert.is((await lab.a.status())?.external.entries, 520);
  });
}

standby.run();
