// SPDX-License-Identifier: MIT
/** The configurations in docs/failover.md are such as their readers accept. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isolateOrSkip, run } from '../support/isolate.js';

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

for (const [name, body] of [
  ['notify script', pair],
  ['sync group, notify fifo', `${fifo}${track}\n${group}`],
]) {
  test(`keepalived takes the sample: ${name}`, () => {
    const path = file('keepalived.conf', body);
    const { status, stderr } = spawnSync('keepalived', ['-t', '-f', path], { encoding: 'utf8' });
    assert.is(status, 0, stderr);
  });
}

test('a shell reads the samples of FenceCommand', () => {
  const samples = blocks('sh');
  assert.ok(samples.length >= 2);
  for (const sample of samples) {
    const { status, stderr } = spawnSync('sh', ['-n', file('stop-peer', sample)], {
      encoding: 'utf8',
    });
    assert.is(status, 0, stderr);
  }
});

test.before(() => {
  for (const name of ['eth0', 'eth1']) {
    run('ip', 'link', 'add', name, 'type', 'veth', 'peer', `${name}-far`);
  }
});
test.after(() => rmSync(directory, { recursive: true }));
test.run();
