// Two daemons, two kernels' tables, one multicast link: entries travel, are taken over, and outlive
// their daemons. The steps build on each other, as an evening of an operator would.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ControlError } from '../../daemon/control/index.js';
import type { StatusResult } from '../../daemon/control/protocol.js';
import { privileges } from '../support/privileges.js';
import { Pair, VIRTUAL, VIRTUAL6 } from './pair.js';

const pair = suite('pair');
const lacking = privileges();
if (lacking) pair.skip(lacking);
else {
  let lab: Pair;
  const track = (node: { trackFile: string }): string =>
    readFileSync(node.trackFile, 'utf8').trim();
  /** Entries of its kernel that are its own. */
  const own = (status: StatusResult | undefined): number =>
    status ? status.table.live - status.table.held : -1;
  const counts = async (): Promise<{ [key: string]: number }> => {
    const [a, b] = await Promise.all([lab.a.status(), lab.b.status()]);
    return {
      a_internal: a?.internal.entries ?? -1,
      a_external: a?.external.entries ?? -1,
      a_kernel: own(a),
      b_internal: b?.internal.entries ?? -1,
      b_external: b?.external.entries ?? -1,
      b_kernel: own(b),
    };
  };
  /** Waits until the counts are these, and shows how they differ when they do not become so. */
  const become = async (expected: { [key: string]: number }): Promise<void> => {
    const same = async (): Promise<boolean> => {
      const now = await counts();
      return Object.entries(expected).every(([key, value]) => now[key] === value);
    };
    await lab.until('the counts', same).catch(async () => {
      const now = await counts();
      assert.equal(now, { ...now, ...expected });
    });
  };

  pair.before(async () => {
    lab = new Pair();
    await lab.start();
  });
  pair.after(() => lab?.remove());

  pair(
    'both find each other, are in sync, and hold the guard until one is told to own',
    async () => {
      const status = await lab.b.status();
      assert.is(status?.role, 'backup', 'as no address is here');
      assert.is(status?.guard.state, 'armed');
      assert.equal(status?.guard.addresses, [VIRTUAL, VIRTUAL6]);
      assert.equal(
        status?.peers.map((peer) => peer.name),
        ['a'],
      );
      assert.is(track(lab.a), '0');
    },
  );

  pair('what the kernel of one announces is in the external cache of the other', async () => {
    const { table } = await lab.a.table();
    assert.equal([...new Set(table.insert(await lab.a.born(100, 1), { events: true }))], [0]);
    await become({ a_internal: 100, a_kernel: 100, b_external: 100, b_kernel: 0 });
    table.delete(await lab.a.born(10, 91), { events: true });
    await become({ a_internal: 90, a_kernel: 90, b_external: 90 });
    const ports = (await lab.b.dump('external')).map((record) => record.tuple(0).sourcePort);
    assert.equal(
      ports.sort(),
      Array.from({ length: 90 }, (_, i) => 20001 + i),
    );
  });

  pair(
    'a burst of events that the ring cannot hold is made up for, and the log says so',
    async () => {
      const { table } = await lab.a.table();
      const many = await lab.a.born(4000, 1000);
      await lab.a.signal('SIGSTOP', false);
      try {
        // 32,000 events, where 24,966 have room
        for (let round = 0; round < 4; round++) {
          assert.equal([...new Set(table.insert(many, { events: true }))], [0]);
          table.delete(many, { events: true });
        }
        table.insert(await lab.a.born(5, 300), { events: true });
        table.delete(await lab.a.born(10, 81), { events: true });
      } finally {
        await lab.a.signal('SIGCONT', false);
      }
      await become({ a_internal: 85, a_kernel: 85, b_external: 85 });
      assert.ok(((await lab.a.status())?.events_lost ?? 0) >= 32_000 - 24_966);
      await lab.until('the log', () => lab.a.log.includes('lost events are made up for'));
      table.delete(await lab.a.born(5, 300), { events: true });
      table.insert(await lab.a.born(10, 81), { events: true });
      await become({ a_internal: 90, a_kernel: 90, b_external: 90 });
    },
  );

  pair('bad requests get an error and change nothing', async () => {
    const raw = (bytes: Buffer): Promise<string> =>
      new Promise((resolve) => {
        const socket = connect(lab.b.socket);
        let said = '';
        socket.on('data', (chunk) => {
          said += chunk.toString('latin1');
        });
        socket.on('close', () => resolve(said));
        socket.on('error', () => resolve(said));
        socket.end(bytes);
      });
    assert.match(await raw(Buffer.from('GET / HTTP/1.1\r\n\r\n')), 'bad_frame');
    const wrong = Buffer.from('{"v":1,"verb":"destroy"}');
    const head = Buffer.from([wrong.length, 0, 0, 0, 1]);
    assert.match(await raw(Buffer.concat([head, wrong])), 'bad_verb');
    const unknown = await lab.b.call('commit', { node: 'c' }).catch((error: unknown) => error);
    assert.instance(unknown, ControlError);
    assert.match((unknown as ControlError).message, 'no peer is called c');
    await become({ a_internal: 90, b_external: 90, b_kernel: 0 });
  });

  pair('what ends where the owner is not is announced only when it owns again', async () => {
    const { table } = await lab.a.table();
    table.insert(await lab.a.born(5, 300), { events: true });
    await become({ a_internal: 95, b_external: 95 });
    await lab.a.call('role', { role: 'backup' });
    table.delete(await lab.a.born(5, 300), { events: true });
    await lab.until('the events', async () => {
      const [runtime] = (await lab.a.call('stats', { what: 'runtime' })).sections;
      return runtime?.values.ends_held_back === 5;
    });
    await become({ a_kernel: 90, b_external: 95 });
    await lab.a.call('commit', {});
    await become({ a_internal: 90, b_external: 90 });
  });

  pair("a commit makes them the other node's own, and the first one lets go of them", async () => {
    const result = await lab.b.call('commit', {});
    assert.is(result.committed, 90);
    assert.equal(result.refused, {});
    await become({ b_internal: 90, b_external: 0, b_kernel: 90 });
    await become({ a_internal: 0, a_external: 90, a_kernel: 0 });
    const records = await lab.b.dump('kernel');
    assert.ok(records.every((record) => record.owner === lab.b.id && record.origin === lab.a.id));
    assert.ok(records.every((record) => record.epoch === result.epoch && result.epoch > 1));
    const status = await lab.b.status();
    assert.is(status?.role, 'primary');
    assert.is(status?.guard.state, 'releasing');
  });

  pair('what a peer did not take over ages, and leaves all caches', async () => {
    lab.a.configure((text) => text.replace('PurgeTimeout 5', 'PurgeTimeout 1'));
    await lab.a.signal('SIGHUP', false);
    await lab.until('the log', async () => lab.a.log.includes('"applied":["PurgeTimeout"]'));
    const { table } = await lab.a.table();
    table.insert(await lab.a.born(5, 300), { events: true });
    await lab.a.call('role', { role: 'backup' });
    await become({ a_internal: 5, b_external: 5 });
    await lab.b.call('commit', {});
    table.insert(await lab.a.born(3, 400), { events: true });
    await become({ a_internal: 3, b_internal: 95, b_external: 3 });
    await lab.a.call('role', { role: 'backup' }); // the script, late: it must not keep them from ageing
    await become({ a_internal: 0, a_kernel: 0, b_external: 0 });
    lab.a.configure();
    await lab.a.signal('SIGHUP', false);
    const { table: taken } = await lab.b.table();
    taken.delete(await lab.a.born(5, 300), { events: true });
    await become({ b_internal: 90, b_kernel: 90, a_external: 90 });
  });

  pair('flush, resync and bulk after a commit lose nothing', async () => {
    await lab.b.call('flush', { cache: 'external' });
    assert.is((await lab.b.call('resync', {})).records, 90);
    await lab.b.call('bulk', {});
    await become({ b_internal: 90, b_kernel: 90, a_external: 90, a_internal: 0 });
    // Flushing the internal cache too must not look like the death of every splice to the peer.
    await lab.b.call('flush', {});
    await lab.b.call('resync', {});
    await lab.b.call('bulk', {});
    await become({ b_internal: 90, b_kernel: 90, a_external: 90 });
  });

  pair('a daemon that ends leaves its table, and the next one adopts it', async () => {
    const { table } = await lab.a.table();
    table.insert(await lab.a.born(20, 500), { events: true });
    await become({ a_internal: 20, b_external: 20 });
    assert.is(await lab.a.signal('SIGTERM', true), 0);
    assert.not(existsSync(lab.a.socket));
    assert.ok(table.live() >= 20, 'what it has given up may be there too');
    table.delete(await lab.a.born(1, 500)); // while no daemon looks
    lab.a.start();
    await lab.a.ready();
    // The peer is told of what went in between, by the bulk that reconciles.
    await become({ a_internal: 19, a_kernel: 19, b_external: 19, b_internal: 90, a_external: 90 });
  });

  pair('after kill -9 the next daemon adopts the table, owner and epoch', async () => {
    await lab.b.signal('SIGKILL', true);
    lab.b.start();
    await lab.b.ready();
    await become({ b_internal: 90, b_kernel: 90, b_external: 19, a_external: 90, a_internal: 19 });
  });

  pair('SIGHUP applies what it can and says what needs a restart', async () => {
    const config = readFileSync(lab.a.config, 'utf8');
    const { writeFileSync } = await import('node:fs');
    writeFileSync(
      lab.a.config,
      config
        .replace('GuardTimeout 2', 'GuardTimeout 3')
        .replace('HashLimit 4096', 'HashLimit 8192'),
    );
    await lab.a.signal('SIGHUP', false);
    await lab.until('the log', async () => lab.a.log.includes('"needsRestart":["HashLimit"]'));
    assert.match(lab.a.log, '"applied":["GuardTimeout"]');
    writeFileSync(lab.a.config, 'Sync {');
    await lab.a.signal('SIGHUP', false);
    await lab.until('the log', async () => lab.a.log.includes('this block is never closed'));
    assert.ok(await lab.a.status());
    writeFileSync(lab.a.config, config);
  });

  pair('a second daemon on the same socket is refused', () => {
    const run = spawnSync(
      'nsenter',
      [
        `--net=/run/netns/${lab.lab.namespace('a')}`,
        process.execPath,
        '--import',
        'tsx',
        'daemon/main.ts',
        '-C',
        lab.a.config,
      ],
      { encoding: 'utf8', timeout: 20_000, cwd: new URL('../..', import.meta.url) },
    );
    assert.is(run.status, 2);
    assert.match(run.stderr, 'is running');
  });

  // The test plays VRRP: it takes the address away when the track file says so.
  pair(
    'a handover has the peer take over first, lets keepalived move the address, and becomes backup',
    async () => {
      lab.lab.ip('b', [`address add ${VIRTUAL}/32 dev eth0`]);
      await lab.b.call('commit', {});
      const handover = lab.b.call('handover', {});
      handover.catch(() => {}); // what fails before is to be told first
      await lab.until('the track file', async () => track(lab.b) === '-254');
      await become({ a_internal: 109, a_kernel: 109, b_internal: 0 });
      assert.is((await lab.b.status())?.table.live, 109, 'packets still come here');
      assert.is((await lab.a.status())?.role, 'backup');
      lab.lab.ip('b', [`address del ${VIRTUAL}/32 dev eth0`]);
      lab.lab.ip('a', [`address add ${VIRTUAL}/32 dev eth0`]);
      const { peer, entries, left } = await handover;
      assert.equal(
        { peer, entries, left },
        { peer: 'a', entries: 109, left: { sockets: 0, unacknowledged: 0 } },
      );
      assert.is((await lab.a.status())?.role, 'primary');
      lab.lab.ip('a', [`address del ${VIRTUAL}/32 dev eth0`]);
      await lab.until('the role', async () => (await lab.a.status())?.role === 'backup');
      const status = await lab.b.status();
      assert.is(status?.role, 'backup');
      assert.is(status?.draining, false);
      assert.is(status?.guard.state, 'armed');
      assert.is(track(lab.b), '0');
      await become({ b_internal: 0, b_kernel: 0, a_kernel: 109, a_internal: 109, b_external: 109 });
    },
  );

  pair('an address that comes makes its node the owner, with no script', async () => {
    lab.lab.ip('b', [`address add ${VIRTUAL}/32 dev eth0`]);
    await become({ b_internal: 109, b_kernel: 109, a_internal: 0, a_kernel: 0 });
    await lab.until('the announcements', async () => {
      const { sections } = await lab.b.call('stats', { what: 'runtime' });
      const [{ values }] = sections;
      assert.is(values.announce_failed, 0);
      return Number(values.announced) >= 2;
    });
    lab.lab.ip('b', [`address del ${VIRTUAL}/32 dev eth0`]);
    await lab.until('the role', async () => (await lab.b.status())?.role === 'backup');
  });

  pair(
    'an IPv6 address counts when duplicate detection is done, or was not asked for',
    async () => {
      const role = async (): Promise<string | undefined> => (await lab.b.status())?.role;
      lab.lab.ip('b', [`address add ${VIRTUAL6}/128 dev eth0`]);
      assert.is(await role(), 'backup', 'while another node may answer for it');
      await lab.until('the role', async () => (await role()) === 'primary');
      lab.lab.ip('b', [`address del ${VIRTUAL6}/128 dev eth0`]);
      await lab.until('the role', async () => (await role()) === 'backup');
      lab.lab.ip('b', [`address add ${VIRTUAL6}/128 dev eth0 nodad`]);
      await lab.until('the role', async () => (await role()) === 'primary');
      lab.lab.ip('b', [`address del ${VIRTUAL6}/128 dev eth0`]);
      await lab.until('the role', async () => (await role()) === 'backup');
    },
  );

  pair('scripts that come late are refused: the addresses know better', async () => {
    const late = async (role: 'primary' | 'backup'): Promise<string> =>
      lab.b.call('role', { role }).then(
        () => 'done',
        (error: Error) => error.message,
      );
    assert.match(await late('primary'), 'none of the virtual addresses is on this node');
    lab.lab.ip('b', [`address add ${VIRTUAL}/32 dev eth0`]);
    await lab.until('the role', async () => (await lab.b.status())?.role === 'primary');
    assert.match(await late('backup'), 'a virtual address is on this node');
    assert.is((await lab.b.status())?.role, 'primary');
  });

  pair('the notify script stops where the daemon knows better, and says so', () => {
    const cli = [process.execPath, 'dist/bin/splicectl.js', '-C', lab.a.config];
    const script = (state: string): { status: number | null; stderr: string } =>
      spawnSync('scripts/primary-backup.sh', [state], {
        encoding: 'utf8',
        timeout: 20_000,
        cwd: new URL('../..', import.meta.url),
        env: { ...process.env, SPLICECTL: cli.join(' '), SPLICED_LOCK: `${lab.a.config}.lock` },
      });
    const late = script('primary');
    assert.is(late.status, 1, late.stderr);
    assert.match(late.stderr, 'splicectl role primary failed with exit status 1');
    const backup = script('backup');
    assert.is(backup.status, 0, backup.stderr);
    const unknown = script('master');
    assert.is(unknown.status, 2);
    assert.match(unknown.stderr, 'expected primary, backup or fault');
  });

  pair('of two nodes with the address, the one that keeps it takes the flows back', async () => {
    lab.lab.ip('a', [`address add ${VIRTUAL}/32 dev eth0`]);
    await lab.until('the yield', async () => (await lab.b.status())?.yielded_to === 'a');
    await become({ a_internal: 109, b_internal: 0 });
    lab.lab.ip('a', [`address del ${VIRTUAL}/32 dev eth0`]);
    await become({ b_internal: 109, b_kernel: 109, a_internal: 0, a_kernel: 0 });
    assert.is((await lab.b.status())?.role, 'primary');
    assert.is((await lab.a.status())?.role, 'backup');
  });
}
pair.run();
