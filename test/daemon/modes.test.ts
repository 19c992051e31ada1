// Two real daemons in NOTRACK, without an internal cache, and then in ALARM. The steps build on each
// other.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { privileges } from '../support/privileges.js';
import { within } from '../support/within.js';
import { type Node, Pair } from './pair.js';

const modes = suite('pair in the other modes');
const lacking = privileges();
if (lacking) modes.skip(lacking);
else {
  let lab: Pair;
  const test = (name: string, run: () => Promise<void>): void =>
    modes(name, () => within(20_000, name, run()));
  const entries = async (node: Node): Promise<number> =>
    (await node.status())?.external.entries ?? -1;
  const inMode = (mode: string): void => {
    for (const node of [lab.a, lab.b]) {
      node.configure((text) => text.replace('Mode FTFW { PurgeTimeout 5 }', mode));
    }
  };

  modes.before(() => {
    lab = new Pair();
  });
  modes.after(() => lab?.remove());

  test('NOTRACK: changes go from the kernel to the wire, and are kept by the peer only', async () => {
    inMode('Mode NOTRACK { DisableInternalCache Yes }');
    await lab.start();
    const { table } = await lab.a.table();
    const records = await lab.a.born(300, 1);
    table.insert(records, { events: true });
    await lab.until('b has 300', async () => (await entries(lab.b)) === 300);
    table.delete(records.subarray(0, 100 * 152), { events: true });
    await lab.until('b has 200', async () => (await entries(lab.b)) === 200);
    const status = await lab.a.status();
    assert.is(status?.mode, 'NOTRACK');
    assert.equal(status?.internal, { entries: 0, limit: 0 });
    let refused = '';
    await lab.a.dump('internal').catch((error: Error) => {
      refused = error.message;
    });
    assert.match(refused, 'DisableInternalCache is Yes');
    assert.is((await lab.a.call('bulk', {})).records, null);
    assert.is((await lab.a.call('resync', {})).records, null);
  });

  test('NOTRACK: a peer that starts anew is told by a bulk that reads the kernel', async () => {
    assert.is(await lab.b.signal('SIGTERM', true), 0);
    lab.b.start();
    await lab.b.ready();
    assert.is(await entries(lab.b), 200);
  });

  test('NOTRACK: a takeover moves what was replicated, and the old owner lets go', async () => {
    const { committed } = await lab.b.call('commit', {});
    assert.is(committed, 200);
    await lab.until('a has let go', async () => {
      const status = await lab.a.status();
      return status?.table.live === 200 && status.table.held === 200;
    });
    await lab.until('a holds it for b', async () => (await entries(lab.a)) === 200);
  });

  test('ALARM: what was lost comes again, what is stale goes', async () => {
    for (const node of [lab.a, lab.b]) await node.signal('SIGTERM', true);
    (await lab.b.table()).table.flush();
    inMode('Mode ALARM { RefreshTime 1 CacheTimeout 2 }');
    await lab.start();
    const { table } = await lab.a.table();
    const records = await lab.a.born(300, 1000);
    table.insert(records.subarray(0, 200 * 152), { events: true });
    await lab.until('b has 200', async () => (await entries(lab.b)) === 200);
    const chain = 'chain i { type filter hook input priority 0; iifname eth2 drop; }';
    lab.lab.exec('b', 'nft', `table inet lose { ${chain}; }`);
    table.insert(records.subarray(200 * 152), { events: true });
    table.delete(records.subarray(0, 50 * 152), { events: true });
    await new Promise((resolve) => setTimeout(resolve, 300));
    lab.lab.exec('b', 'nft', 'delete', 'table', 'inet', 'lose');
    await lab.until('the births have come', async () => (await entries(lab.b)) === 300);
    await lab.until('the dead have gone', async () => (await entries(lab.b)) === 250);
    const status = await lab.b.status();
    assert.is(status?.mode, 'ALARM');
    assert.is(status?.in_sync, true);
  });
}
modes.run();
