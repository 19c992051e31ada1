// SPDX-License-Identifier: MIT
import { readFileSync } from 'node:fs';

/** Root of the cgroup v2 hierarchy, wherever it is mounted. */
export function cgroupRoot(): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const mount = mounts.map((line) => line.split(' ')).find((fields) => fields[2] === 'cgroup2');
  if (!mount) throw new Error('no cgroup2 is mounted');
  return mount[1];
}
