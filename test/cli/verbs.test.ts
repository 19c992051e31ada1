// deadline: 120
// Every verb and letter of splicectl, as a program of its own, against two real daemons with two
// kernel tables (drawn in test/daemon/pair.ts). The steps build on each other.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import { type Leg, RecordView } from '../../kernel/record/record.js';
import { Pair } from '../daemon/pair.js';
import { privileges } from '../support/privileges.js';
import { within } from '../support/within.js';
import { splicectl } from './run.js';

const XSD = fileURLToPath(new URL('../../docs/spliced.xsd', import.meta.url));

const verbs = suite('verbs');
const lacking = privileges();
if (lacking) verbs.skip(`verbs ${lacking}`);
else {
  let pair: Pair;
  const test = (name: string, run: () => Promise<void>): void =>
    verbs(name, () => within(15_000, name, run()));
  const ask = async (node: 'a' | 'b', ...argv: string[]): Promise<string> => {
    const { status, out, err } = await splicectl(...argv, '-S', pair[node].socket);
    assert.equal([status, err], [0, ''], argv.join(' '));
    return out;
  };
  const rows = (text: string): string[][] =>
    text
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => line.split(/ +/));

  verbs.before(async () => {
    pair = new Pair();
    await within(20_000, 'the pair', pair.start());
    const { table } = await pair.a.table();
    table.insert(await pair.a.born(30, 1), { events: true });
    await pair.until('the copy', async () => (await pair.b.status())?.external.entries === 30);
  });
  verbs.after(() => pair.remove());

  test('-i, -e and dump show the same splices here, there and in the kernel', async () => {
    const [internal, external, kernel] = await Promise.all([
      ask('a', '-i'),
      ask('b', '-e'),
      ask('a', 'dump', 'kernel'),
    ]);
    // Without Expires (9), which goes on.
    const still = (text: string): string[] =>
      rows(text)
        .map((row) => row.toSpliced(9, 1).join(' '))
        .sort();
    assert.is(still(internal).length, 30);
    assert.equal(still(external), still(internal));
    const uncounted = (line: string): string => line.split(' ').slice(0, -4).join(' ');
    assert.equal(still(kernel).map(uncounted), still(internal));
    const [first] = rows(kernel).filter((row) => row[14] === '1');
    assert.equal(first?.slice(0, 9), [
      ...['0A08000A', '4E21', '0A080064', '0050'],
      ...['0A070064', '4E21', '0A07000B', '0050', 'SPLICED'],
    ]);
    assert.equal(first?.slice(10, 13), ['a', 'a', '1']);
  });

  test('the pinned iterator prints what dump kernel prints, with ids for names', async () => {
    const { table } = await pair.a.table();
    const ipv6 = await pair.a.born(2, 31);
    for (const [i, legs] of [[0], [0, 1]].entries()) {
      for (const leg of legs as Leg[]) {
        const tuple = new RecordView(ipv6, i * RECORD_SIZE).tuple(leg);
        tuple.source = `2001:db8:${leg}::1`;
        tuple.destination = '::abcd';
      }
    }
    table.insert(ipv6);
    const pinned = readFileSync(`${pair.a.pinPath}/table`, 'utf8');
    const dumped = await ask('a', 'dump', 'kernel');
    table.delete(ipv6);
    assert.is(pinned.split('\n')[0], dumped.split('\n')[0]);
    const same = (row: string[]): string[] => [...row.slice(0, 9), ...row.slice(12)];
    assert.is(rows(pinned).length, 32);
    assert.equal(rows(pinned).map(same).sort(), rows(dumped).map(same).sort());
    assert.match(
      pinned,
      /^20010DB8000000000000000000000001 4E3F 0000000000000000000000000000ABCD 0050 0A070064 /m,
    );
  });

  test('-x and --json are whole, and filters keep what they name', async () => {
    const [xml, json] = await Promise.all([ask('a', '-i', '-x'), ask('b', '-e', '--json')]);
    const lint = spawnSync('xmllint', ['--noout', '--schema', XSD, '-'], {
      input: xml,
      encoding: 'utf8',
    });
    assert.is(lint.status, 0, lint.stderr);
    assert.is(xml.match(/<flow>/g)?.length, 30);
    const flows = json
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { origin: string });
    assert.ok(flows.length === 30 && flows.every(({ origin }) => origin === 'a'));
    const [port, network] = await Promise.all([
      ask('a', 'dump', 'kernel', '--sport', '20005'),
      ask('a', '-i', '--src', '10.9.0.0/16', '--xml'),
    ]);
    assert.is(rows(port).length, 1);
    assert.not.match(network, '<flow>');
  });

  test('status and -s tell what is going on, for people and for programs', async () => {
    const [text, json, all, part] = await Promise.all([
      ask('b', 'status'),
      ask('b', 'status', '--json'),
      ask('a', '-s'),
      ask('a', 'stats', 'kernel', '--json'),
    ]);
    assert.match(text, /^b: BACKUP, epoch \d+, in sync\n/);
    assert.match(text, /\na +yes +none +\d+.* ago +30 +2 /);
    const status = JSON.parse(json) as { external: { entries: number }; peers: { name: string }[] };
    assert.equal([status.external.entries, status.peers[0]?.name], [30, 'a']);
    for (const section of ['network', 'cache', 'runtime', 'link', 'queue', 'kernel']) {
      assert.match(all, new RegExp(`^${section}:$`, 'm'));
    }
    assert.is(JSON.parse(part).kernel.inserted, 32);
  });

  test('verify tells what differs, repairs it, and fails when something is left', async () => {
    const result = async (...argv: string[]) => {
      const { status, out, err } = await splicectl('verify', ...argv, '-S', pair.a.socket);
      assert.is(err, '');
      return { status, out };
    };
    assert.equal(await result(), {
      status: 0,
      out: 'PEER  HOLDS  DIFFERED  REPAIRED  RESULT\nb     30     0         0         equal\n',
    });
    await ask('b', '-f', 'external');
    const found = await result();
    assert.is(found.status, 1);
    assert.match(found.out, /\nb +0 +[1-9]\d* +0 +DIFFERS: /);
    const repaired = await result('--repair', '--json');
    assert.is(repaired.status, 0);
    const [peer] = JSON.parse(repaired.out).peers;
    assert.equal([peer.name, peer.outcome, peer.records], ['b', 'repaired', 30]);
    assert.is(peer.repaired, peer.differed);
    assert.is(rows(await ask('b', '-e')).length, 30);
    assert.match(await ask('b', 'status'), /^b: BACKUP, epoch \d+, in sync\n/);
  });

  test('-R, -n, -B and -t are done and say what they did', async () => {
    assert.is(await ask('a', '-R'), '30 splices of this node in the internal cache\n');
    assert.match(await ask('b', '-n'), '1 node known on it');
    assert.is(await ask('a', '-B'), '30 splices on their way to the other nodes\n');
    assert.is(await ask('a', '-t'), 'timers of 30 splices shortened\n');
    const expires = rows(await ask('a', 'dump', 'kernel')).map((row) => Number(row[9]));
    assert.ok(
      expires.every((seconds) => seconds <= 5),
      'PurgeTimeout is 5 s',
    );
  });

  test('-f empties what it names, and -R fills it again', async () => {
    assert.is(await ask('b', '-f', 'internal'), '0 entries removed from the internal cache\n');
    assert.is(
      await ask('b', 'flush'),
      '0 entries removed from the internal cache\n30 entries removed from the external cache\n',
    );
    assert.equal(rows(await ask('b', '-e')), []);
    await ask('b', '-n');
    await pair.until('the copy', async () => (await pair.b.status())?.external.entries === 30);
  });

  test("-c makes the splices this node's own; of an unknown node it fails with status 1", async () => {
    const unknown = await splicectl('commit', '--node', 'c', '-S', pair.b.socket);
    assert.is(unknown.status, 1);
    assert.match(unknown.err, /^splicectl: no peer is called c[^\n]*\n$/);
    assert.match(await ask('b', '-c'), /^30 splices committed in .*, epoch \d+\n$/);
    const owners = rows(await ask('b', 'dump', 'kernel')).map((row) => row[11]);
    assert.equal([...new Set(owners)], ['b']);
    assert.match(await ask('b', '-c'), /^0 splices committed/);
  });

  test('role tells the daemon what VRRP has decided', async () => {
    assert.is(await ask('a', 'role', 'backup'), 'this node is backup\n');
    assert.match(await ask('a', 'status'), /^a: BACKUP/);
  });

  test('handover without the addresses fails with status 1 and a reason', async () => {
    const { status, err } = await splicectl('handover', '-S', pair.a.socket);
    assert.is(status, 1);
    assert.match(err, /^splicectl: [^\n]+\n$/);
  });

  test('-F empties the kernel table', async () => {
    assert.is(await ask('b', '-F'), '30 splices removed from the kernel\n');
    assert.equal(rows(await ask('b', 'dump', 'kernel')), []);
  });

  test('-k stops the daemon, and then there is none to talk to', async () => {
    assert.match(await ask('a', '-k'), 'the splices go on in the kernel');
    await pair.until('its end', async () => (await pair.a.status()) === undefined);
    const { status, err } = await splicectl('status', '-S', pair.a.socket);
    assert.is(status, 2);
    assert.match(err, 'no spliced answers');
  });

  verbs(
    'a role that no daemon hears is known to the next one, and outlives a restart',
    async () => {
      const untold = async (role: string): Promise<void> => {
        const { status, err } = await splicectl('role', role, '-S', pair.a.socket);
        assert.is(status, 2);
        assert.match(err, 'it will know when it starts');
      };
      const starts = async (): Promise<void> => {
        pair.a.start();
        await pair.a.serves();
      };
      const becomes = (role: string): Promise<void> =>
        pair.until(role, async () => (await pair.a.status())?.role === role);
      await untold('fault');
      await starts();
      await becomes('fault');
      await ask('a', '-k');
      await pair.until('its end', async () => (await pair.a.status()) === undefined);
      // where no address tells, the script's word is all there is
      pair.a.configure((text) => text.replaceAll(/^ *VirtualAddress.*$/gm, ''));
      await untold('primary');
      await starts();
      await becomes('primary');
      await pair.until(
        'the takeover',
        async () => (await pair.a.status())?.takeover?.why === 'told',
      );
      await pair.a.signal('SIGKILL', true);
      await starts();
      await becomes('primary');
      assert.match(await ask('a', 'status'), 'its script had said so before this start; 0 splices');
    },
  );
}
verbs.run();
