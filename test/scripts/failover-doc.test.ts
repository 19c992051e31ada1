// SPDX-License-Identifier: MIT
/** The configurations in docs/failover.md are such as their readers accept, and those in etc/ the same. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isolateOrSkip, run } from '../support/isolate.js';
import { within } from '../support/within.js';

await isolateOrSkip(import.meta.url);

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const text = readFileSync(`${ROOT}docs/failover.md`, 'utf8');
/** Of a language, or of none. */
const blocks = (language: string): string[] =>
  [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
    .filter(([, tag]) => tag === language)
    .map(([, , body]) => body);
const directory = mkdtempSync(join(tmpdir(), 'spliced-doc-'));
const test = suite('docs/failover.md');

/** A file with this content, with the scripts where they are here. */
function file(name: string, body: string): string {
  const path = join(directory, name);
  writeFileSync(path, body.replaceAll('/etc/spliced/', `${ROOT}scripts/`));
  return path;
}

const [fifo] = blocks('').filter((block) => block.includes('vrrp_notify_fifo '));
const [pair, group] = blocks('').filter((block) => block.includes('vrrp_instance '));
const track = /^track_file .*?^}$/ms.exec(pair)?.[0];

const [start] = blocks('').filter((block) => block.startsWith('ucarp '));
const [addresses] = blocks('').filter((block) => block.startsWith('192.0.2.100/32 dev '));

/** Ends the process that the file names, if it is still there. ucarp forgets a SIGTERM while its script runs. */
function end(pidFile: string): void {
  try {
    process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A file of etc/ is this text below a few lines of comment; returns it whole. */
function sample(name: string, body: string): string {
  const whole = readFileSync(`${ROOT}etc/${name}`, 'utf8');
  assert.is(whole.replace(/^(#.*\n)+\n/, ''), body, `etc/${name} is not what docs/failover.md has`);
  return whole;
}

for (const [name, body] of [
  ['keepalived.conf', pair],
  ['keepalived-sync-group.conf', `${fifo}\n${track}\n\n${group}`],
]) {
  test(`keepalived takes etc/${name}, which is the text of the document`, () => {
    const path = file('keepalived.conf', sample(name, body));
    const { status, stderr } = spawnSync('keepalived', ['-t', '-f', path], { encoding: 'utf8' });
    assert.is(status, 0, stderr);
  });
}

test('ucarp starts by etc/ucarp.sh, which is the text of the document', async () => {
  const script = sample('ucarp.sh', start)
    .replaceAll('/etc/spliced/carp.password', file('carp.password', 'secret\n'))
    .replaceAll('/run/ucarp.pid', join(directory, 'ucarp.pid'));
  const shell = spawn('sh', [file('ucarp.sh', script)], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const begun = new Promise<void>((resolve) => {
    const hear = (chunk: Buffer): void => {
      said += chunk;
      if (said.includes('Spawning [')) resolve();
    };
    shell.stdout.on('data', hear);
    shell.stderr.on('data', hear);
    shell.on('close', resolve); // it has ended by itself: what it said is looked at
  });
  try {
    await within(10_000, 'ucarp', begun);
    assert.match(said, `Spawning [${ROOT}scripts/ucarp-down.sh eth0 192.0.2.100]`);
  } finally {
    end(join(directory, 'ucarp.pid'));
  }
});

test('ip takes the lines of etc/addresses, which are the text of the document', () => {
  const lines = sample('addresses', addresses).split('\n');
  for (const line of lines.filter((text) => text !== '' && !text.startsWith('#'))) {
    run('ip', 'address', 'replace', ...line.split(' '));
  }
});

test('a shell reads the samples of FenceCommand', () => {
  const samples = blocks('sh');
  assert.ok(samples.length >= 2);
  for (const text of samples) {
    const { status, stderr } = spawnSync('sh', ['-n', file('stop-peer', text)], {
      encoding: 'utf8',
    });
    assert.is(status, 0, stderr);
  }
});

test.before(() => {
  for (const name of ['eth0', 'eth1']) {
    run('ip', 'link', 'add', name, 'type', 'veth', 'peer', `${name}-far`);
    run('ip', 'link', 'set', name, 'up');
  }
  run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'eth0');
});
test.after(() => rmSync(directory, { recursive: true }));
test.run();
