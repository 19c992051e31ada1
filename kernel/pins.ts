/** The pinned maps, programs and links of one datapath: names, opening, removal. */
import { existsSync, mkdirSync, readdirSync, rmdirSync, statfsSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { callFailed, errnoName, KernelError } from './error.js';
import { bpf, errno } from './native.js';

/** statfs(2) types. */
const BPF_FS_MAGIC = 0xcafe4a11;
const CGROUP2_SUPER_MAGIC = 0x63677270;

export const MAPS = [
  'entries',
  'legs',
  'free_slots',
  'tunables',
  'mailbox',
  'counters',
  'events',
  'guard',
  'services',
  'sweep',
] as const;
export type MapName = (typeof MAPS)[number];
export const PROGRAMS = ['ingress', 'egress', 'table_op'] as const;
export type ProgramName = (typeof PROGRAMS)[number];
export const LINKS = ['link_getsockopt', 'link_setsockopt', 'table'] as const;

export const programPin = (name: ProgramName): string => `prog_${name}`;
const ALL = [...MAPS, ...PROGRAMS.map(programPin), ...LINKS];

/** Make the directory for the pins. @throws KernelError NO_BPFFS when it does not lie on a bpffs */
export function makePinDirectory(path: string): void {
  let parent = path;
  while (!existsSync(parent)) parent = dirname(parent);
  if (statfsSync(parent).type !== BPF_FS_MAGIC) {
    throw new KernelError(
      'NO_BPFFS',
      `${parent} is not on a bpf file system; mount one (mount -t bpf bpf /sys/fs/bpf) or change PinPath`,
    );
  }
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** @throws KernelError NO_CGROUP when path is no directory of a cgroup2 hierarchy */
export function checkCgroup(path: string): void {
  if (!existsSync(path) || statfsSync(path).type !== CGROUP2_SUPER_MAGIC) {
    throw new KernelError(
      'NO_CGROUP',
      `${path} is no cgroup v2 directory; create it or change Cgroup`,
    );
  }
}

/** All pins are there: a datapath that can be adopted. */
export function allPinned(path: string): boolean {
  return ALL.every((name) => existsSync(join(path, name)));
}

/** Remove every pin, and the directory. What they held ends unless something else refers to it. */
export function removePins(path: string): void {
  if (!existsSync(path)) return;
  for (const name of readdirSync(path)) {
    if ((ALL as string[]).includes(name)) unlinkSync(join(path, name));
  }
  try {
    rmdirSync(path);
  } catch {
    // somebody else's pins are in it
  }
}

/** Descriptor of a pinned object. */
export function openPin(path: string, name: string): number {
  const fd: number = bpf().objGet(join(path, name));
  if (fd < 0) throw new KernelError('SYSTEM_CALL', `${join(path, name)}: ${errnoName(-fd)}`);
  return fd;
}

/** struct bpf_map_info (linux/bpf.h): what is needed of it. */
export function mapInfo(fd: number): { valueSize: number; maxEntries: number } {
  const info = Buffer.alloc(88);
  if (bpf().mapInfo(fd, info, [info.length])) throw callFailed('reading map info', errno());
  return { valueSize: info.readUInt32LE(12), maxEntries: info.readUInt32LE(16) };
}
