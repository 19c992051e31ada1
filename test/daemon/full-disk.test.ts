// SPDX-License-Identifier: MIT
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openLog } from '../../daemon/log.js';
import { TrackFile } from '../../daemon/track.js';
import { command } from '../lab/lab.js';
import { privileges } from '../support/privileges.js';
import { until } from './pair.js';

const full = suite('full disk');
const lacking = privileges();
if (lacking) console.log(`skipped: ${lacking}`);
const test = lacking ? full.skip : full;
let disk: string;

full.before(() => {
  disk = mkdtempSync(join(tmpdir(), 'switchd-disk-'));
  if (!lacking) command('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'lab-disk', disk]);
});

full.after(() => {
  if (!lacking) command('umount', ['-l', disk]);
  rmSync(disk, { recursive: true });
});

function fill(): void {
  command('sh', ['-c', 'cat /dev/zero >"$1" 2>/dev/null || true', 'sh', join(disk, 'filler')]);
}

test('a call that logs does not fail, whatever becomes of the line', () => {
  const { log, counters } = openLog('/dev/full', 'a');
  for (let line = 0; line < 3; line++) log.info({ line }, 'nobody will read this');
  assert.ok(counters.log_errors >= 3, JSON.stringify(counters));
});

test('what waits for room is bounded, and the rest counted', () => {
  const { log, counters } = openLog('/dev/full', 'a');
  for (let line = 0; line < 50; line++) log.info('x'.repeat(100_000));
  assert.ok(counters.log_lost > 10, JSON.stringify(counters));
});

test('the log goes on when there is room again', () => {
  fill();
  const file = join(disk, 'log');
  const { log, counters } = openLog(file, 'a');
  log.info('before');
  assert.ok(counters.log_errors >= 1);
  rmSync(join(disk, 'filler'));
  log.info('after');
  assert.match(readFileSync(file, 'utf8'), /"before".*\n.*"after"/);
});

test('the track file is written as soon as there is room, and nothing else is left', async () => {
  mkdirSync(join(disk, 'track'));
  const path = join(disk, 'track/file');
  const track = new TrackFile(path);
  assert.is(track.keep('outOfSync'), undefined);
  fill();
  assert.match(track.keep('inSync')?.message ?? '', 'ENOSPC');
  assert.is(track.state, 'outOfSync');
  assert.is(readFileSync(path, 'utf8'), '-100\n');
  assert.is(track.counters.track_file_errors, 1);
  rmSync(join(disk, 'filler'));
  await until('the track file', 10, () => track.state === 'inSync');
  assert.is(readFileSync(path, 'utf8'), '0\n');
  assert.equal(readdirSync(join(disk, 'track')), ['file']);
});

test('a state that is no longer wanted is not written late', async () => {
  const path = join(disk, 'track/other');
  const track = new TrackFile(path);
  track.keep('inSync');
  fill();
  assert.ok(track.keep('outOfSync'));
  assert.is(track.keep('inSync'), undefined, 'as it stands there');
  rmSync(join(disk, 'filler'));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.is(readFileSync(path, 'utf8'), '0\n');
});

test('a directory that is not there is a mistake, and said at once', () => {
  const track = new TrackFile(join(disk, 'nowhere/file'));
  assert.throws(() => track.keep('inSync'), /create its directory/);
});

full.run();
