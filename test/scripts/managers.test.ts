// SPDX-License-Identifier: MIT
/**
 * The scripts that failover managers run, with programs in the place of splicectl and ip(8) that only note
 * how they were called. The real ones: test/e2e, `npm run managers`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { within } from '../support/within.js';

const MS = 10_000;
const SCRIPTS = fileURLToPath(new URL('../../scripts/', import.meta.url));

/** A directory with programs that write their name and arguments into its file `calls`. */
class Stage {
  readonly directory = mkdtempSync(join(tmpdir(), 'spliced-scripts-'));
  readonly addresses = this.path('addresses');

  path(name: string): string {
    return join(this.directory, name);
  }

  /** @param then what it does after it has noted its call */
  program(name: string, then = ''): void {
    writeFileSync(
      this.path(name),
      `#!/bin/sh\necho "${name} $*" >>${this.path('calls')}\n${then}\n`,
    );
    chmodSync(this.path(name), 0o755);
  }

  get calls(): string[] {
    return readFileSync(this.path('calls'), 'utf8').trim().split('\n');
  }

  get env(): Record<string, string> {
    return {
      PATH: `${this.directory}:${process.env.PATH}`,
      SPLICECTL: 'splicectl -C conf',
      SPLICED_LOCK: this.path('lock'),
      SPLICED_NOTIFY: this.path('notify'),
    };
  }

  run(script: string, ...args: string[]): { status: number | null; stderr: string } {
    const { env } = this;
    return spawnSync(`${SCRIPTS}${script}`, args, { env, encoding: 'utf8', timeout: MS });
  }

  remove(): void {
    rmSync(this.directory, { recursive: true });
  }
}

const ADDRESSES = `# those that move
192.0.2.100/32 dev eth0

2001:db8::100/128 dev eth0
198.51.100.1/32 dev eth1
`;

let stage: Stage;
const test = suite('scripts of failover managers');

test.before.each(() => {
  stage = new Stage();
  stage.program('splicectl');
  stage.program('ip');
  writeFileSync(stage.addresses, ADDRESSES);
});
test.after.each(() => stage.remove());

test('ucarp up: the flows first, then the addresses, IPv6 ones without duplicate detection', () => {
  const { status, stderr } = stage.run('ucarp-up.sh', 'eth0', '192.0.2.100', stage.addresses);
  assert.is(status, 0, stderr);
  assert.equal(stage.calls, [
    'splicectl -C conf commit',
    'ip address replace 192.0.2.100/32 dev eth0',
    'ip address replace 2001:db8::100/128 dev eth0 nodad preferred_lft 0',
    'ip address replace 198.51.100.1/32 dev eth1',
  ]);
});

test('ucarp up: neither a daemon that is not there nor an address that fails keeps the others away', () => {
  stage.program('splicectl', 'exit 3');
  stage.program('ip', 'case "$3" in 192*) exit 2 ;; esac');
  const { status, stderr } = stage.run('ucarp-up.sh', 'eth0', '192.0.2.100', stage.addresses);
  assert.is(status, 2);
  assert.match(stderr, 'splicectl commit failed with exit status 3');
  assert.match(stderr, 'ip address replace 192.0.2.100/32 dev eth0 failed with exit status 2');
  assert.is(stage.calls.length, 4);
});

test('ucarp down: every address goes, though one is not there', () => {
  stage.program('ip', 'case "$4" in 192*) exit 2 ;; esac');
  const { status } = stage.run('ucarp-down.sh', 'eth0', '192.0.2.100', stage.addresses);
  assert.is(status, 2);
  assert.equal(
    stage.calls.filter((call) => call.startsWith('ip')),
    [
      'ip address flush to 192.0.2.100/32 dev eth0',
      'ip address flush to 2001:db8::100/128 dev eth0',
      'ip address flush to 198.51.100.1/32 dev eth1',
    ],
  );
});

test('ucarp handover: whoever gives tells ucarp, whoever takes sets the addresses and no more', async () => {
  const pidfile = stage.path('pid');
  const ucarp = spawn('sleep', ['60']);
  try {
    writeFileSync(pidfile, `${ucarp.pid}\n`);
    const files = [pidfile, stage.addresses];
    const take = stage.run('ucarp-handover.sh', ...files, 'take', 'lb-a');
    assert.is(take.status, 0, take.stderr);
    assert.is(ucarp.signalCode, null);
    assert.equal(
      stage.calls.map((call) => call.split(' ').slice(0, 4).join(' ')),
      ['192.0.2.100/32', '2001:db8::100/128', '198.51.100.1/32'].map(
        (a) => `ip address replace ${a}`,
      ),
    );
    const ended = once(ucarp, 'exit');
    const give = stage.run('ucarp-handover.sh', ...files, 'give', 'lb-b');
    assert.is(give.status, 0, give.stderr);
    const [, signal] = await within(MS, 'the signal', ended);
    assert.is(signal, 'SIGUSR2');
    assert.is(stage.run('ucarp-handover.sh', ...files, 'give', 'lb-b').status, 1);
    assert.is(stage.run('ucarp-handover.sh', ...files).status, 2);
    assert.is(stage.calls.length, 3);
  } finally {
    ucarp.kill();
  }
});

/** What a notify fifo says, in one go, to the reader that follows `pair`. */
async function told(lines: string[]): Promise<{ status: number | null; stderr: string }> {
  const fifo = stage.path('fifo');
  spawnSync('mkfifo', [fifo]);
  const reader = spawn(`${SCRIPTS}vrrp-fifo.sh`, ['pair', fifo], {
    env: stage.env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  reader.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const ended = once(reader, 'close');
  try {
    // a shell, since opening a fifo waits for its other end
    const writer = spawn('sh', ['-c', 'cat >"$0"', fifo], { stdio: ['pipe', 'ignore', 'ignore'] });
    writer.stdin.end(lines.map((line) => `${line}\n`).join(''));
    const [status] = await within(MS, 'the end of the reader', ended);
    return { status, stderr };
  } finally {
    reader.kill();
  }
}

test('notify fifo: changes in their order, each when the one before is done', async () => {
  stage.program('notify', `sleep 0.1; echo "done $1" >>${stage.path('calls')}`);
  const { status } = await told([
    'GROUP "pair" BACKUP 240',
    'GROUP "pair" MASTER 240',
    'GROUP "pair" FAULT 240',
    'GROUP "pair" STOP 240',
  ]);
  assert.is(status, 0);
  assert.equal(
    stage.calls,
    ['backup', 'primary', 'fault', 'fault'].flatMap((role) => [`notify ${role}`, `done ${role}`]),
  );
});

test('notify fifo: the instances of the group, other groups and mere priorities are ignored', async () => {
  stage.program('notify');
  const { status } = await told([
    'INSTANCE "clients" MASTER 240',
    'INSTANCE "servers" MASTER 240',
    'GROUP "pair of others" FAULT 240',
    'GROUP "pair" MASTER 240',
    'GROUP "pair" MASTER_PRIORITY 250',
    'GROUP "pair" MASTER_RX_LOWER_PRI 250',
    'GROUP "pair" BACKUP_PRIORITY 250',
    '',
  ]);
  assert.is(status, 0);
  assert.equal(stage.calls, ['notify primary']);
});

test('notify fifo: a change that fails is said, and the next one is made all the same', async () => {
  stage.program('notify', 'exit 1');
  const { status, stderr } = await told([
    'INSTANCE "pair" MASTER 240',
    'INSTANCE "pair" BACKUP 240',
  ]);
  assert.is(status, 0);
  assert.match(stderr, 'INSTANCE pair MASTER');
  assert.equal(stage.calls, ['notify primary', 'notify backup']);
});

test('notify fifo: without a name, or a fifo, it ends at once and says what it expects', () => {
  for (const args of [[], ['pair'], ['pair', stage.addresses]]) {
    const { status, stderr } = stage.run('vrrp-fifo.sh', ...args);
    assert.is(status, 2);
    assert.match(stderr, 'expected the name');
  }
});

test('primary: the takeover is refused when the address has gone again, and then nothing is taken', () => {
  stage.program('splicectl', 'exit 1');
  const { status } = stage.run('primary-backup.sh', 'primary');
  assert.is(status, 1);
  assert.is(stage.calls.length, 1);
});

test('every script is one that a POSIX shell reads', () => {
  for (const script of readdirSync(SCRIPTS)) {
    const { status, stderr } = spawnSync('sh', ['-n', `${SCRIPTS}${script}`], { encoding: 'utf8' });
    assert.is(status, 0, stderr);
  }
});

test.run();
