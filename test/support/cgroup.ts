// SPDX-License-Identifier: MIT
import { readFileSync } from 'node:fs';

/** Root of the cgroup v2 hierarchy (alone on most machines, beside a v1 tree on some), if mounted. */
export function findCgroupRoot(): string | undefined {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return mounts.map((line) => line.split(' ')).find((fields) => fields[2] === 'cgroup2')?.[1];
}

export function cgroupRoot(): string {
  const root = findCgroupRoot();
  if (!root) throw new Error('no cgroup2 is mounted');
  return root;
}
