// SPDX-License-Identifier: MIT
/**
 * Puts a test file into network and mount namespaces of its own, by starting it once more inside them.
 * They end with the process, and so does all that was made in them: interfaces, routes, mounts, pins.
 */
import { spawnSync } from 'node:child_process';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exec, suite } from 'uvu';
import { privileges } from './privileges.js';

const MARK = 'SPLICED_ISOLATED';

/**
 * Call at the top of a test file, before anything touches the network: `isolate(import.meta.url)`.
 * Returns inside the namespaces; in the process that began outside it never returns. Inside, the
 * loopback interface is up and /sys/fs/bpf is a bpf file system of the test's own.
 */
export function isolate(url: string): void {
  const file = fileURLToPath(url);
  if (process.env[MARK] !== file) {
    const inside = spawnSync(
      'unshare',
      ['--net', '--mount', '--propagation', 'private', process.execPath, ...process.execArgv, file],
      { stdio: 'inherit', env: { ...process.env, [MARK]: file } },
    );
    if (inside.error) throw inside.error;
    process.exit(inside.status ?? 1);
  }
  run('mount', '-t', 'bpf', 'bpf', '/sys/fs/bpf');
  run('ip', 'link', 'set', 'lo', 'up');
}

/** The same; but where namespaces cannot be had, the whole file counts as one skipped test. */
export async function isolateOrSkip(url: string): Promise<void> {
  const lacking = privileges();
  if (lacking === undefined) {
    isolate(url);
    return;
  }
  const skipped = suite(`${basename(fileURLToPath(url))} ${lacking}`);
  skipped.skip();
  skipped.run();
  await exec();
  process.exit(0);
}

/** Runs a program to its end; throws with what it said when it fails. */
export function run(program: string, ...args: string[]): string {
  const done = spawnSync(program, args, { encoding: 'utf8' });
  if (done.error) throw done.error;
  if (done.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${done.stderr.trim()}`);
  return done.stdout;
}
