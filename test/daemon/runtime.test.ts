// SPDX-License-Identifier: MIT
// What changes while a daemon runs: interfaces that come and go, and a configuration that is read again.
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StatusResult } from '../../daemon/control/protocol.js';
import { command } from '../lab/lab.js';
import { privileges } from '../support/privileges.js';
import { within } from '../support/within.js';
import { Pair, VIRTUAL } from './pair.js';

const runtime = suite('runtime');
const lacking = privileges();
if (lacking) runtime.skip(`runtime ${lacking}`);
else {
  let pair: Pair;
  const test = (name: string, run: () => Promise<void>): void =>
    runtime(name, () => within(10_000, name, run()));
  const inside = (...argv: string[]): string =>
    command('nsenter', [`--net=/run/netns/${pair.lab.namespace('a')}`, ...argv]);
  const count = fileURLToPath(new URL('./attached.ts', import.meta.url));
  const attached = (...names: string[]): number[] =>
    JSON.parse(inside(process.execPath, '--import', 'tsx', count, ...names));
  const sysctl = (name: string): string =>
    inside('cat', `/proc/sys/${name.replaceAll('.', '/')}`).trim();
  const interfaces = async (): Promise<StatusResult['interfaces'] | undefined> =>
    (await pair.a.status())?.interfaces;
  const served = (...names: string[]): Promise<void> =>
    pair.until(`${names} served`, async () => `${(await interfaces())?.served}` === `${names}`);
  /** Reads the configuration again, altered; resolves when that is logged. */
  const reload = async (edit: (text: string) => string): Promise<string> => {
    const before = pair.a.log.length;
    pair.a.configure(edit);
    await pair.a.signal('SIGHUP', false);
    await pair.until('the reload', () => pair.a.log.slice(before).includes('configuration'));
    return pair.a.log.slice(before);
  };

  runtime.before(async () => {
    pair = new Pair();
    pair.a.configure((text) => text.replace('Interface eth0', 'Interface eth0 eth7'));
    pair.a.start();
    await within(20_000, 'the start', pair.a.serves());
  });
  runtime.after(() => pair?.remove());

  test('a missing interface is waited for, and status says so', async () => {
    assert.equal(await interfaces(), {
      served: ['eth0'],
      unserved: [{ name: 'eth7', why: 'it does not exist' }],
    });
    const { warnings = [] } = (await pair.a.status()) ?? {};
    assert.ok(warnings.some((warning) => warning.startsWith('eth7 is not served')));
    assert.equal(attached('eth0'), [2]);
  });

  test('one that comes, goes and comes again is served within a second each time', async () => {
    const appear = ['link', 'add', 'eth7', 'type', 'veth', 'peer', 'name', 'peer7'];
    for (let round = 0; round < 2; round++) {
      const came = performance.now();
      inside('ip', ...appear);
      await served('eth0', 'eth7');
      assert.ok(performance.now() - came < 1000);
      assert.equal(attached('eth7'), [2]);
      inside('ip', 'link', 'delete', 'eth7');
      await served('eth0');
    }
    const [section] = (await pair.a.call('stats', { what: 'runtime' })).sections;
    const { interfaces_attached, interfaces_lost } = section?.values ?? {};
    assert.equal([interfaces_attached, interfaces_lost], [3, 2]);
    for (const code of ['INTERFACE_MISSING', 'INTERFACE_ATTACHED', 'INTERFACE_LOST']) {
      assert.match(pair.a.log, `"code":"${code}","interface":"eth7"`);
    }
  });

  test('one that returns from elsewhere under its old number is served anew', async () => {
    inside('ip', 'link', 'add', 'eth7', 'type', 'veth', 'peer', 'name', 'peer7');
    await served('eth0', 'eth7');
    const other = pair.lab.namespace('b');
    inside('ip', 'link', 'set', 'eth7', 'netns', other);
    command('ip', ['-n', other, 'link', 'set', 'eth7', 'netns', pair.lab.namespace('a')]);
    await pair.until('the programs', () => attached('eth7')[0] === 2);
  });

  test('what stands in for it and is not Ethernet is refused, and the daemon goes on', async () => {
    inside('ip', 'link', 'delete', 'eth7');
    inside('ip', 'tuntap', 'add', 'eth7', 'mode', 'tun');
    await pair.until('the reason', async () => {
      return (await interfaces())?.unserved[0]?.why.includes('is not Ethernet') ?? false;
    });
    inside('ip', 'link', 'delete', 'eth7');
    await pair.until('the other reason', async () => {
      return (await interfaces())?.unserved[0]?.why === 'it does not exist';
    });
  });

  test('both families are forwarded, and routers are believed as before', async () => {
    inside('ip', 'link', 'add', 'eth7', 'type', 'veth', 'peer', 'name', 'peer7');
    await served('eth0', 'eth7');
    for (const [name, value] of [
      ['net.ipv4.conf.eth7.forwarding', '1'],
      ['net.ipv6.conf.eth7.forwarding', '1'],
      ['net.ipv6.conf.eth7.accept_ra', '2'],
      ['net.ipv6.conf.peer7.accept_ra', '1'],
    ] as const) {
      assert.is(sysctl(name), value, name);
    }
  });

  test('SIGHUP takes interfaces up and lets them go', async () => {
    const said = await reload((text) =>
      text.replace('Interface eth0', 'Interface peer7').replace('dev eth0', ''),
    );
    assert.match(said, '"applied":["Kernel Interface"],"needsRestart":[]');
    assert.equal(await interfaces(), { served: ['peer7'], unserved: [] });
    assert.equal(attached('eth0', 'eth7', 'peer7'), [0, 0, 2]);
    await reload((text) => text);
    assert.equal(await interfaces(), { served: ['eth0'], unserved: [] });
  });

  test('SIGHUP changes the size of the table with the splices in it; what cannot be is refused', async () => {
    const { table } = await pair.a.table();
    table.insert(await pair.a.born(100, 1), { events: true });
    const said = await reload((text) => text.replace('TableSize 4096', 'TableSize 8192'));
    assert.match(said, /"code":"TABLE_RESIZED","from":4096,"to":8192,"took_ms":\d+/);
    assert.equal((await pair.a.status())?.table, { live: 100, size: 8192, held: 0 });
    assert.equal(attached('eth0', 'eth7', 'peer7'), [2, 0, 0]);
    // the old table's descriptors are gone, and their numbers are these connections'
    const answers = await Promise.all(Array.from({ length: 30 }, () => pair.a.status()));
    assert.is(answers.filter((status) => status?.table.live === 100).length, 30);
    const refused = await reload((text) => text.replace('TableSize 4096', 'TableSize 64'));
    assert.match(refused, '"code":"TABLE_NOT_RESIZED","size":8192,"wanted":64');
    assert.equal((await pair.a.status())?.table, { live: 100, size: 8192, held: 0 });
  });

  test('the active node asks after flows for which no packet comes', async () => {
    const asked = async (): Promise<number> => {
      const [section] = (await pair.a.call('stats', { what: 'kernel' })).sections;
      return Number(section?.values.probed);
    };
    await reload((text) => text.replace('probe 1h', 'probe 1'));
    assert.is(await asked(), 0, 'nobody, as a backup');
    inside('ip', 'address', 'add', `${VIRTUAL}/32`, 'dev', 'eth0');
    await pair.until('the questions', async () => (await asked()) >= 100);
    inside('ip', 'address', 'del', `${VIRTUAL}/32`, 'dev', 'eth0');
  });

  test('SIGHUP sets what the kernel tells its trace pipe', async () => {
    await reload((text) => text.replace('TableSize', 'DebugLevel 2 TableSize'));
    const datapath = await pair.a.reopened();
    assert.is(datapath.debugLevel, 2);
    await reload((text) => text);
    assert.is(datapath.debugLevel, 0);
  });
}
runtime.run();
