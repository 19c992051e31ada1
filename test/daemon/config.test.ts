// spliced.conf: what the daemon makes of it, and where it says that an error is.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError } from '../../config/index.js';
import { loadSettings, type Settings } from '../../daemon/config.js';
import { changes } from '../../daemon/reload.js';

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const SAMPLE = path('etc/spliced.conf');
const MAIN = path('daemon/main.ts');
const directory = mkdtempSync(join(tmpdir(), 'spliced-config-'));
const file = join(directory, 'a.conf');

const GOOD = `Sync { Multicast { Interface eth2 } }
Kernel { Interface eth0 eth1 Cgroup /c }
General { NodeName a }
`;
const DEFAULTS = {
  mode: 'FTFW',
  resendQueueSize: 131072,
  ackWindowSize: 300,
  purgeTimeoutMs: 60000,
  commitTimeoutMs: 0,
  startupResync: true,
  disableInternalCache: false,
  disableExternalCache: false,
  defer: false,
  deferTimeoutMs: 100,
  verifyIntervalMs: 60000,
  refreshMs: 15000,
  cacheTimeoutMs: 180000,
};
const LINK = {
  kind: 'multicast',
  preferred: false,
  family: 4,
  port: 3780,
  sendBuffer: undefined,
  receiveBuffer: undefined,
  group: '225.0.0.50',
  interface: 'eth2',
  local: undefined,
};
const cleanup = (): void => rmSync(directory, { recursive: true, force: true });

function problems(text: string): string[] {
  writeFileSync(file, text);
  try {
    loadSettings(file);
  } catch (error) {
    assert.instance(error, ConfigError);
    return (error as ConfigError).message.split('\n').map((line) => line.replace(file, 'F'));
  }
  return [];
}

const settings = suite('settings');

settings('the sample is good, and its commented values are the defaults', () => {
  const sample = loadSettings(SAMPLE);
  assert.equal(sample.sync, DEFAULTS);
  assert.equal(sample.links, [{ ...LINK, sendBuffer: 1249280, receiveBuffer: 8388608 }]);
  assert.is(sample.keyFile, undefined);
  assert.equal(sample.kernel.interfaces, ['eth0', 'eth1']);
  assert.is(sample.kernel.tableSize, 131072);
  assert.is(sample.failover.guardTimeoutMs, 2000);
  const { fenceTimeoutMs, fenceCommand, fenceCommandTimeoutMs } = sample.failover;
  assert.equal([fenceTimeoutMs, fenceCommand, fenceCommandTimeoutMs], [30, [], 10_000]);
  assert.equal(sample.failover.virtualAddresses, ['192.0.2.100']);
  assert.is(sample.socketPath, '/run/spliced/spliced.ctl');
  assert.is(sample.logFile, undefined);
});

settings('a sample for each mode, whose commented values are the defaults', () => {
  const modes = {
    'spliced.conf': 'FTFW',
    'spliced-notrack.conf': 'NOTRACK',
    'spliced-alarm.conf': 'ALARM',
  };
  const files = readdirSync(path('etc')).filter((name) => name.startsWith('spliced'));
  assert.equal(files.sort(), Object.keys(modes).sort());
  for (const [name, mode] of Object.entries(modes)) {
    const text = readFileSync(path(`etc/${name}`), 'utf8');
    assert.equal(loadSettings(path(`etc/${name}`)).sync, { ...DEFAULTS, mode }, name);
    // as if the operator had taken the comments away, where a default can be written down
    const shown = text.replace(/^( *)# ([A-Z]\w+ (?!180 )[\w.]+)( {2}.*)?$/gm, '$1$2');
    assert.ok(shown.length < text.length);
    writeFileSync(file, shown.replace(/^.*(IPv4_interface|Cgroup|KeyFile).*$/gm, ''));
    assert.equal(loadSettings(file).sync, { ...DEFAULTS, mode }, name);
  }
});

settings('every example of the documents is good', () => {
  let examples = 0;
  for (const name of readdirSync(path('docs')).filter((each) => each.endsWith('.md'))) {
    for (const [, text] of readFileSync(path(`docs/${name}`), 'utf8').matchAll(
      /```conf\n(.*?)```/gs,
    )) {
      writeFileSync(file, /^Kernel/m.test(text) ? text : `${text}Kernel { Interface eth0 }\n`);
      assert.ok(loadSettings(file), name);
      examples++;
    }
  }
  assert.ok(examples >= 3, `${examples} examples`);
});

settings('every directive of a full file arrives', () => {
  writeFileSync(
    file,
    `Sync {
  Mode NACK { ResendQueueSize 2048 ACKWindowSize 10 PurgeTimeout 5m CommitTimeout 3m
              StartupResync No DisableExternalCache Yes Defer Yes DeferTimeout 20ms
              VerifyInterval 0 }
  Multicast { IPv4_address 239.1.2.3 Group 4000 IPv4_interface 10.0.0.1 Interface eth2
              SndSocketBuffer 8192 RcvSocketBuffer 16384 }
  TCP { IPv6_address fe80:0::1 IPv6_Destination_Address FE80::2 Interface eth3 }
  UDP Default { IPv4_address 10.0.0.1 IPv4_Destination_Address 10.0.0.2
                IPv4_Destination_Address 10.0.0.3 Port 4001 }
  Multicast { IPv6_address ff02::50 Interface eth3 }
  Authentication { KeyFile /etc/spliced/sync.key }
}
Kernel {
  Interface eth0
  Interface eth1
  TableSize 1024
  DebugLevel 2
  Timeouts { established 432000  finwait 120  timewait 2m }
  PinPath /sys/fs/bpf/x
  Cgroup /sys/fs/cgroup/x
}
General { NodeName lb-a HashLimit 2048 UNIX { Path /tmp/x.ctl } LogFile /tmp/x.log Nice 0 }
Failover {
  VirtualAddress 192.0.2.100 dev eth0
  VirtualAddress 192.0.2.101
  VirtualAddress 2001:DB8:0:0:0:0:0:64 dev eth1
  GuardTimeout 500ms
  TrackFile /tmp/track
  Nudge No
  HandoverCommand /etc/move.sh --now
  HandoverCommandTimeout 1500ms
  FenceTimeout 50ms
  FenceCommand /sbin/fence --port 3 "two words"
  FenceCommandTimeout 20
}
`,
  );
  assert.equal(loadSettings(file), {
    file,
    nodeName: 'lb-a',
    hashLimit: 2048,
    socketPath: '/tmp/x.ctl',
    logFile: '/tmp/x.log',
    nice: 0,
    sync: {
      ...DEFAULTS,
      resendQueueSize: 2048,
      ackWindowSize: 10,
      purgeTimeoutMs: 300000,
      commitTimeoutMs: 180000,
      startupResync: false,
      disableExternalCache: true,
      defer: true,
      deferTimeoutMs: 20,
      verifyIntervalMs: 0,
    },
    links: [
      {
        ...LINK,
        group: '239.1.2.3',
        port: 4000,
        local: '10.0.0.1',
        sendBuffer: 8192,
        receiveBuffer: 16384,
      },
      {
        kind: 'tcp',
        preferred: false,
        family: 6,
        port: 3780,
        sendBuffer: undefined,
        receiveBuffer: undefined,
        local: 'fe80::1',
        peers: ['fe80::2'],
        interface: 'eth3',
      },
      {
        kind: 'udp',
        preferred: true,
        family: 4,
        port: 4001,
        sendBuffer: undefined,
        receiveBuffer: undefined,
        local: '10.0.0.1',
        peers: ['10.0.0.2', '10.0.0.3'],
        interface: undefined,
      },
      { ...LINK, family: 6, group: 'ff02::50', interface: 'eth3' },
    ],
    keyFile: '/etc/spliced/sync.key',
    kernel: {
      interfaces: ['eth0', 'eth1'],
      tableSize: 1024,
      debugLevel: 2,
      timeouts: { established: 432000, finwait: 120, timewait: 120 },
      pinPath: '/sys/fs/bpf/x',
      cgroup: '/sys/fs/cgroup/x',
    },
    failover: {
      guardTimeoutMs: 500,
      virtualAddresses: ['192.0.2.100', '192.0.2.101', '2001:db8::64'],
      trackFile: '/tmp/track',
      nudge: false,
      handoverCommand: ['/etc/move.sh', '--now'],
      handoverCommandTimeoutMs: 1500,
      fenceTimeoutMs: 50,
      fenceCommand: ['/sbin/fence', '--port', '3', 'two words'],
      fenceCommandTimeoutMs: 20_000,
    },
  });
});

const reload = suite('reload');

const BEFORE = `Sync { Mode ALARM Multicast { Interface eth2 } Authentication { KeyFile /k } }
Kernel { Interface eth0 Cgroup /c }
General { NodeName a }
Failover { GuardTimeout 2 }
`;
/** As it was, but for this. */
const after = (from: string, to: string, text = BEFORE) => {
  writeFileSync(file, text);
  const old = loadSettings(file);
  writeFileSync(file, text.replace(from, to));
  return changes(old, loadSettings(file));
};

reload('what can change at run time does, and is said', () => {
  const edits: [from: string, to: string, name: string, value: (s: Settings) => unknown][] = [
    ['ALARM', 'ALARM { PurgeTimeout 5 }', 'PurgeTimeout', (s) => s.sync.purgeTimeoutMs],
    ['ALARM', 'ALARM { CommitTimeout 7 }', 'CommitTimeout', (s) => s.sync.commitTimeoutMs],
    ['eth0', 'eth0 eth1', 'Kernel Interface', (s) => s.kernel.interfaces.length],
    ['eth0', 'eth0 TableSize 64', 'TableSize', (s) => s.kernel.tableSize],
    [
      'Failover { ',
      'Failover { HandoverCommand /x ',
      'HandoverCommand',
      (s) => s.failover.handoverCommand.join(),
    ],
    ['eth0', 'eth0 DebugLevel 2', 'DebugLevel', (s) => s.kernel.debugLevel],
    ['Failover { ', 'Failover { FenceTimeout 1 ', 'FenceTimeout', (s) => s.failover.fenceTimeoutMs],
    [
      'Failover { ',
      'Failover { FenceCommand /f ',
      'FenceCommand',
      (s) => s.failover.fenceCommand.join(),
    ],
    [
      'Failover { ',
      'Failover { FenceCommandTimeout 1 ',
      'FenceCommandTimeout',
      (s) => s.failover.fenceCommandTimeoutMs,
    ],
  ];
  for (const [from, to, name, value] of edits) {
    const { applied, needsRestart, settings: now } = after(from, to);
    assert.equal([applied, needsRestart], [[name], []], name);
    assert.is(value(now), value(loadSettings(file)), name);
  }
});

reload('what cannot is named, and stays as it was', () => {
  const options = (mode: string) => BEFORE.replace('ALARM', mode);
  const edits: [text: string, from: string, to: string, name: string][] = [
    [BEFORE, 'ALARM', 'NOTRACK', 'Mode'],
    [BEFORE, 'ALARM', 'ALARM { StartupResync No }', 'StartupResync'],
    [BEFORE, 'ALARM', 'ALARM { RefreshTime 5 }', 'RefreshTime'],
    [BEFORE, 'ALARM', 'ALARM { CacheTimeout 60 }', 'CacheTimeout'],
    [options('FTFW'), 'FTFW', 'FTFW { ResendQueueSize 2048 }', 'ResendQueueSize'],
    [options('FTFW'), 'FTFW', 'FTFW { ACKWindowSize 5 }', 'ACKWindowSize'],
    [options('FTFW'), 'FTFW', 'FTFW { Defer Yes }', 'Defer'],
    [options('FTFW'), 'FTFW', 'FTFW { DeferTimeout 1 }', 'DeferTimeout'],
    [options('FTFW'), 'FTFW', 'FTFW { VerifyInterval 0 }', 'VerifyInterval'],
    [options('FTFW'), 'FTFW', 'FTFW { DisableExternalCache Yes }', 'DisableExternalCache'],
    [
      BEFORE,
      'eth2 }',
      'eth2 } TCP { IPv4_address 10.0.0.1 IPv4_Destination_Address 10.0.0.2 }',
      'Multicast, UDP, TCP',
    ],
    [BEFORE, '/k', '/l', 'Authentication'],
    [BEFORE, 'NodeName a', 'NodeName b', 'NodeName'],
    [BEFORE, 'NodeName a', 'NodeName a HashLimit 64', 'HashLimit'],
  ];
  for (const [text, from, to, name] of edits) {
    const { applied, needsRestart, settings: now } = after(from, to, text);
    assert.equal([applied, needsRestart], [[], [name]]);
    writeFileSync(file, text);
    assert.equal(now, loadSettings(file), name);
  }
});

const errors = suite('errors');
const REFUSED = 'not supported in this version';
const cases: [what: string, text: string, ...expected: string[]][] = [
  [
    'what this version does not do is refused at its place',
    `${GOOD}Failover { VirtualAddress fe80::1 }
Sync2 { }
Include /etc/x
`,
    'F:4:27: VirtualAddress fe80::1: a link-local address says nothing without its link: expected an address that is routed',
    'F:5:1: unknown directive "Sync2" at the top of the file: did you mean Sync?',
    `F:6:1: Include: ${REFUSED}: write everything in one file`,
  ],
  [
    'a link to a group that is none, and a directive of later versions',
    `Sync {
  Mode NOTRACK
  Multicast { Interface eth2 IPv4_address 10.0.0.1 }
}
Kernel { Interface eth0 Cgroup /c }
General { NodeName a Metrics { Listen 127.0.0.1:9179 } }
`,
    'F:3:43: IPv4_address 10.0.0.1: not a multicast address: expected one from 224.0.0.0 to 239.255.255.255',
    `F:6:22: Metrics: ${REFUSED}: splicectl stats has the figures`,
  ],
  [
    'an option that the mode does not have, with the reason',
    `Sync {
  Mode NOTRACK { ResendQueueSize 2048 Defer Yes RefreshTime 5 DisableInternalCache Yes }
  Multicast { Interface eth2 }
}
Kernel { Interface eth0 Cgroup /c }
General { NodeName a }
`,
    'F:2:18: ResendQueueSize is no option of Mode NOTRACK: only FTFW keeps what it has sent',
    'F:2:39: Defer is no option of Mode NOTRACK: only FTFW knows that a record has come',
    'F:2:49: RefreshTime is no option of Mode NOTRACK: only ALARM says everything again',
  ],
  [
    'a command that cannot be found without a shell',
    `${GOOD}Failover { FenceCommand fence_apc --port 3
}
`,
    'F:4:25: FenceCommand fence_apc: expected an absolute path of a program, and its arguments',
  ],
  [
    'what is kept nowhere cannot be compared',
    `Sync { Mode NOTRACK { DisableInternalCache Yes VerifyInterval 5 }
  Multicast { Interface eth2 } }
Kernel { Interface eth0 Cgroup /c }
General { NodeName a }
`,
    'F:1:48: VerifyInterval: with DisableInternalCache there is nothing to compare',
  ],
  [
    'a cache time-out that a single loss would exceed',
    `Sync { Mode ALARM { RefreshTime 60 CacheTimeout 100 }
  Multicast { Interface eth2 } }
Kernel { Interface eth0 Cgroup /c }
General { NodeName a }
`,
    'F:1:36: CacheTimeout is too short: expected twice RefreshTime at least, since one may be lost',
  ],
  [
    'links that say nothing new, or not enough',
    `Sync {
  Multicast Default { Interface eth2 }
  Multicast Default { Interface eth2 IPv4_interface 10.0.0.1 }
  Multicast { Interface eth3 IPv6_address ff02::1 IPv4_address 225.0.0.50 }
  Multicast { Interface eth3 IPv6_address ff02::1 IPv4_interface 10.0.0.1 }
  UDP { IPv4_Destination_Address 10.0.0.1 }
  UDP { IPv4_address 10.0.0.1 }
  TCP { IPv4_address 10.0.0.1 IPv4_Destination_Address 10.0.0.1
        IPv4_Destination_Address 10.0.0.2 IPv4_Destination_Address 10.0.0.2 }
  TCP { IPv4_address 10.0.0.1 IPv6_Destination_Address fd00::1 }
  UDP { IPv6_address fe80::1 IPv6_Destination_Address fd00::1 }
}
Kernel { Interface eth0 Cgroup /c }
General { NodeName a }
`,
    'F:3:3: Default stands at two links: the first is in line 2',
    'F:3:3: this is the link of line 2 once more: a second path needs an interface, an address or a port of its own',
    'F:4:30: IPv6_address beside IPv4_address: expected one of them; make it two links',
    'F:5:51: IPv4_interface: this link speaks IPv6: leave it out',
    'F:6:3: IPv4_address is missing: UDP needs the address of this node on the link',
    'F:7:3: IPv4_Destination_Address is missing: UDP needs one for each of the other nodes',
    'F:8:31: 10.0.0.1 is this node itself: expected a peer',
    'F:9:43: 10.0.0.2 is named twice: expected each peer once',
    'F:10:31: IPv6_Destination_Address: expected one of IPv4, as this link speaks',
    'F:11:3: Interface is missing: the link-local address fe80::1 says nothing without it',
  ],
  [
    'no link at all, and what later versions bring',
    `Sync { Redis { URL redis://x } Authentication { } }
Kernel { Interface eth0 Cgroup /c }
`,
    `F:1:8: Redis: ${REFUSED}: use Multicast, UDP or TCP`,
    'F:1:49: KeyFile is missing: the block of Authentication needs one',
  ],
  [
    'what is missing, told at its block',
    'Sync { }\nKernel { Interface eth0 Cgroup /c }\nGeneral { NodeName a }\n',
    'F:1:6: a link is missing: the block of Sync needs Multicast, UDP or TCP',
  ],
  [
    'a directive that is missing, told at the end of its block',
    'Sync { }\nKernel { }\n',
    'F:2:10: Interface is missing: the block of Kernel needs one',
  ],
  [
    'one value against another',
    `${GOOD}Failover { VirtualAddress 192.0.2.1 dev eth7
 VirtualAddress 192.0.2.1
 VirtualAddress 2001:db8::1
 VirtualAddress 2001:DB8:0:0::1
}`,
    'F:4:12: eth7 is not a served interface: expected one of eth0, eth1',
    'F:5:2: VirtualAddress 192.0.2.1 is named twice: expected each one once',
    'F:7:2: VirtualAddress 2001:db8::1 is named twice: expected each one once',
  ],
  [
    'numbers outside their range',
    `Sync { Multicast { Interface eth2 Group 0 } }
Kernel { Interface eth0 TableSize 5 Timeouts { established 0 } Cgroup /c }
General { NodeName "a b" }
`,
    'F:1:41: "0" is not what Group takes: expected a port from 1 to 65535',
    'F:2:35: "5" is not what TableSize takes: expected a whole number from 64 to 8388608',
    'F:2:60: "0" is not what established takes: expected a time from 1 to 2592000 seconds (a number, or one with ms, s, m, h or d)',
    'F:3:20: "a b" is not what NodeName takes: expected a name of 1 to 63 letters, digits, ".", "_" or "-"',
  ],
];
for (const [what, text, ...expected] of cases) {
  errors(what, () => assert.equal(problems(text), expected));
}

const program = suite('spliced -t');

function spliced(...args: string[]): { status: number | null; out: string; err: string } {
  const run = spawnSync(process.execPath, ['--import', 'tsx', MAIN, ...args], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status: run.status, out: run.stdout, err: run.stderr };
}

program('says that a good file is good, and exits 0', () => {
  for (const name of ['spliced', 'spliced-notrack', 'spliced-alarm']) {
    const sample = path(`etc/${name}.conf`);
    const { status, out, err } = spliced('-t', '-C', sample);
    assert.equal([status, out, err], [0, `${sample}: the configuration is good\n`, '']);
  }
});

program('tells every problem on standard error, and exits 2', () => {
  writeFileSync(file, 'Snyc { }\nKernel 3\n');
  const { status, out, err } = spliced('-t', '-C', file);
  assert.is(status, 2);
  assert.is(out, '');
  assert.match(
    err,
    `${file}:1:1: unknown directive "Snyc" at the top of the file: did you mean Sync?\n`,
  );
  assert.match(err, `${file}:2:8: unexpected "3" after Kernel, which takes no argument\n`);
});

program('a file that is not there, and an unknown option, are exit 2 too', () => {
  const missing = spliced('-t', '-C', join(directory, 'none'));
  assert.is(missing.status, 2);
  assert.match(missing.err, `${join(directory, 'none')}:1:1: the file cannot be read (ENOENT)`);
  const unknown = spliced('-q');
  assert.is(unknown.status, 2);
  assert.match(unknown.err, 'usage: spliced');
});

program.after(cleanup);
settings.run();
reload.run();
errors.run();
program.run();
