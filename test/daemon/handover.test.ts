// deadline: 120
// Handing over and rehearsing, with two real daemons and a HandoverCommand that moves the address by
// plain `ip address`: done, refused, failed, cut off in the middle. Nothing is ever lost by it. The steps
// build on each other.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { jsonFrame } from '../../daemon/control/frame.js';
import { splicectl } from '../cli/run.js';
import { command } from '../lab/lab.js';
import { privileges } from '../support/privileges.js';
import { within } from '../support/within.js';
import { type Node, Pair, VIRTUAL } from './pair.js';

const handover = suite('handover');
const lacking = privileges();
if (lacking) handover.skip(lacking);
else {
  const SPLICES = 40;
  let pair: Pair;
  let script: string;
  const test = (name: string, run: () => Promise<void>): void =>
    handover(name, () => within(30_000, name, run()));

  const file = (name: string): string => pair.lab.path('moves', name);
  /** What the command does from now on: "ok", "fail", "hang", "slow"; "untaken": not what a asks b for. */
  const mood = (what: string): void => writeFileSync(file('mood'), what);
  const told = (): string[] =>
    existsSync(file('told')) ? readFileSync(file('told'), 'utf8').trim().split('\n') : [];
  const holds = ({ name }: Node): boolean =>
    pair.lab.exec(name, 'ip', '-o', 'address', 'show').includes(` ${VIRTUAL}/`);
  const role = async (node: Node): Promise<string | undefined> => (await node.status())?.role;
  const owned = async (node: Node): Promise<number | undefined> =>
    (await node.status())?.internal.entries;
  const failing = (node: Node): Promise<string> =>
    node.call('handover', {}).then(
      () => 'done',
      (error: Error) => error.message,
    );
  /** All is as it was before: nothing has moved. */
  const undone = async (): Promise<void> => {
    const { a, b } = pair;
    await pair.until('the splices back', async () => (await owned(a)) === SPLICES);
    assert.equal([await role(a), await owned(b), holds(a), holds(b)], ['primary', 0, true, false]);
    assert.is(readFileSync(a.trackFile, 'utf8').trim(), '0');
    assert.is((await a.status())?.draining, false);
    await pair.until('that both are in sync', async () => {
      const peers = (await a.status())?.peers;
      return peers?.every(({ in_sync }) => in_sync) === true;
    });
  };

  handover.before(async () => {
    pair = new Pair();
    script = pair.lab.write(
      'moves/move.sh',
      `#!/bin/sh
echo "$*" >>'${file('told')}'
mood=$(cat '${file('mood')}')
if [ "$1" = give ]; then
  case "$mood" in
    fail) echo 'the manager is out'; exit 3 ;;
    hang) sleep 600 ;;
    slow) sleep 1 ;;
  esac
  exec ip address del ${VIRTUAL}/32 dev eth2
fi
[ "$mood $2" = 'untaken a' ] || exec ip address replace ${VIRTUAL}/32 dev eth2
exit 1
`,
    );
    command('chmod', ['755', script]);
    for (const node of [pair.a, pair.b]) {
      node.configure((text) =>
        text
          .replace(`VirtualAddress ${VIRTUAL} dev eth0`, `VirtualAddress ${VIRTUAL}`)
          .replace(/ *VirtualAddress fd.*\n/, '')
          .replace(
            'TrackFile',
            `HandoverCommand ${script}\n  HandoverCommandTimeout 2\n  TrackFile`,
          ),
      );
    }
    await within(40_000, 'the pair', pair.start());
    const { table } = await pair.a.table();
    table.insert(await pair.a.born(SPLICES, 1), { events: true });
    pair.lab.ip('a', [`address add ${VIRTUAL}/32 dev eth2`]);
    await pair.until('the role', async () => (await role(pair.a)) === 'primary');
    await pair.until('the copies', async () => {
      return (await pair.b.status())?.external.entries === SPLICES;
    });
    mood('ok');
  });
  handover.after(() => pair?.remove());

  test('a check moves nothing, and says what a takeover would find', async () => {
    const report = await pair.a.call('rehearse', { moves: 'no' });
    const { before, move, ok } = report;
    assert.equal([report.node, move, ok, before.problems], ['a', null, true, []]);
    assert.equal([before.addresses, before.splices, before.sockets], [[VIRTUAL], SPLICES, 0]);
    const [verified] = before.verified;
    assert.equal([verified?.name, verified?.records, verified?.outcome], ['b', SPLICES, 'equal']);
    assert.equal(told(), []);
    const elsewhere = await pair.b.call('rehearse', { moves: 'no' });
    assert.equal(
      [elsewhere.ok, elsewhere.before.problems],
      [false, ['this node has none of the virtual addresses']],
    );
    await undone();
  });

  test('splicectl rehearse asks before it moves anything, and says by its status how it was', async () => {
    const run = (...args: string[]) => splicectl('rehearse', ...args, '-S', pair.a.socket);
    const unasked = await run();
    assert.is(unasked.status, 2);
    assert.match(unasked.err, 'give --yes, or --check');
    const both = await run('--yes', '--check');
    assert.is(both.status, 2);
    const check = await run('--check');
    assert.equal([check.status, check.err], [0, '']);
    assert.match(check.out, /^a, .*: a takeover now would lose nothing\n/);
    assert.match(
      check.out,
      'b: in sync, 0 records behind (0 ms), holds 40 splices, equal by digest',
    );
    const json = await splicectl('rehearse', '--check', '--json', '-S', pair.b.socket);
    assert.is(json.status, 1);
    assert.is(JSON.parse(json.out).before.splices, 0);
    await undone();
  });

  test('a peer in fault is not given anything', async () => {
    await pair.b.call('role', { role: 'fault' });
    assert.match(await failing(pair.a), 'b is in fault');
    assert.equal(told(), [], 'the address has not been touched');
    await pair.b.call('role', { role: 'backup' });
    await undone();
  });

  test('a command that fails, or hangs, is said, and the splices are taken back', async () => {
    mood('fail');
    assert.match(
      await failing(pair.a),
      'HandoverCommand give: exit status 3: the manager is out; see the log',
    );
    assert.match((await pair.a.status())?.takeover?.why ?? '', 'taken-back');
    await undone();
    mood('hang');
    assert.match(await failing(pair.a), 'HandoverCommand give: killed after 2000 ms');
    await undone();
    assert.equal(told(), ['give b', 'give b']);
  });

  test('while one is under way a second one is refused, and it goes on when its client leaves', async () => {
    mood('slow');
    const client = connect(pair.a.socket);
    client.write(jsonFrame({ v: 1, verb: 'handover' }));
    await pair.until('the command', () => told().length === 3);
    client.destroy();
    assert.match(await failing(pair.a), 'a handover is under way already');
    assert.is(await owned(pair.b), SPLICES, 'the peer has taken over before the address moves');
    assert.is((await pair.a.status())?.table.live, SPLICES, 'and packets still come here');
    await pair.until('the address on b', async () => (await role(pair.b)) === 'primary');
    assert.equal([holds(pair.a), holds(pair.b)], [false, true]);
    await pair.until('the end', async () => (await pair.a.status())?.draining === false);
    await pair.until('its role', async () => (await role(pair.a)) === 'backup');
    assert.equal(told().slice(2), ['give b', 'take a']);
  });

  test('a rehearsal hands over and measures it: nothing is lost, and the peer answers at once', async () => {
    mood('ok');
    await pair.until('that all is in sync', async () => {
      const peers = (await pair.b.status())?.peers;
      return peers?.every(({ in_sync }) => in_sync) === true;
    });
    const { status, out, err } = await splicectl(
      'rehearse',
      '--yes',
      '--json',
      '-S',
      pair.b.socket,
    );
    assert.equal([status, err], [0, '']);
    const { move, ok } = JSON.parse(out);
    assert.equal([ok, move.failed, move.kept, move.lost], [true, null, SPLICES, 0]);
    assert.equal([move.handover.peer, move.stall_ms, move.dropped_here], ['a', 0, 0]);
    const [outage] = move.outages;
    assert.equal([move.outages.length, outage.address, outage.interface], [1, VIRTUAL, 'eth2']);
    assert.ok(outage.answered_ms > 0, out);
    assert.match(outage.station, /^..:..:..:..:..:..$/);
    await undone();
  });

  test('a peer that does not get the address gives it up to the node that had it', async () => {
    mood('untaken');
    assert.match(await failing(pair.a), 'has tried to take over and has not succeeded');
    assert.equal(told().slice(-3), ['give b', 'take a', 'take b']);
    await pair.until('the address back', () => holds(pair.a));
    await undone();
  });

  test('a daemon that is killed in the middle of it takes the splices back when it starts', async () => {
    mood('slow');
    const before = told().length;
    const cut = failing(pair.a);
    await pair.until('the command', () => told().length > before);
    await pair.a.signal('SIGKILL', true);
    await cut;
    assert.is(readFileSync(pair.a.trackFile, 'utf8').trim(), '-254');
    // the command goes with nobody: here it has let go of the address, as keepalived would have
    await pair.until('the address gone', () => !holds(pair.a));
    pair.a.start();
    await pair.a.ready();
    await pair.until('the track file', () => {
      return readFileSync(pair.a.trackFile, 'utf8').trim() === '0';
    });
    pair.lab.ip('a', [`address add ${VIRTUAL}/32 dev eth2`]);
    await undone();
  });

  test('without a track file and a command nobody can be told, and that is said', async () => {
    await pair.a.signal('SIGTERM', true);
    pair.a.configure((text) => text.replace(/TrackFile.*/, ''));
    pair.a.start();
    await pair.a.serves();
    assert.match(await failing(pair.a), 'set TrackFile in Failover');
    const report = await splicectl('rehearse', '--yes', '-S', pair.a.socket);
    assert.is(report.status, 1);
    assert.match(report.err, 'set TrackFile in Failover');
  });
}
handover.run();
