// SPDX-License-Identifier: MIT
/** The little file tree that a machine begins with: busybox, a few modules, init.sh and its job. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MachineError } from './error.js';
import type { Kernel } from './kernels.js';

/** What it takes to see the host's files; all others the kernel fetches by itself, with modprobe. */
const MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'];

function run(command: string, args: string[]): Buffer {
  const done = spawnSync(command, args, { maxBuffer: 64 * 1024 * 1024 });
  if (done.status !== 0) {
    throw new MachineError(`${command} ${args.join(' ')}: ${done.error ?? done.stderr}`);
  }
  return done.stdout;
}

/** The modules and what they need, in the order in which they are loaded. */
function moduleFiles({ root, release }: Kernel): string[] {
  const files = MODULES.flatMap((name) =>
    run('modprobe', ['-d', root, '-S', release, '--show-depends', name])
      .toString()
      .split('\n')
      .map((line) => /^insmod (\S+)/.exec(line)?.[1])
      .filter((file) => file !== undefined),
  );
  return [...new Set(files)];
}

/**
 * Writes the archive for this kernel to `file`. `job` are shell variables for inside.sh.
 * @throws MachineError
 */
export function makeInitramfs(kernel: Kernel, job: Record<string, string>, file: string): void {
  const tree = `${file}.tree`;
  fs.rmSync(tree, { recursive: true, force: true });
  for (const directory of ['modules', 'applets', 'proc', 'sys', 'dev']) {
    fs.mkdirSync(join(tree, directory), { recursive: true });
  }
  const busybox = run('bash', ['-c', 'command -v busybox']).toString().trim();
  fs.copyFileSync(busybox, join(tree, 'busybox'));
  fs.copyFileSync(fileURLToPath(new URL('init.sh', import.meta.url)), join(tree, 'init'));
  for (const name of ['busybox', 'init']) fs.chmodSync(join(tree, name), 0o755);

  const order: string[] = [];
  for (const path of moduleFiles(kernel)) {
    const name = basename(path).replace(/\.xz$/, '');
    const content = path.endsWith('.xz') ? run('xz', ['-dc', path]) : fs.readFileSync(path);
    fs.writeFileSync(join(tree, 'modules', name), content);
    order.push(`${name}\n`);
  }
  fs.writeFileSync(join(tree, 'modules/order'), order.join(''));
  const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = Object.entries(job).map(([name, value]) => `${name}=${quoted(value)}\n`);
  fs.writeFileSync(join(tree, 'job'), lines.join(''));

  run('bash', [
    '-c',
    'set -o pipefail; cd "$1" && find . | busybox cpio -o -H newc | gzip -1 >"$2"',
    'pack',
    tree,
    file,
  ]);
  fs.rmSync(tree, { recursive: true });
}
