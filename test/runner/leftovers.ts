// SPDX-License-Identifier: MIT
/** What a test can leave in the kernel: named by kind, so that two listings can be compared. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** Names that the project's tests and lab give to what they make. */
const OURS = /splice|switchd|^sp[-.]|^lab[-.]/i;

/** Namespaces, interfaces, mounts, cgroups, pins and temporary directories that are the project's. */
export function inventory(): Set<string> {
  const found = new Set<string>();
  const add = (kind: string, names: string[]): void => {
    for (const name of names) if (OURS.test(name)) found.add(`${kind} ${name}`);
  };
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => fields.length >= 3);
  add('network namespace', names('/run/netns'));
  add('interface', names('/sys/class/net'));
  add(
    'mount',
    mounts.map((fields) => fields[1]),
  );
  for (const [, path, type] of mounts) {
    if (type === 'cgroup2') add('cgroup', directories(path));
    if (type === 'bpf') add('pin', directories(path));
  }
  add(
    'temporary file',
    names(tmpdir()).map((name) => `${tmpdir()}/${name}`),
  );
  return found;
}

/**
 * What stands in `after` and did not in `before`, save what is in use: a lab or a test that somebody
 * else runs at the same time. `users` as usersOfCgroups() gives it.
 */
export function leftovers(before: Set<string>, after: Set<string>, users: string): string[] {
  return [...after].filter((item) => !before.has(item) && !inUse(item, users)).sort();
}

/** The cgroups that have processes, one a line. Those of the run itself have ended by then. */
export function usersOfCgroups(): string {
  return names('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cgroup`, 'utf8');
      } catch {
        return ''; // it has ended meanwhile
      }
    })
    .join('');
}

/** Names carry the id of a lab, whose processes are in a cgroup of that id, or a process's own id. */
function inUse(item: string, users: string): boolean {
  const id = /spliced-[a-z]+-(\w+)|\bsp-(\w+)-/.exec(item);
  const word = id?.[1] ?? id?.[2];
  if (word === undefined) return false;
  return users.includes(`spliced-lab-${word}/`) || existsSync(`/proc/${word}/status`);
}

function names(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** Directories below `path`, two floors deep: the project makes its own near the root of a mount. */
function directories(path: string): string[] {
  const list = (at: string): string[] => {
    try {
      return readdirSync(at, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => `${at}/${entry.name}`);
    } catch {
      return [];
    }
  };
  return list(path).flatMap((directory) => [directory, ...list(directory)]);
}
