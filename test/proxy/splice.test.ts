// deadline: 90
/*
 * switchd over the real datapath, with real packets:
 *
 *   client                     the balancer                      servers
 *   10.1.0.2 ──── veth ──── 10.1.0.100:80   10.2.0.100 ──── veth ──── 10.2.0.11, .12, .13 :80
 *   fd00:1::2               fd00:1::100     fd00:2::100               fd00:2::11
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { CounterName } from '../../proxy/counters.js';
import { TwoLegs } from '../kernel/two-legs.js';
import { isolate } from '../support/isolate.js';
import { privileges } from '../support/privileges.js';
import { deadline, pattern, sha256, until } from './backend.js';
import { Program } from './program.js';

const lacking = privileges();
if (!lacking) isolate(import.meta.url);

const SERVERS = ['10.2.0.11', '10.2.0.12', '10.2.0.13'];
const SERVER6 = 'fd00:2::11';
const DEAD = '10.2.0.2'; // is there, but nobody listens on port 80
const LENGTH = 1_000_000;
const TEST_MS = 25_000;

const program = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const node = [process.execPath, '--import', 'tsx'] as const;
const run = promisify(execFile);

const test = suite('switchd over the datapath');
const legs = new TwoLegs();
const files = lacking ? '' : mkdtempSync(join(tmpdir(), 'switchd-'));
let web: Program | undefined;
/** Of one test. */
const running: Program[] = [];

function start(command: string, ...args: string[]): Program {
  const started = new Program(command, ...args);
  running.push(started);
  return started;
}

const configuration = join(files, 'switchd.conf');

/** switchd's file: these real servers behind the virtual addresses. */
function configure(real: string[], directives = '', virtual = ['10.1.0.100']): void {
  const servers = real.map((address) => `real_server ${address} 80`).join('\n');
  const sources = 'source 10.2.0.100\nsource fd00:2::100';
  const block = `80 {\n${sources}\n${directives}\n${servers}\n}\n`;
  writeFileSync(configuration, virtual.map((v) => `virtual_server ${v} ${block}`).join(''));
}

/** switchd, in front of these real servers. */
async function switchd(...config: Parameters<typeof configure>): Promise<Program> {
  configure(...config);
  const [command, ...args] = node;
  const started = start(command, ...args, program('proxy/main.ts'), '-f', configuration);
  await started.says('"ready"');
  assert.match(started.output, 'the datapath is there');
  return started;
}

/** Its counters of this moment. */
async function counters(balancer: Program): Promise<Record<CounterName | string, number>> {
  const before = balancer.output.length;
  balancer.signal('SIGUSR1');
  await until(() => balancer.output.slice(before).includes('"counters"}\n'));
  const lines = balancer.output.trim().split('\n').reverse();
  return JSON.parse(lines.find((line) => line.includes('"counters"}')) as string);
}

/** curl in the client's namespace, one connection each. */
async function curl(...args: string[]): Promise<Buffer> {
  const enter = [`--net=${legs.namespace('client')}`, 'curl', '-sS', '--max-time', '12'];
  const { stdout } = await run('nsenter', [...enter, ...args], {
    encoding: 'buffer',
    maxBuffer: 4 * LENGTH,
  });
  return stdout;
}
const url = (length: number) => `http://10.1.0.100/${length}`;

/** A request, its answer, and when a line comes on standard input one more over the same connection. */
const HOLDER = `
exec 3<>/dev/tcp/10.1.0.100/80
printf 'GET /4 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3
while IFS= read -r line <&3 && [ "$line" != $'\\r' ]; do echo "$line"; done
head -c 4 <&3 >/dev/null
read
printf 'GET /${LENGTH} HTTP/1.0\\r\\n\\r\\n' >&3
cat <&3
`;

/** A client that keeps its connection, and the real server that serves it. */
async function holder(): Promise<{ server: string; finish: () => Promise<Buffer> }> {
  const client = start('nsenter', `--net=${legs.namespace('client')}`, 'bash', '-c', HOLDER);
  await client.says('Content-Length');
  const server = /^Server: (.*)\r$/m.exec(client.output)?.[1] as string;
  return { server, finish: async () => (await client.finish('\n')).subarray(-LENGTH) };
}

test.before(async () => {
  if (lacking) return;
  await legs.start();
  for (const address of SERVERS) {
    legs.in('server', 'ip', 'address', 'add', `${address}/24`, 'dev', 'eth0');
  }
  legs.in('server', 'ip', 'address', 'add', `${SERVER6}/64`, 'dev', 'eth0', 'nodad');
  web = new Program(
    'nsenter',
    `--net=${legs.namespace('server')}`,
    ...node,
    program('test/proxy/ends/web.ts'),
    ...SERVERS,
    SERVER6,
  );
  await web.says('listening');
});

const endAll = async () => {
  for (const started of running.splice(0)) await started.end('SIGKILL');
};
test.after.each(endAll);

test.after(async () => {
  if (lacking) return;
  await web?.end('SIGKILL');
  await legs.stop();
  rmSync(files, { recursive: true });
});

/** A test that needs the kernel, or says why it cannot be run. */
function real(name: string, body: () => Promise<void>): void {
  if (lacking) test.skip(`${name} (${lacking})`);
  else test(name, () => deadline(body(), TEST_MS));
}

real('downloads and uploads are spliced, every byte right, and no socket is left', async () => {
  const balancer = await switchd(SERVERS);
  const body = join(files, 'body');
  writeFileSync(body, pattern(LENGTH));
  const gets = Array.from({ length: 20 }, () => curl(url(LENGTH)));
  const puts = Array.from({ length: 20 }, () => curl('-T', body, 'http://10.1.0.100/'));
  for (const got of await Promise.all(gets)) assert.ok(got.equals(pattern(LENGTH)));
  for (const got of await Promise.all(puts)) assert.is(got.toString(), sha256(pattern(LENGTH)));
  const { spliced, committed, relayed, open } = await counters(balancer);
  assert.equal(
    { spliced, committed, relayed, open },
    { spliced: 40, committed: 40, relayed: 0, open: 0 },
  );
  assert.is(await balancer.end(), 0);
});

real('several requests of one connection go to one real server, after the splice too', async () => {
  const balancer = await switchd(SERVERS);
  const got = await curl(url(LENGTH), url(1000), url(LENGTH));
  assert.ok(got.equals(Buffer.concat([pattern(LENGTH), pattern(1000), pattern(LENGTH)])));
  assert.is((await counters(balancer)).accepted, 1);
  assert.is(await balancer.end(), 0);
});

real('spliced connections outlive switchd, and its successor counts them for lc', async () => {
  const committed = () => Number(legs.datapath.counters().committed);
  const before = committed();
  const first = await switchd(SERVERS.slice(0, 1));
  const held = await Promise.all([holder(), holder(), holder()]);
  await until(() => committed() === before + 3);
  assert.is(await first.end('SIGKILL'), null);

  const second = await switchd(SERVERS.slice(0, 2), 'schedule_lc');
  for (let i = 0; i < 3; i++) held.push(await holder());
  assert.equal(
    held.map(({ server }) => server.slice(-2)),
    ['11', '11', '11', '12', '12', '12'],
  );
  assert.is(await second.end(), 0);
  for (const { finish } of held) assert.ok((await finish()).equals(pattern(LENGTH)));
});

real('a dead real server is passed, and the next one is spliced to', async () => {
  const balancer = await switchd([DEAD, SERVERS[0]]);
  for (let i = 0; i < 3; i++) assert.ok((await curl(url(1000))).equals(pattern(1000)));
  const { spliced, connect_failed_ECONNREFUSED, failed } = await counters(balancer);
  assert.equal(
    { spliced, connect_failed_ECONNREFUSED, failed },
    { spliced: 3, connect_failed_ECONNREFUSED: 1, failed: 0 },
  );
  await balancer.end();
});

real('where no real server answers, the client is told', async () => {
  const balancer = await switchd([DEAD]);
  const got = await curl('-w', '%{http_code}', url(1));
  assert.is(got.toString(), 'no real server answers\n503');
  await balancer.end();
});

real(
  'clients and real servers of either family are joined, and clients told the clamp',
  async () => {
    const both = ['10.1.0.100', 'fd00:1::100'];
    const balancer = await switchd([SERVERS[0], SERVER6], 'mss 1000', both);
    for (const host of ['10.1.0.100', '[fd00:1::100]']) {
      for (let i = 0; i < 2; i++) {
        assert.ok((await curl(`http://${host}/${LENGTH}`)).equals(pattern(LENGTH)));
      }
    }
    const { finish } = await holder();
    assert.match(legs.in('client', 'ss', '-tinH', 'dport', '=', ':80'), /mss:988 /); // less timestamps
    assert.ok((await finish()).equals(pattern(LENGTH)));

    writeFileSync(configuration, `virtual_server 10.1.0.100 80 {\nreal_server ${SERVER6} 80\n}\n`);
    balancer.signal('SIGHUP');
    await balancer.says('no source is given'); // and what the kernel chooses serves as well
    assert.ok((await curl(url(LENGTH))).equals(pattern(LENGTH)));
    const { spliced, relayed } = await counters(balancer);
    assert.equal({ spliced, relayed }, { spliced: 6, relayed: 0 });
    await balancer.end();
  },
);

/** What a client gets, and whether it was spliced. */
async function one(balancer: Program): Promise<string> {
  const { spliced } = await counters(balancer);
  assert.ok((await curl(url(LENGTH))).equals(pattern(LENGTH)));
  const after = await counters(balancer);
  return after.spliced > spliced ? 'spliced' : 'relayed';
}

real('a real server without SACK is learnt: only its first clients are relayed', async () => {
  // 10.2.0.12 has none, as far as the way to it is concerned
  const rule = 'ip daddr 10.2.0.12 tcp flags syn reset tcp option sack-perm';
  const chain = `type filter hook input priority 0; ${rule};`;
  legs.in('server', 'nft', `table ip sack { chain i { ${chain} }; }`);
  const [good, lacking] = SERVERS;
  const virtual = '10.1.0.100:80';
  const balancer = await switchd([lacking]);
  const get = async (count: number) => {
    const all: string[] = [];
    for (let i = 0; i < count; i++) all.push(await one(balancer));
    return all.join(' ');
  };
  const reload = async (...real: string[]) => {
    const before = balancer.output.length;
    configure(real);
    balancer.signal('SIGHUP');
    await until(() => balancer.output.slice(before).includes('is in force'));
  };
  assert.is(await get(4), 'relayed spliced spliced spliced');
  const learnt = { [virtual]: ['SACK'], [`${lacking}:80`]: ['SACK'] };
  assert.equal((await counters(balancer)).lacking as unknown, learnt);

  // beside one that has it, clients are offered it again; those of the other are relayed
  await reload(good, lacking);
  const mixed = (await get(6)).split(' ');
  assert.is(mixed.slice(-4).sort().join(' '), 'relayed relayed spliced spliced');
  assert.equal((await counters(balancer)).lacking as unknown, { [`${lacking}:80`]: ['SACK'] });

  // it is switched on: the next connection shows it
  legs.in('server', 'nft', 'flush', 'ruleset');
  assert.is(await get(4), 'spliced spliced spliced spliced');
  const { lacking: none, relayed, relayed_sack_mismatch } = await counters(balancer);
  assert.is(none, undefined);
  assert.is(relayed_sack_mismatch, relayed);
  await balancer.end();
});

test.run();
