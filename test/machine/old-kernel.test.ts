// SPDX-License-Identifier: MIT
// A kernel that is too old: whoever starts there says so in one sentence.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { exchange, freePort } from '../proxy/backend.js';
import { Program } from '../proxy/program.js';
import { cgroupRoot } from '../support/cgroup.js';
import { isolateOrSkip } from '../support/isolate.js';

await isolateOrSkip(import.meta.url);

const root = fileURLToPath(new URL('../..', import.meta.url));
const OLD = ['--import', join(root, 'test/machine/old-kernel.mjs'), '--import', 'tsx'];
const TOO_OLD = /Linux 6\.1 or later(, and| is needed.* and) this is 5\.10\.0-35-amd64/;
const files = mkdtempSync(join(tmpdir(), 'spliced-old-'));

const test = suite('an old kernel');
test.after(() => rmSync(files, { recursive: true }));

/** setup/check-kernel.sh where uname -r says so. */
function checkKernel(release: string): { status: number | null; stderr: string } {
  const programs = join(files, release);
  mkdirSync(programs);
  const uname = join(programs, 'uname');
  writeFileSync(uname, `#!/bin/sh\n[ "$1" = -r ] && echo ${release} || exec /usr/bin/uname "$@"\n`);
  chmodSync(uname, 0o755);
  return spawnSync('bash', [join(root, 'setup/check-kernel.sh')], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${programs}:${process.env.PATH}` },
  });
}

test('the setup goes no further: one sentence, exit status 2', () => {
  const { status, stderr } = checkKernel('5.10.0-35-amd64');
  assert.is(status, 2);
  assert.match(stderr, TOO_OLD);
  assert.is(stderr.trim().split('\n').length, 1, stderr);
});

test('6.1 itself will do, and so will two figures after the point', () => {
  for (const release of ['6.1.0-50-amd64', '6.12.95+deb12-amd64', '10.0.0']) {
    assert.is(checkKernel(release).stderr, '', release);
  }
});

test('the daemon does not start: one sentence, exit status 2', () => {
  const configuration = join(files, 'spliced.conf');
  writeFileSync(
    configuration,
    `Sync { Mode FTFW Multicast { Interface lo IPv4_interface 127.0.0.1 } }
Kernel { Interface lo PinPath /sys/fs/bpf/old Cgroup ${cgroupRoot()} }
General { NodeName old UNIX { Path ${join(files, 'control')} } }
Failover { VirtualAddress 192.0.2.100 }
`,
  );
  const { status, stderr } = spawnSync(
    process.execPath,
    [...OLD, join(root, 'daemon/main.ts'), '-C', configuration],
    { encoding: 'utf8', timeout: 20_000 },
  );
  const sentence = stderr.split('\n').filter((line) => line.startsWith('spliced: '));
  assert.is(status, 2, stderr);
  assert.is(sentence.length, 1, stderr);
  assert.match(sentence[0], TOO_OLD);
});

test('switchd relays everything, and says why', async () => {
  const port = await freePort('127.0.0.1');
  const configuration = join(files, 'switchd.conf');
  writeFileSync(
    configuration,
    `virtual_server 127.0.0.1 ${port} {\nreal_server 127.0.0.2 ${await freePort('127.0.0.2')}\n}\n`,
  );
  const program = new Program(
    process.execPath,
    ...OLD,
    join(root, 'proxy/main.ts'),
    '-f',
    configuration,
  );
  try {
    await program.says('"ready"');
    assert.match(program.output, TOO_OLD);
    assert.match(program.output, 'relaying everything in user space');
    const answer = await exchange('127.0.0.1', port, 'GET / HTTP/1.0\r\n\r\n');
    assert.match(answer.toString(), '503');
  } finally {
    await program.end('SIGKILL');
  }
});

test.run();
