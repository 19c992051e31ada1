// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';

/** Why tests on the real kernel cannot run here, as a sentence's end; undefined where they can. */
export function privileges(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, for namespaces and BPF';
  if (!existsSync('/sys/kernel/btf/vmlinux')) return 'needs a kernel with BTF';
  return undefined;
}
