/** The pinned maps, programs and links of one datapath: names, opening, removal. */
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  statfsSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { callFailed, errnoName, KernelError } from './error.js';
import { bpf, errno, libc } from './native.js';

/** statfs(2) types. */
const BPF_FS_MAGIC = 0xcafe4a11;
const CGROUP2_SUPER_MAGIC = 0x63677270;

/** The table and what stands or falls with it: another size or layout means all of these anew. */
export const TABLE_MAPS = [
  'entries',
  'legs',
  'free_slots',
  'tunables',
  'mailbox',
  'services',
  'sweep',
] as const;
/** These outlive a table, as does every further map of the object. */
const LASTING_MAPS = ['counters', 'events', 'guard'] as const;
export const MAPS = [...TABLE_MAPS, ...LASTING_MAPS];
export type MapName = (typeof MAPS)[number];
export const PROGRAMS = [
  'ingress',
  'egress',
  'table_op',
  'splice_getsockopt',
  'splice_setsockopt',
] as const;
export type ProgramName = (typeof PROGRAMS)[number];
/** Links to the cgroup, and the program behind each. */
export const CGROUP_LINKS = {
  link_getsockopt: 'splice_getsockopt',
  link_setsockopt: 'splice_setsockopt',
} as const;
export type CgroupLink = keyof typeof CGROUP_LINKS;
/** The iterator: the table as text. */
export const TEXT_LINK = 'table';

/** What a program is called in the kernel: the two on interfaces are known there by their names. */
export const functionName = (name: ProgramName): string =>
  name === 'ingress' || name === 'egress' ? `splice_${name}` : name;

export const programPin = (name: ProgramName): string => `prog_${name}`;
/** Maps that user space has no name for are pinned too: other programs may go on with them. */
const FURTHER = 'map_';
export const mapPin = (name: string): string =>
  (MAPS as string[]).includes(name) ? name : FURTHER + name;

const LINKS = [...Object.keys(CGROUP_LINKS), TEXT_LINK];
const ALL = [...MAPS, ...PROGRAMS.map(programPin), ...LINKS];
/** Of any version; what else there is has come later. */
const NEEDED = [...MAPS, ...(['ingress', 'egress', 'table_op'] as const).map(programPin), ...LINKS];

/**
 * Below the pin path, while other programs or another table take over: made ready, with nothing done
 * yet; the new programs take over, and there is no way back; all is moved, only the pins are not. Each
 * becomes the next by renaming it, which is atomic, so a start finds one of them at most.
 */
export const STAGES = ['next', 'taking_over', 'taken_over'] as const;
export type Stage = (typeof STAGES)[number];

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
  return NEEDED.every((name) => existsSync(join(path, name)));
}

const isOurs = (name: string): boolean => ALL.includes(name) || name.startsWith(FURTHER);

const LOCK_EX_NB = 2 | 4;
const LOCK_WAIT_MS = 10_000;
const LOCK_STEP_MS = 20;

/**
 * One process at a time may exchange what is pinned. The lock goes with the process, whatever becomes
 * of it.
 * @returns lets go of it
 * @throws KernelError PINS_BUSY
 */
export async function lockPins(path: string): Promise<() => void> {
  const begun = performance.now();
  for (;;) {
    makePinDirectory(path);
    const fd = openSync(path, 'r');
    const locked = libc.flock(fd, LOCK_EX_NB) === 0;
    // whoever had it may have removed the directory
    const same = existsSync(path) && statSync(path).ino === fstatSync(fd).ino;
    if (locked && same) return () => closeSync(fd);
    closeSync(fd);
    if (performance.now() - begun > LOCK_WAIT_MS) {
      throw new KernelError('PINS_BUSY', `another process is at work on the pins in ${path}`);
    }
    await sleep(LOCK_STEP_MS);
  }
}

/** Remove every pin. What they held ends unless something else refers to it. */
export function clearPins(path: string): void {
  for (const stage of STAGES) removePins(join(path, stage));
  for (const name of readdirSync(path)) {
    if (isOurs(name)) unlinkSync(join(path, name));
  }
}

/** The same, and the directory. */
export function removePins(path: string): void {
  if (!existsSync(path)) return;
  clearPins(path);
  try {
    rmdirSync(path);
  } catch {
    // somebody else's pins are in it
  }
}

/** Pins that take the place of those of the same names in another directory. */
export function movePins(from: string, to: string): void {
  for (const name of readdirSync(from)) renameSync(join(from, name), join(to, name));
  rmdirSync(from);
}

/** Descriptor of a pinned object. */
export function openPin(path: string, name: string): number {
  const fd: number = bpf().objGet(join(path, name));
  if (fd < 0) throw new KernelError('SYSTEM_CALL', `${join(path, name)}: ${errnoName(-fd)}`);
  return fd;
}

/** Descriptors of pinned objects, each opened when it is first asked for. */
export class Pins {
  readonly #directories: string[];
  readonly #open = new Map<string, number>();

  /** @param directories looked through in this order */
  constructor(...directories: string[]) {
    this.#directories = directories;
  }

  has(name: string): boolean {
    return this.#directories.some((path) => existsSync(join(path, name)));
  }

  get(name: string): number {
    let fd = this.#open.get(name);
    if (fd === undefined) {
      const [last] = this.#directories.slice(-1);
      const path = this.#directories.find((p) => existsSync(join(p, name))) ?? last;
      fd = openPin(path, name);
      this.#open.set(name, fd);
    }
    return fd;
  }

  map(name: MapName): number {
    return this.get(name);
  }

  program(name: ProgramName): number {
    return this.get(programPin(name));
  }

  close(): void {
    for (const fd of this.#open.values()) libc.close(fd);
    this.#open.clear();
  }
}

export interface MapInfo {
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
  /** 0 where the map carries no types. */
  btf: number;
  keyType: number;
  valueType: number;
}

/** struct bpf_map_info (linux/bpf.h): what is needed of it. */
export function mapInfo(fd: number): MapInfo {
  const info = Buffer.alloc(88);
  if (bpf().mapInfo(fd, info, [info.length])) throw callFailed('reading map info', errno());
  const [type, , keySize, valueSize, maxEntries, flags] = new Uint32Array(
    info.buffer,
    info.byteOffset,
    6,
  );
  const [btf, keyType, valueType] = [64, 68, 72].map((at) => info.readUInt32LE(at));
  return { type, keySize, valueSize, maxEntries, flags, btf, keyType, valueType };
}

/** Kernel's id of the cgroup that a link attaches to; 0n when that is gone. */
export function linkedCgroup(fd: number): bigint {
  const info = Buffer.alloc(32); // struct bpf_link_info: type, id, prog_id, then of a cgroup: its id
  if (bpf().mapInfo(fd, info, [info.length])) throw callFailed('reading link info', errno());
  return info.readBigUInt64LE(16);
}

/** What a loaded program is called in the kernel. */
export function programName(fd: number): string {
  const info = Buffer.alloc(80); // struct bpf_prog_info, up to the name
  if (bpf().mapInfo(fd, info, [info.length])) throw callFailed('reading program info', errno());
  return info.toString('latin1', 64).replace(/\0.*/s, '');
}

/** Kernel's id of a loaded program. */
export function programId(fd: number): number {
  const info = Buffer.alloc(8); // struct bpf_prog_info: type, id
  if (bpf().mapInfo(fd, info, [info.length])) throw callFailed('reading program info', errno());
  return info.readUInt32LE(4);
}
