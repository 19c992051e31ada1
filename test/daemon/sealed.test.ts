// Two real daemons on a sealed link: they replicate, change their key under traffic, and neither a wrong
// key nor a recording gets anywhere. The steps build on each other.
//
//   namespace a                       namespace b
//   eth2  10.9.0.1 ── veth, link ── eth2  10.9.0.2, and a recorder that has no key
import type { ChildProcess } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { privileges } from '../support/privileges.js';
import { within } from '../support/within.js';
import { type Node, Pair } from './pair.js';

const RECORDER = fileURLToPath(new URL('recorder.ts', import.meta.url));
const KEYS = ['1 '.padEnd(66, '1a'), '2 '.padEnd(66, '2b'), '1 '.padEnd(66, 'f0')];

const sealed = suite('sealed pair');
const lacking = privileges();
if (lacking) sealed.skip(lacking);
else {
  let lab: Pair;
  let recorder: ChildProcess;
  let lines: AsyncIterator<string>;
  let nextId = 1;

  const test = (name: string, run: () => Promise<void>): void =>
    sealed(name, () => within(20_000, name, run()));

  const keyFile = (node: Node, ...keys: string[]): string => {
    const file = lab.lab.write(`${node.name}/sync.key`, `${keys.join('\n')}\n`);
    chmodSync(file, 0o600);
    return file;
  };
  const network = async (node: Node): Promise<{ [name: string]: number }> => {
    const [section] = (await node.call('stats', { what: 'network' })).sections;
    return section.values as { [name: string]: number };
  };
  /** Splices are born on a. */
  const born = async (count: number): Promise<void> => {
    const { table } = await lab.a.table();
    table.insert(await lab.a.born(count, nextId), { events: true });
    nextId += count;
  };
  const held = async (): Promise<number> => (await lab.b.status())?.external.entries ?? -1;
  const same = (): Promise<void> =>
    lab.until('b has what a has', async () => (await held()) === nextId - 1);
  const reload = async (node: Node): Promise<void> => {
    const times = (text: string): number => text.split('configuration').length;
    const before = times(node.log);
    await node.signal('SIGHUP', false);
    await lab.until(`${node.name} has read its files`, () => times(node.log) > before);
  };

  sealed.before(async () => {
    lab = new Pair();
    for (const node of [lab.a, lab.b]) {
      const file = keyFile(node, KEYS[0]);
      node.configure((text) =>
        text.replace('Multicast {', `Authentication { KeyFile ${file} }\n  Multicast {`),
      );
    }
    const argv = [
      process.execPath,
      ...process.execArgv,
      RECORDER,
      '225.0.0.50',
      '3780',
      '10.9.0.2',
    ];
    recorder = lab.lab.spawn('b', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    const output = recorder.stdout as NodeJS.ReadableStream;
    lines = createInterface({ input: output })[Symbol.asyncIterator]();
    await within(10_000, 'the recorder', lines.next());
    await lab.start();
  });
  sealed.after(() => {
    recorder?.kill();
    lab?.remove();
  });

  const replay = async (): Promise<number> => {
    recorder.stdin?.write('replay\n');
    return Number((await within(10_000, 'the replay', lines.next())).value);
  };

  test('replicates, and says by which key it is sealed', async () => {
    await born(100);
    await same();
    assert.is((await lab.b.status())?.link.seal_key, 1);
    const { rejected_tag, rejected_unsealed } = await network(lab.b);
    assert.equal({ rejected_tag, rejected_unsealed }, { rejected_tag: 0, rejected_unsealed: 0 });
  });

  test('changes its key under traffic: no peer is lost, nothing has to be said twice', async () => {
    const before = await network(lab.b);
    let going = true;
    const traffic = (async () => {
      for (; going && nextId < 2000; await new Promise((resolve) => setTimeout(resolve, 5))) {
        await born(2);
      }
    })();
    try {
      for (const keys of [[KEYS[0], KEYS[1]], [KEYS[1], KEYS[0]], [KEYS[1]]]) {
        for (const node of [lab.a, lab.b]) {
          keyFile(node, ...keys);
          await reload(node);
        }
        await new Promise((resolve) => setTimeout(resolve, 150));
      }
    } finally {
      going = false;
      await traffic;
    }
    await same();
    const after = await network(lab.b);
    for (const name of ['lost_for_good', 'peers_died', 'rejected_key', 'rejected_tag']) {
      assert.is(after[name] - before[name], 0, name);
    }
    for (const node of [lab.a, lab.b]) {
      assert.is((await node.status())?.link.seal_key, 2);
      assert.match(node.log, /"code":"KEYS","seals":2,"accepts":\[2\]/);
      for (const key of KEYS) assert.not(node.log.includes(key.slice(2)), 'a key is in the log');
    }
  });

  test('a key file with a mistake, or for all to read, changes nothing', async () => {
    keyFile(lab.b, KEYS[1].slice(0, -1));
    await reload(lab.b);
    assert.match(lab.b.log, /sync.key:1:3: this is no key \(63 characters\)/);
    chmodSync(keyFile(lab.b, KEYS[1]), 0o644);
    await reload(lab.b);
    assert.match(lab.b.log, /mode 0644/);
    await born(10);
    await same();
  });

  test('a wrong key on one side is counted on both, and nothing is replicated', async () => {
    keyFile(lab.b, KEYS[2]);
    await reload(lab.b);
    const before = await held();
    await born(10);
    await lab.until('both say so', async () => {
      const [a, b] = await Promise.all([network(lab.a), network(lab.b)]);
      return a.rejected_key > 0 && b.rejected_key > 0;
    });
    keyFile(lab.a, KEYS[2].replace(/0$/, '1'));
    await reload(lab.a);
    await born(10);
    await lab.until('the same id, another key', async () => {
      const [a, b] = await Promise.all([network(lab.a), network(lab.b)]);
      return a.rejected_tag > 0 && b.rejected_tag > 0;
    });
    assert.is(await held(), before);
    keyFile(lab.a, KEYS[2]);
    await reload(lab.a);
    await same();
  });

  test('all that was on the link, sent again to a daemon that has started anew: refused', async () => {
    await lab.a.signal('SIGKILL', true);
    await lab.b.signal('SIGTERM', true);
    keyFile(lab.b, ...[KEYS[2], KEYS[1]]);
    lab.b.start();
    await lab.b.serves();
    const sent = await replay();
    assert.ok(sent > 50, `${sent} datagrams were recorded`);
    await lab.until('it has refused what is no handshake', async () => {
      const stats = Object.entries(await network(lab.b));
      const refused = stats.filter(([name]) => name.startsWith('rejected_'));
      return refused.reduce((sum, [, count]) => sum + count, 0) >= 0.7 * sent;
    });
    assert.ok((await network(lab.b)).rejected_unproven > 0);
    const status = await lab.b.status();
    assert.equal([status?.peers.length, status?.external.entries], [0, 0]);
    lab.a.start();
    await lab.a.ready();
    await same();
  });

  test('without its key file a daemon does not start, and says why', async () => {
    await lab.b.signal('SIGTERM', true);
    chmodSync(keyFile(lab.b, KEYS[0]), 0o640);
    lab.b.start();
    await lab.until('it says so', () =>
      readFileSync(lab.b.logFile, 'utf8').includes('expected 0600 (chmod 0600'),
    );
  });
}
sealed.run();
