// SPDX-License-Identifier: MIT
/** Another version of kernel/, made of this one in a directory of its own. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../support/isolate.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const object = `${root}/dist/kernel/splice.bpf.o`;

/** The same programs, in a file that differs. */
export function otherObject(directory: string, mark: string): string {
  const path = join(directory, `splice-${mark}.bpf.o`);
  writeFileSync(path, Buffer.concat([readFileSync(object), Buffer.from(mark)]));
  return path;
}

/** A copy of kernel/, with some text of its headers replaced and all that follows from it built anew. */
export function otherVersion(changes: Record<string, [from: string, to: string][]>): string {
  const tree = mkdtempSync(join(tmpdir(), 'spliced-version-'));
  cpSync(`${root}/kernel`, `${tree}/kernel`, { recursive: true });
  symlinkSync(`${root}/node_modules`, `${tree}/node_modules`);
  cpSync(`${root}/package.json`, `${tree}/package.json`);
  mkdirSync(`${tree}/dist/kernel`, { recursive: true });
  for (const [header, replacements] of Object.entries(changes)) {
    const path = `${tree}/kernel/${header}`;
    let text = readFileSync(path, 'utf8');
    for (const [from, to] of replacements) {
      if (!text.includes(from)) throw new Error(`${header} has no ${from}`);
      text = text.replace(from, to);
    }
    writeFileSync(path, text);
  }
  const arch = { x64: 'x86', arm64: 'arm64' }[process.arch as string];
  const clang = ['-g', '-target', 'bpfel', '-c'];
  const include = [`-I${root}/dist/kernel`, `-I${tree}/kernel/record`, `-I${tree}/kernel/bpf`];
  run(
    'clang',
    ...clang,
    '-O2',
    '-mcpu=v3',
    `-D__TARGET_ARCH_${arch}`,
    ...include,
    `${tree}/kernel/bpf/splice.bpf.c`,
    '-o',
    `${tree}/dist/kernel/splice.bpf.o`,
  );
  const machine = run('uname', '-m').trim();
  const types = `${tree}/dist/kernel/types.o`;
  const system = `-I/usr/include/${machine}-linux-gnu`;
  run('clang', ...clang, system, include[1], `${tree}/kernel/record/types.c`, '-o', types);
  const generate = [`${tree}/kernel/generate-layout.ts`, types, `${tree}/kernel/record/record.h`];
  const layout = run(process.execPath, '--import', 'tsx', ...generate);
  writeFileSync(`${tree}/kernel/record/layout.ts`, layout);
  return tree;
}
