// SPDX-License-Identifier: MIT
/**
 * Loads the datapath on the running kernel, and says how long that took and how far the verifier went:
 * `node --import tsx test/machine/load.ts`, as root, with a bpf file system on /sys/fs/bpf.
 * Where the kernel refuses a program, the end of the verifier's log is printed.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { KernelError } from '../../kernel/error.js';
import { bpf, libc } from '../../kernel/native.js';
import { SpliceObject } from '../../kernel/object.js';
import { PROGRAMS, programPin } from '../../kernel/pins.js';

const TABLE_SIZE = 4096;
const PINS = `/sys/fs/bpf/load-${process.pid}`;
const OBJECT = fileURLToPath(new URL('../../dist/kernel/splice.bpf.o', import.meta.url));
/** Lines of the log that are shown. The reason stands at its end. */
const LOG_LINES = 30;
/** struct bpf_prog_info (linux/bpf.h). */
const PROG_INFO = { size: 232, verifiedInstructions: 216 };

function instructionsVerified(pin: string): number {
  const fd: number = bpf().objGet(pin);
  const info = Buffer.alloc(PROG_INFO.size);
  const error: number = bpf().mapInfo(fd, info, [info.length]);
  libc.close(fd);
  if (error < 0) throw new Error(`${pin}: no information`);
  return info.readUInt32LE(PROG_INFO.verifiedInstructions);
}

async function load(): Promise<void> {
  const object = new SpliceObject(TABLE_SIZE);
  const started = performance.now();
  await object.load();
  const seconds = (performance.now() - started) / 1000;
  object.pin(PINS, object.maps);
  const counts = PROGRAMS.map((name) => {
    const count = instructionsVerified(`${PINS}/${programPin(name)}`);
    return `${name} ${count.toLocaleString('en-GB')}`;
  });
  console.log(
    `machine: ${release()} loads the programs in ${seconds.toFixed(2)} s; instructions verified: ${counts.join(', ')}`,
  );
}

mkdirSync(PINS);
try {
  await load();
} catch (error) {
  if (!(error instanceof KernelError)) throw error;
  console.log(`machine: ${error.message}`);
  const again = spawnSync('bpftool', ['prog', 'loadall', OBJECT, `${PINS}/again`], {
    encoding: 'utf8',
  });
  const log = again.stderr.trimEnd().split('\n').slice(-LOG_LINES);
  console.log(log.map((line) => `     | ${line}`).join('\n'));
  process.exitCode = 1;
} finally {
  rmSync(PINS, { recursive: true });
}
