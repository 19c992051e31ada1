// deadline: 90
// Two daemons that both have the virtual address: one of them answers for it. What is asked, what is
// done when nobody answers, and what the operator is told.
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { FenceWay, StatusResult } from '../../daemon/control/protocol.js';
import { privileges } from '../support/privileges.js';
import { type Node, Pair, until, VIRTUAL } from './pair.js';

const OLD_PEER = fileURLToPath(new URL('./old-peer.ts', import.meta.url));

const fence = suite('fence');
const lacking = privileges();
if (lacking) fence.skip(lacking);
else {
  let lab: Pair;
  const give = ({ name }: Node): void => lab.lab.ip(name, [`address add ${VIRTUAL}/32 dev eth0`]);
  const take = ({ name }: Node): void => lab.lab.ip(name, [`address del ${VIRTUAL}/32 dev eth0`]);
  const answering = async (node: Node): Promise<unknown> => (await node.table()).answering;
  const runtime = async (node: Node): Promise<Readonly<Record<string, number | string>>> =>
    (await node.call('stats', { what: 'runtime' })).sections[0]?.values ?? {};
  const ways = (status: StatusResult | undefined): [string, FenceWay][] =>
    (status?.takeover?.fence ?? []).map(({ peer, way }) => [peer, way]);
  const status = async (node: Node): Promise<StatusResult> => {
    const found = await node.status();
    if (!found) throw new Error(`${node.name} does not answer: ${node.logFile}`);
    return found;
  };
  /** a is stopped, as if its machine hung, when b takes over; and goes on after that. */
  let woken = performance.now();
  const whileSilent = async (act: () => Promise<void>): Promise<void> => {
    await lab.until('a is heard', async () => {
      const [peer] = (await status(lab.b)).peers;
      const heardMs = peer?.last_heard_ms ?? Number.POSITIVE_INFINITY;
      return peer?.in_sync === true && heardMs < Math.min(1500, performance.now() - woken);
    });
    await lab.a.signal('SIGSTOP', false);
    try {
      await act();
    } finally {
      await lab.a.signal('SIGCONT', false);
      woken = performance.now();
    }
  };
  /** b loses its address, and gets it again. */
  const anew = async (): Promise<[string, FenceWay][]> => {
    const { epoch } = await status(lab.b);
    take(lab.b);
    await lab.until('b is a backup', async () => (await status(lab.b)).role === 'backup');
    give(lab.b);
    await lab.until('b has taken over anew', async () => {
      return ((await status(lab.b)).takeover?.epoch ?? 0) > epoch;
    });
    return ways(await status(lab.b));
  };
  /** A script comes after the address: b has taken over, and a is silent still. */
  const sameAgain = async (): Promise<void> => {
    const [before, counted] = [await status(lab.b), await runtime(lab.b)];
    const { committed, epoch, fence: asked } = await lab.b.call('commit', { here: 'yes' });
    assert.equal([committed, epoch, asked], [0, before.epoch, []]);
    const after = await status(lab.b);
    const told = ({ takeover }: StatusResult) => [
      takeover?.why,
      takeover?.entries,
      takeover?.epoch,
      takeover?.took_ms,
    ];
    assert.equal(told(after), told(before), 'the takeover is what is told of');
    assert.equal(told(after).slice(0, 2), ['address', 20]);
    assert.equal(ways(after), [['a', 'silent']]);
    assert.is((await runtime(lab.b)).yields_asked, counted.yields_asked);
    assert.is(await answering(lab.b), 'always');
  };
  const script = (name: string, text: string): string => {
    const file = lab.lab.write(name, `#!/bin/sh\n${text}`);
    chmodSync(file, 0o755);
    return file;
  };
  /** b reads its configuration again, with these lines in Failover. */
  const configure = async (lines: string): Promise<void> => {
    lab.b.configure((text) => text.replace('GuardTimeout 2', `GuardTimeout 2\n  ${lines}`));
    const before = lab.b.log.split('configuration read again').length;
    await lab.b.signal('SIGHUP', false);
    await lab.until('the configuration', () => {
      return lab.b.log.split('configuration read again').length > before;
    });
  };

  fence.before(async () => {
    lab = new Pair();
    // for a peer that is slow to answer on a busy machine
    lab.b.configure((text) =>
      text.replace('GuardTimeout 2', 'GuardTimeout 2\n  FenceTimeout 300ms'),
    );
    await lab.start();
  });
  fence.after(() => lab?.remove());

  fence('where the address is on both, the one that took over last answers', async () => {
    give(lab.a);
    await lab.until('a serves', async () => (await status(lab.a)).takeover !== null);
    const { table } = await lab.a.table();
    table.insert(await lab.a.born(20, 1), { events: true });
    await lab.until('b knows', async () => (await status(lab.b)).external.entries === 20);
    assert.is(await answering(lab.a), 'always');
    give(lab.b);
    await lab.until(
      'b has taken over',
      async () => (await status(lab.b)).takeover?.why === 'address',
    );
    assert.is(await answering(lab.a), 'never');
    assert.is(await answering(lab.b), 'always');
    const [a, b] = [await status(lab.a), await status(lab.b)];
    assert.equal(ways(b), [['a', 'yielded']]);
    assert.is(b.yielded_to, null);
    assert.is(a.yielded_to, 'b');
    assert.is(a.guard.state, 'armed');
    assert.match(a.warnings.join(), 'b has taken over, and this node does not answer');
    assert.is((await runtime(lab.a)).yielded, 1);
    assert.is((await runtime(lab.b)).yields_answered, 1);
    assert.match(lab.a.log, '"code":"YIELDED"');
  });

  fence(
    'a node that has yielded does not take over by itself, nor when its daemon starts again',
    async () => {
      const { epoch } = await status(lab.b);
      assert.is(await lab.a.signal('SIGTERM', true), 0);
      assert.is(await answering(lab.a), 'never');
      lab.a.start();
      await lab.a.ready();
      await lab.until(
        'a is heard again',
        async () => (await status(lab.b)).peers[0]?.in_sync === true,
      );
      await until(
        'a has looked for who serves',
        10,
        async () => (await status(lab.a)).uptime_ms > 3000,
      );
      assert.is((await status(lab.a)).yielded_to, 'b');
      assert.is(await answering(lab.a), 'never');
      assert.is((await status(lab.b)).epoch, epoch);
    },
  );

  fence('it does as soon as the other one says that it has lost the address', async () => {
    take(lab.b);
    await lab.until(
      'a has taken over',
      async () => (await status(lab.a)).takeover?.why === 'taken-back',
    );
    await lab.until('the flows', async () => (await status(lab.a)).internal.entries === 20);
    assert.is(await answering(lab.a), 'always');
    assert.is((await status(lab.a)).yielded_to, null);
    assert.is((await runtime(lab.a)).unclaimed, 1);
    assert.is((await status(lab.b)).yielded_to, null);
  });

  fence('a daemon that is started again where it has served goes on, and asks nobody', async () => {
    const { epoch } = await status(lab.a);
    await lab.a.signal('SIGKILL', true);
    lab.a.start();
    await lab.a.ready();
    await lab.until('a is primary', async () => (await status(lab.a)).role === 'primary');
    await lab.until('its commit', () => lab.a.log.includes('this node stands already'));
    const a = await status(lab.a);
    assert.equal([a.epoch, a.takeover, a.guard.state === 'armed'], [epoch, null, false]);
    assert.is(a.internal.entries, 20);
    assert.is((await runtime(lab.a)).yields_asked, 0);
    assert.is(await answering(lab.a), 'always');
  });

  fence('a peer that hangs is not waited for, and yields when it wakes up', async () => {
    await whileSilent(async () => {
      give(lab.b);
      await lab.until('b has taken over', async () => {
        return ways(await status(lab.b)).join() === 'a,silent';
      });
      assert.is(await answering(lab.b), 'always');
      assert.is((await status(lab.b)).internal.entries, 20);
      assert.match((await status(lab.b)).warnings.join(), 'a was alive at the last takeover');
      assert.match(lab.b.log, '"code":"NOT_FENCED"');
      assert.is((await runtime(lab.b)).fence_failed, 1);
      await sameAgain();
    });
    await lab.until('a yields', async () => (await status(lab.a)).yielded_to === 'b');
    assert.is(await answering(lab.a), 'never');
    await lab.until('b is content', async () => {
      return !(await status(lab.b)).warnings.join().includes('may answer');
    });
  });

  fence('FenceCommand stops the peer, while the flows go on and new connections wait', async () => {
    const [gate, said] = [lab.lab.path('gate'), lab.lab.path('said')];
    const stop = script(
      'stop',
      `env > ${said}; echo "$@"; while [ ! -e ${gate} ]; do sleep 0.05; done`,
    );
    take(lab.b);
    await lab.until('a serves', async () => (await status(lab.a)).internal.entries === 20);
    await configure(`FenceCommand ${stop} --port 3 "two words"\n  FenceCommandTimeout 20`);
    await whileSilent(async () => {
      give(lab.b);
      await lab.until('the command runs', () => existsSync(said));
      const during = await status(lab.b);
      assert.is(during.internal.entries, 20, 'committed already');
      assert.is(during.guard.state, 'armed');
      writeFileSync(gate, '');
      await lab.until('the takeover', async () => (await status(lab.b)).guard.state !== 'armed');
      assert.equal(ways(await status(lab.b)), [['a', 'command']]);
      assert.is(await answering(lab.b), 'always');
      const env = readFileSync(said, 'utf8');
      for (const line of ['SPLICED_PEER=a', 'SPLICED_NODE=b', 'SPLICED_EPOCH=']) {
        assert.match(env, line);
      }
      assert.match(lab.b.log, '--port 3 two words');
      rmSync(said);
      assert.equal(await anew(), [['a', 'command']]);
      assert.not(existsSync(said), 'of a peer that is stopped nothing is heard: once is enough');
    });
    const counters = await runtime(lab.b);
    assert.equal([counters.fence_commands, counters.fence_by_command], [1, 1]);
  });

  fence('a FenceCommand that fails, or is not there, is told', async () => {
    const fail = script('fail', 'echo no power switch; exit 3');
    await configure(`FenceCommand ${fail}`);
    await whileSilent(async () => {
      assert.equal(await anew(), [['a', 'failed']]);
    });
    assert.match(lab.b.log, 'no power switch');
    assert.match(lab.b.log, 'exit status 3');
    await configure('FenceCommand /nonexistent/fence');
    await whileSilent(async () => {
      assert.equal(await anew(), [['a', 'failed']]);
    });
    assert.match(lab.b.log, 'ENOENT');
    assert.is((await runtime(lab.b)).fence_command_failed, 2);
  });

  fence('one that does not end is killed with all that it has started', async () => {
    const pid = lab.lab.path('pid');
    const hang = script('hang', `sleep 1000 & echo $! > ${pid}; wait`);
    await configure(`FenceCommand ${hang}\n  FenceCommandTimeout 500ms`);
    await whileSilent(async () => {
      assert.equal(await anew(), [['a', 'timeout']]);
    });
    const child = `/proc/${readFileSync(pid, 'utf8').trim()}`;
    await lab.until('its child is gone', () => {
      return !existsSync(child) || readFileSync(`${child}/stat`, 'utf8').includes(') Z ');
    });
    assert.is((await runtime(lab.b)).fence_command_timeouts, 1);
    assert.is((await status(lab.b)).guard.state !== 'armed', true, 'it goes on all the same');
  });

  for (const [kept, what] of [
    [false, 'is a backup that answers if it has to, where the address has gone'],
    [true, 'takes over, where the address has stayed and nobody else answers'],
  ] as const) {
    fence(
      `a daemon that starts after one was killed in the middle of a takeover ${what}`,
      async () => {
        const [gate, pid] = [lab.lab.path(`gate-${kept}`), lab.lab.path(`pid-${kept}`)];
        const wait = script(
          'wait',
          `echo $$ > ${pid}; while [ ! -e ${gate} ]; do sleep 0.05; done`,
        );
        await configure(`FenceCommand ${wait}\n  FenceCommandTimeout 20`);
        take(lab.b);
        await lab.until('a serves', async () => (await status(lab.a)).yielded_to === null);
        await whileSilent(async () => {
          give(lab.b);
          await lab.until('the command runs', () => existsSync(pid));
          assert.is(await answering(lab.b), 'never');
          await lab.b.signal('SIGKILL', true);
          writeFileSync(gate, '');
        });
        take(kept ? lab.a : lab.b);
        lab.b.start();
        await lab.b.ready();
        await lab.until('b is put right', async () => (await answering(lab.b)) === 'always');
        const { role, draining, yielded_to } = await status(lab.b);
        assert.equal([role, draining, yielded_to], [kept ? 'primary' : 'backup', false, null]);
        if (kept) return;
        assert.is(await answering(lab.a), 'always');
        give(lab.b);
        await lab.until('b serves', async () => (await status(lab.a)).yielded_to === 'b');
      },
    );
  }

  fence('a peer of an older version is not asked, and not stopped', async () => {
    await lab.a.signal('SIGTERM', true);
    const argv = [process.execPath, '--import', 'tsx', OLD_PEER, 'old', '10.9.0.1'];
    lab.lab.spawn('a', argv, { stdio: 'ignore' });
    await until('the old peer is heard', 15, async () => {
      return (await status(lab.b)).peers.some(({ name, in_sync }) => name === 'old' && in_sync);
    });
    const before = (await runtime(lab.b)).fence_commands;
    assert.equal(await anew(), [['old', 'unable']]);
    assert.is((await runtime(lab.b)).fence_commands, before);
    assert.match(lab.b.log, 'old runs an older version');
    assert.is(await answering(lab.b), 'always');
  });
}
fence.run();
