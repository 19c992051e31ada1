// One daemon: how it starts, in the foreground and with -d, what keeps it from starting, and what it
// does when events were lost.
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { command } from '../lab/lab.js';
import { privileges } from '../support/privileges.js';
import { Pair } from './pair.js';

const start = suite('start');
const lacking = privileges();
if (lacking) start.skip(lacking);
else {
  let pair: Pair;

  const spliced = (...args: string[]): { status: number | null; err: string } => {
    const argv = ['--import', 'tsx', 'daemon/main.ts', '-C', pair.a.config, ...args];
    const run = spawnSync(
      'nsenter',
      [`--net=/run/netns/${pair.lab.namespace('a')}`, process.execPath, ...argv],
      { encoding: 'utf8', timeout: 20_000, cwd: new URL('../..', import.meta.url) },
    );
    return { status: run.status, err: run.stderr };
  };
  /** The configuration of a with something else in it, while `act` runs. */
  const withConfig = (from: string, to: string, act: () => void): void => {
    pair.a.configure((text) => text.replaceAll(from, to));
    act();
    pair.a.configure();
  };

  start.before(() => {
    pair = new Pair();
    command('ip', ['-n', pair.lab.namespace('a'), 'tuntap', 'add', 'tun0', 'mode', 'tun']);
  });
  start.after(() => pair?.remove());

  start('what it lacks is said in one sentence, with exit status 2', () => {
    const cases: [string, string, RegExp][] = [
      ['eth0', 'tun0', /interface tun0 is not Ethernet .*; change Interface/],
      [pair.a.pinPath, '/tmp/spliced', /not on a bpf file system/],
      [pair.lab.group('a'), '/tmp', /no cgroup v2 directory/],
      ['IPv4_interface 10.9.0.1', 'IPv4_interface 10.9.0.7', /no address 10.9.0.7/],
      [pair.a.trackFile, '/nowhere/track', /the track file \/nowhere\/track cannot be written/],
    ];
    for (const [from, to, expected] of cases) {
      withConfig(from, to, () => {
        const { status, err } = spliced();
        assert.is(status, 2, err);
        assert.match(err, expected);
        assert.is(err.trim().split('\n').length, 1, err);
      });
    }
  });

  start('-d returns when the daemon serves, and its log is in the file', async () => {
    const log = pair.lab.path('a', 'spliced.log');
    pair.a.configure((text) => text.replace('NodeName a', `NodeName a LogFile ${log}`));
    const began = spliced('-d');
    assert.is(began.status, 0, began.err);
    assert.is((await pair.a.status())?.node, 'a');
    assert.ok(statSync(log).size > 0);
    await pair.a.call('stop', {});
    await pair.until('its end', async () => (await pair.a.status()) === undefined);
  });

  start('-d tells why the daemon did not start', () => {
    withConfig('eth0', 'tun0', () => {
      const { status, err } = spliced('-d');
      assert.is(status, 2);
      assert.match(err, 'tun0 is not Ethernet');
    });
  });

  start('a start-up log that cannot be opened is an error with its path', () => {
    withConfig('NodeName a', 'NodeName a LogFile /nowhere/log', () => {
      const { status, err } = spliced();
      assert.is(status, 2);
      assert.match(err, 'the log file /nowhere/log cannot be opened (ENOENT)');
    });
  });

  start('lost events are made up for by a resync that nobody has to ask for', async () => {
    pair.a.start();
    await pair.a.serves();
    const { table } = await pair.a.table();
    await pair.a.signal('SIGSTOP', false);
    const records = await pair.a.born(4000, 1);
    // 24,000 events are more than the ring holds; what is left in the table at the end is the truth
    for (let round = 0; round < 4; round++) {
      table.insert(records, { events: true });
      table.delete(records, { events: true });
    }
    table.insert(records.subarray(0, 152 * 1000), { events: true });
    await pair.a.signal('SIGCONT', false);
    await pair.until('the resync', async () => {
      const status = await pair.a.status();
      return status !== undefined && status.events_lost > 0 && status.internal.entries === 1000;
    });
    assert.match(pair.a.log, 'resync from the kernel');
  });

  start('a daemon on the active node does not make VRRP think ill of it', async () => {
    await pair.a.signal('SIGTERM', true);
    rmSync(pair.a.trackFile, { force: true });
    pair.lab.ip('a', ['address add 10.8.0.100/32 dev eth0']);
    pair.a.start();
    await pair.a.serves();
    assert.is(readFileSync(pair.a.trackFile, 'utf8'), '0\n');
    await pair.until('the role', async () => (await pair.a.status())?.role === 'primary');
  });
}
start.run();
