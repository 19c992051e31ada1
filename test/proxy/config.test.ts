import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError } from '../../config/index.js';
import { loadSwitchConfig, readSwitchConfig } from '../../proxy/config.js';

const config = suite('switchd.conf');

/** The messages, without the file's name that begins each. */
function wrong(text: string): string[] {
  try {
    readSwitchConfig('f', text);
  } catch (error) {
    assert.instance(error, ConfigError);
    return (error as ConfigError).message.split('\n').map((line) => line.replace(/^f:/, ''));
  }
  throw new Error('this configuration was taken');
}

const QUICKSTART = `! Configuration file for switchd
!
! valuable stuff can be :
!   sysctl -w net.ipv4.tcp_max_syn_backlog=4096
virtual_server 192.168.200.100 8080 {
!       schedule_rr             ! Default scheduler is rr
!       schedule_lc
!       listen_backlog 1024     ! Default backlog is 1024
        real_server 192.168.201.1 80
        real_server 192.168.201.2 80
}

virtual_server 192.168.200.100 8081 {
        real_server 192.168.201.10 80
}
`;

config("takes layer7switch's own sample, with its defaults", () => {
  const { virtual } = readSwitchConfig('f', QUICKSTART);
  assert.equal(virtual, [
    {
      address: '192.168.200.100',
      port: 8080,
      scheduler: 'rr',
      backlog: 1024,
      source: {},
      mss: 0,
      ports: undefined,
      real: [
        { address: '192.168.201.1', port: 80, weight: 1 },
        { address: '192.168.201.2', port: 80, weight: 1 },
      ],
    },
    {
      address: '192.168.200.100',
      port: 8081,
      scheduler: 'rr',
      backlog: 1024,
      source: {},
      mss: 0,
      ports: undefined,
      real: [{ address: '192.168.201.10', port: 80, weight: 1 }],
    },
  ]);
});

config('takes every directive', () => {
  const { virtual } = readSwitchConfig(
    'f',
    `virtual_server 10.1.0.100 80 { # comment
       schedule_lc
       listen_backlog 64
       mss 1400
       source 10.2.0.100
       ports 20000 29999
       real_server 10.2.0.1 80 { weight 3 }
       real_server 10.2.0.2 80 { weight 0 }
     }`,
  );
  assert.equal(virtual, [
    {
      address: '10.1.0.100',
      port: 80,
      scheduler: 'lc',
      backlog: 64,
      source: { 4: '10.2.0.100' },
      mss: 1400,
      ports: [20000, 29999],
      real: [
        { address: '10.2.0.1', port: 80, weight: 3 },
        { address: '10.2.0.2', port: 80, weight: 0 },
      ],
    },
  ]);
});

config('takes IPv6, and both families side by side, each address in its one form', () => {
  const { virtual } = readSwitchConfig(
    'f',
    `virtual_server 2001:DB8:0::100 80 {
       source 10.2.0.100
       source fd00:2::0:64
       real_server 10.2.0.1 80
       real_server fd00:2:0::2 80
       real_server ::ffff:10.2.0.3 80
     }`,
  );
  assert.is(virtual[0].address, '2001:db8::100');
  assert.equal(virtual[0].source, { 4: '10.2.0.100', 6: 'fd00:2::64' });
  assert.equal(
    virtual[0].real.map((r) => r.address),
    ['10.2.0.1', 'fd00:2::2', '10.2.0.3'],
  );
});

config('the sample that ships is right', () => {
  const { virtual } = loadSwitchConfig(new URL('../../etc/switchd.conf', import.meta.url).pathname);
  assert.is(virtual.length > 0, true);
});

const MISTAKES: [what: string, text: string, expected: RegExp[]][] = [
  ['an empty file', '', [/^1:1: virtual_server is missing/]],
  ['no real server', 'virtual_server 10.0.0.1 80 {\n}\n', [/^2:1: real_server is missing/]],
  [
    'a misspelt directive',
    'virtual_server 10.0.0.1 80 {\n schedule_rl\n real_server 10.0.0.2 80\n}',
    [/^2:2: unknown directive "schedule_rl".*did you mean schedule_r/],
  ],
  [
    'a bad address and a bad port, both told',
    'virtual_server 10.0.0.256 80 {\n real_server 10.0.0.2 70000\n}',
    [/^1:16: "10.0.0.256".*expected an IPv4 or IPv6 address/, /^2:23: "70000".*expected a port/],
  ],
  [
    'a link-local address',
    'virtual_server fe80::1 80 {\n real_server 10.0.0.2 80\n}',
    [/^1:16: .*fe80::1.*link-local address says nothing/],
  ],
  [
    'two sources of one family, one real server in two spellings',
    'virtual_server 10.0.0.1 80 {\n source ::1 source ::2\n real_server ::1 80\n real_server 0::1 80\n}',
    [/^2:13: source ::2: expected at most one IPv6/, /^4:2: real_server ::1 80 stands here twice/],
  ],
  [
    'a clamp that no host would take',
    'virtual_server 10.0.0.1 80 {\n mss 40\n real_server 10.0.0.2 80\n}',
    [/^2:6: "40".*expected a whole number from 536 to 32767/],
  ],
  [
    'a health check',
    'virtual_server 10.0.0.1 80 {\n real_server 10.0.0.2 80 { weight 2 check http /healthz }\n}',
    [/^2:37: check: health checks are not there yet/],
  ],
  [
    'two schedulers',
    'virtual_server 10.0.0.1 80 {\n schedule_rr\n schedule_lc\n real_server 10.0.0.2 80\n}',
    [/^3:2: schedule_lc beside schedule_rr/],
  ],
  [
    'ports the wrong way round',
    'virtual_server 10.0.0.1 80 {\n ports 3000 2000\n real_server 10.0.0.2 80\n}',
    [/^2:13: ports 3000 to 2000: expected LOW before HIGH/],
  ],
  [
    'a backlog of none',
    'virtual_server 10.0.0.1 80 {\n listen_backlog 0\n real_server 10.0.0.2 80\n}',
    [/^2:17: "0".*from 1 to 65535/],
  ],
  [
    'a real server twice',
    'virtual_server 10.0.0.1 80 {\n real_server 10.0.0.2 80\n real_server 10.0.0.2 80\n}',
    [/^3:2: real_server 10.0.0.2 80 stands here twice: the first is at f:2:2/],
  ],
  [
    'a virtual server twice',
    'virtual_server 10.0.0.1 80 { real_server 10.0.0.2 80\n}\n'.repeat(2),
    [/^3:1: virtual_server 10.0.0.1 80 stands here twice/],
  ],
  [
    'only weight 0',
    'virtual_server 10.0.0.1 80 {\n real_server 10.0.0.2 80 { weight 0 }\n}',
    [/^1:1: every real server has weight 0/],
  ],
  [
    'a block that is never closed',
    'virtual_server 10.0.0.1 80 {\n real_server 10.0.0.2 80\n',
    [/^1:28: this block is never closed/],
  ],
];

for (const [what, text, expected] of MISTAKES) {
  config(`refuses ${what}, and says where`, () => {
    const messages = wrong(text);
    assert.is(messages.length, expected.length, messages.join('\n'));
    for (const [i, pattern] of expected.entries()) assert.match(messages[i], pattern);
  });
}

config('refuses a missing file and a binary one with one sentence', () => {
  const directory = mkdtempSync(join(tmpdir(), 'switchd-'));
  try {
    const file = join(directory, 'binary.conf');
    writeFileSync(file, Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1, 2, 0xff]));
    assert.throws(() => loadSwitchConfig(file), /binary\.conf:1:1: /);
    assert.throws(() => loadSwitchConfig(join(directory, 'none')), /none:1:1: .*ENOENT/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

config.run();
