// The command line: what it refuses, what it tells, and how it streams. The verbs themselves are
// tried on a real daemon in verbs.test.ts.
import { mkdirSync, writeFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { describe } from '../../cli/describe.js';
import { arrange, LETTERS } from '../../cli/letters.js';
import { count, span } from '../../cli/words.js';
import { ControlError, type StatusResult, VERBS } from '../../daemon/control/index.js';
import { within } from '../support/within.js';
import { type Outcome, peakMemory, splicectl, start } from './run.js';
import { noting, type Place, place, records, serve } from './support.js';

const letters = suite('letters');

letters('stand for their verbs, wherever the options are', () => {
  assert.equal(arrange(['-c'], VERBS), ['commit']);
  assert.equal(arrange(['-C', '/x.conf', '-c'], VERBS), ['commit', '-C', '/x.conf']);
  assert.equal(arrange(['-f', 'internal', '-S', 's'], VERBS), ['flush', 'internal', '-S', 's']);
  assert.equal(arrange(['-x', '-i'], VERBS), ['dump', 'internal', '-x']);
  assert.equal(arrange(['-e', '--json'], VERBS), ['dump', 'external', '--json']);
  assert.equal(arrange(['-s', 'network'], VERBS), ['stats', 'network']);
  assert.equal(arrange(['-S', '-c', 'status'], VERBS), ['status', '-S', '-c']);
  assert.equal(arrange(['--socket=s', 'dump', 'kernel'], VERBS), ['dump', 'kernel', '--socket=s']);
  assert.equal(arrange(['help', 'dump'], VERBS), ['dump', '--help']);
  assert.equal(arrange(['--help'], VERBS), ['--help']);
});

letters('all lead to verbs of the daemon', () => {
  for (const [verb] of Object.values(LETTERS)) assert.ok(VERBS.includes(verb as never), verb);
});

letters('given twice, or with another verb, are refused', () => {
  assert.throws(() => arrange(['-c', '-f'], VERBS), '-c and -f are two commands');
  assert.throws(() => arrange(['commit', '-f'], VERBS), 'commit and -f are two commands');
  assert.throws(() => arrange([], VERBS), 'no command is given');
  assert.throws(() => arrange(['-S', 's'], VERBS), 'no command is given');
  assert.throws(() => arrange(['comit'], VERBS), 'did you mean commit?');
});

const words = suite('words');

words('figures are for people', () => {
  assert.equal([0, 999, 1000, 1048576].map(count), ['0', '999', '1,000', '1,048,576']);
  assert.equal([0, 40, 2500, 200_000, 7_500_000, 349_200_000].map(span), [
    '0 ms',
    '40 ms',
    '2.5 s',
    '3 m 20 s',
    '2 h 5 m',
    '4 d 1 h',
  ]);
});

const STATUS: StatusResult = {
  node: 'lb-a',
  id: 1,
  role: 'primary',
  role_for_ms: 200_000,
  takeover: {
    ago_ms: 200_000,
    why: 'address',
    entries: 1204,
    refused: 0,
    epoch: 4,
    took_ms: 12.5,
    nudged: null,
    fence: [{ peer: 'lb-b', way: 'yielded' }],
  },
  yielded_to: null,
  mode: 'FTFW',
  epoch: 4,
  in_sync: true,
  uptime_ms: 7_500_000,
  draining: false,
  guard: { state: 'off', remaining_ms: 0, held: 17, addresses: ['192.0.2.100'] },
  interfaces: { served: ['eth0', 'eth1'], unserved: [] },
  claims: null,
  table: { live: 1204, held: 0, size: 131072 },
  internal: { entries: 1204, limit: 1048576 },
  external: { entries: 0, limit: 1048576 },
  link: {
    seal_key: 2,
    paths: [
      { name: 'multicast eth2', in_use: true, fault: null, unheard_by: [] },
      { name: 'udp eth3', in_use: false, fault: null, unheard_by: [] },
    ],
  },
  events_lost: 0,
  peers: [
    {
      name: 'lb-b',
      id: 2,
      mode: 'FTFW',
      wire_version: 2,
      in_sync: true,
      state: 'in sync',
      unacknowledged: 0,
      lag_ms: 0,
      last_heard_ms: 130,
      entries: 0,
    },
  ],
  warnings: [],
};

words('status of a healthy primary', () => {
  assert.is(
    describe(STATUS).join('\n'),
    `lb-a: PRIMARY, epoch 4, in sync

role    primary: this node serves the virtual addresses, for 3 m 20 s
taken   3 m 20 s ago: a virtual address came; 1,204 splices in 13 ms, epoch 4
fence   lb-b yielded
guard   off; 17 packets held back so far
serves  eth0, eth1
kernel  1,204 splices of at most 131,072 (0 %)
caches  internal 1,204 (ours), external 0 (of peers), at most 1,048,576 each
mode    FTFW: every change is acknowledged, and what is lost is said again
link    multicast eth2 in use, udp eth3 good; sealed by key 2
events  none lost
daemon  up 2 h 5 m

PEER  IN SYNC  LAG   LAST HEARD  ITS SPLICES HERE  WIRE  STATE
lb-b  yes      none  130 ms ago  0                 2     in sync`,
  );
});

words('status of a backup in trouble says so in its first lines', () => {
  const [peer] = STATUS.peers;
  const text = describe({
    ...STATUS,
    role: 'backup',
    draining: true,
    guard: { ...STATUS.guard, state: 'armed', held: 0 },
    table: { live: 950, held: 900, size: 1000 },
    events_lost: 3,
    link: {
      seal_key: null,
      paths: [
        { name: 'multicast eth2', in_use: false, fault: 'it is down', unheard_by: [] },
        { name: 'udp eth3', in_use: false, fault: null, unheard_by: ['lb-b', 'lb-c'] },
        { name: 'tcp eth4', in_use: true, fault: null, unheard_by: [] },
      ],
    },
    interfaces: { served: ['eth0'], unserved: [{ name: 'eth1', why: 'it does not exist' }] },
    warnings: ['lb-b has been silent for 12 s: is spliced running there?'],
    peers: [
      {
        ...peer,
        name: 'lb-\x1b[31mb',
        in_sync: false,
        state: 'silent',
        unacknowledged: 2000,
        lag_ms: 1500,
      } as never,
      { ...peer, name: 'lb-c', mode: 'ALARM', in_sync: false, last_heard_ms: null } as never,
    ],
  });
  assert.equal(text.slice(0, 2), [
    'lb-a: BACKUP, epoch 4, NOT IN SYNC with lb-?[31mb, lb-c',
    '  !! lb-b has been silent for 12 s: is spliced running there?',
  ]);
  const all = text.join('\n');
  assert.match(all, '(95 % FULL: raise TableSize), 900 of them held for other nodes');
  assert.match(all, 'armed: packets of unknown connections to 192.0.2.100 get no reset');
  assert.match(
    all,
    'multicast eth2 DOWN, udp eth3 NOT HEARD by lb-b and lb-c, tcp eth4 in use; not sealed',
  );
  assert.match(all, '3 lost, then read anew');
  assert.match(all, 'serves  eth0; NOT eth1: it does not exist\n');
  assert.match(all, 'handing over: no new connections');
  assert.match(all, 'NO       2,000 records, 1.5 s');
  assert.match(all, 'never');
  assert.match(all, 'said again; BUT lb-c is in ALARM');
  assert.match(describe({ ...STATUS, in_sync: false })[0] as string, 'NOT IN SYNC: this node does');
  assert.match(describe({ ...STATUS, peers: [] })[0] as string, 'ALONE: nothing is replicated');
});

const refusals = suite<{ at: Place }>('refusals');
refusals.before((context) => {
  context.at = place();
});
refusals.after(({ at }) => at.remove());

/** One sentence on standard error, nothing on standard output. */
function refused({ status, out, err }: Outcome, expected: number, message: string | RegExp): void {
  assert.is(status, expected, err);
  assert.is(out, '');
  assert.match(err, /^splicectl: [^\n]+\n$/);
  assert.match(err, message);
}

refusals('of the command line: status 2', async ({ at }) => {
  const wrong: readonly [string[], string][] = [
    [['frobnicate'], '"frobnicate" is no command of splicectl: expected one of status, dump'],
    [['dump', 'all'], 'Expected all to be one of: internal, external, kernel'],
    [['-i', '-x', '--json'], 'cannot also be provided'],
    [['-k', '--now'], 'Nonexistent flag: --now'],
    [['-c', 'lb-b'], 'Unexpected argument: lb-b'],
    [['-i', '--src', 'lb-b'], '--src lb-b: expected an address'],
    [['-C', `${at.dir}/none.conf`, 'status'], 'none.conf:1:1: the file cannot be read (ENOENT)'],
  ];
  // Two at a time, for there are two processors.
  for (let i = 0; i < wrong.length; i += 2) {
    await Promise.all(
      wrong.slice(i, i + 2).map(async ([argv, message]) => {
        refused(await splicectl(...argv), 2, message);
      }),
    );
  }
});

refusals('without a daemon: status 2 and what to do', async ({ at }) => {
  const config = `${at.dir}/spliced.conf`;
  writeFileSync(
    config,
    `General { # the daemon's own business\n UNIX { Path ${at.path} } Whatever 7 }\n`,
  );
  const [socket, file] = await Promise.all([
    splicectl('-S', at.path, '-c'),
    splicectl('-C', config, 'status'),
  ]);
  refused(socket, 2, `no spliced answers on ${at.path} (there is no such socket): start it, or`);
  refused(file, 2, `no spliced answers on ${at.path}`);
});

refusals('by the daemon: status 1 when it tried, 2 when it did not', async ({ at }) => {
  const ran: string[] = [];
  const failing = async (): Promise<never> => {
    throw new ControlError('failed', 'the kernel table is full: raise TableSize');
  };
  const control = await serve(at.path, noting(ran, { commit: failing }));
  const [tried, not] = await Promise.all([
    splicectl('-S', at.path, '-c'),
    splicectl('-S', at.path, '-c', '--node', 'no name'),
  ]);
  refused(tried, 1, 'the kernel table is full: raise TableSize');
  refused(not, 2, 'node of commit cannot be "no name"');
  await control.close();
});

refusals('of a path that is no socket: status 2', async ({ at }) => {
  const dir = `${at.dir}/directory`;
  mkdirSync(dir);
  refused(await splicectl('-S', dir, 'status'), 2, 'nobody listens');
});

const streams = suite<{ at: Place }>('streams');
streams.before((context) => {
  context.at = place();
});
streams.after(({ at }) => at.remove());

streams('a dump of 50,000 splices at a bounded size, through a slow pipe', async ({ at }) => {
  const chunk = records(5000);
  const control = await serve(
    at.path,
    noting([], {
      dump: async (_, reply) => {
        for (let i = 0; i < 10; i++) await reply.records(chunk);
        return { records: 50_000 };
      },
    }),
  );
  const child = start(['-S', at.path, '-i', '-x']);
  let lines = 0;
  let peak = 0;
  let rest = '';
  const counted = (async () => {
    for await (const part of child.stdout as AsyncIterable<Buffer>) {
      for (let at = part.indexOf(10); at >= 0; at = part.indexOf(10, at + 1)) lines++;
      rest = part.toString('latin1').slice(-13);
      if (child.exitCode === null) peak = Math.max(peak, peakMemory(child.pid as number));
    }
  })();
  await within(9000, 'the dump', counted);
  assert.is(lines, 50_003);
  assert.is(rest, '</conntrack>\n');
  assert.ok(peak < 140 << 20, `${peak} bytes, of 48 MB of XML`);
  await control.close();
});

streams('a reader that has had enough is no error', async ({ at }) => {
  const chunk = records(5000);
  const control = await serve(
    at.path,
    noting([], {
      dump: async (_, reply) => {
        for (let i = 0; i < 100; i++) await reply.records(chunk);
        return { records: 0 };
      },
    }),
  );
  const child = start(['-S', at.path, '-i']);
  let err = '';
  child.stderr?.on('data', (part) => {
    err += part;
  });
  child.stdout?.once('data', () => child.stdout?.destroy());
  const status = await within(
    5000,
    'its end',
    new Promise((resolve) => child.once('close', resolve)),
  );
  assert.equal([status, err], [0, '']);
  await control.close();
});

streams('a daemon that dies in mid-dump: status 1, and the XML is not closed', async ({ at }) => {
  const control = await serve(
    at.path,
    noting([], {
      dump: async (_, reply) => {
        await reply.records(records(10));
        await control.close(0);
        return { records: 10 };
      },
    }),
  );
  const { status, out, err } = await splicectl('-S', at.path, '-i', '-x');
  assert.is(status, 1);
  assert.match(err, 'closed the connection before its answer was complete');
  assert.not.match(out, '</conntrack>');
});

letters.run();
words.run();
refusals.run();
streams.run();
