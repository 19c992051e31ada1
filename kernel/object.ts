/** The compiled eBPF object: what it holds, loading it into the kernel, pinning what it is made of. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Btf } from './btf.js';
import { errnoName, KernelError } from './error.js';
import { bpf, libc, loadObject, type Pointer, sizeOf } from './native.js';
import {
  CGROUP_LINKS,
  type CgroupLink,
  functionName,
  linkedCgroup,
  mapPin,
  openPin,
  type Pins,
  PROGRAMS,
  type ProgramName,
  programPin,
  TEXT_LINK,
} from './pins.js';
import { kernelLacks } from './requirements.js';

const O_RDONLY = 0;
const E2BIG = 7;
const ENOMEM = 12;

/** The object that the build made, beside the compiled program or under dist/ of the sources. */
function builtObject(): string {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const candidates = [join(here, 'splice.bpf.o'), join(here, '../dist/kernel/splice.bpf.o')];
  const found = candidates.find((path) => existsSync(path));
  if (!found) throw new KernelError('NO_OBJECT', 'splice.bpf.o is missing; run npm run build');
  return found;
}

function check(error: number, what: string): void {
  if (error < 0) throw new KernelError('SYSTEM_CALL', `${what}: ${errnoName(error)}`);
}

const RING_SIZE_MIN = 4 << 20;
const RING_SIZE_MAX = 32 << 20;
const RING_OCTETS_A_SPLICE = 32;

/** Octets of the event ring, a power of two: room for one event of each sixth splice. */
function ringSize(tableSize: number): number {
  let size = RING_SIZE_MIN;
  while (size < RING_SIZE_MAX && size < RING_OCTETS_A_SPLICE * tableSize) size *= 2;
  return size;
}

/** BPF_CGROUP_GETSOCKOPT, BPF_CGROUP_SETSOCKOPT (linux/bpf.h). */
const ATTACH_TYPES: Record<CgroupLink, number> = { link_getsockopt: 21, link_setsockopt: 22 };

/** Let a loaded program answer the splice calls of a cgroup's sockets; the link is pinned. */
export function attachToCgroup(
  program: number,
  link: CgroupLink,
  cgroup: string,
  pin: string,
): void {
  const target: number = libc.open(cgroup, O_RDONLY);
  if (target < 0) throw new KernelError('NO_CGROUP', `${cgroup} cannot be opened`);
  try {
    const fd: number = bpf().linkCreate(program, target, ATTACH_TYPES[link], null);
    if (fd < 0) {
      throw new KernelError(
        'OBJECT_REFUSED',
        `${link}: the kernel refused to attach: ${errnoName(fd)}`,
      );
    }
    const error: number = bpf().objPin(fd, pin);
    libc.close(fd);
    check(error, `pinning ${link}`);
  } finally {
    libc.close(target);
  }
}

/** Answer the calls of this cgroup's sockets, where the pinned links are to another, or to none any more. */
export function keepCgroup(pins: Pins, pinPath: string, cgroup: string): void {
  const id = statSync(cgroup, { bigint: true }).ino;
  for (const [link, program] of Object.entries(CGROUP_LINKS) as [CgroupLink, ProgramName][]) {
    const pin = join(pinPath, link);
    const fd = openPin(pinPath, link);
    const linked = linkedCgroup(fd);
    libc.close(fd);
    if (linked === id) continue;
    rmSync(pin);
    attachToCgroup(pins.program(program), link, cgroup, pin);
  }
}

/** A map as the object declares it. */
export interface ObjectMap {
  name: string;
  pointer: Pointer;
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags: number;
  keyType: number;
  valueType: number;
}

export class SpliceObject {
  /** Tells one build from another: the first 8 octets of the SHA-256 of the file. */
  readonly id: bigint;
  readonly maps: ObjectMap[];
  readonly btf: Btf;
  readonly #object: Pointer;

  /** Splices that its table will hold. */
  readonly tableSize: number;

  /** @param path of another object than the one built with this version */
  constructor(tableSize: number, path = builtObject()) {
    const library = bpf();
    this.tableSize = tableSize;
    this.id = createHash('sha256').update(readFileSync(path)).digest().readBigUInt64LE(0);
    this.#object = library.objectOpen(path, null);
    if (!this.#object)
      throw new KernelError('NO_OBJECT', `${path} cannot be read; run npm run build`);
    const sizes = {
      entries: tableSize,
      free_slots: tableSize,
      legs: 2 * tableSize,
      events: ringSize(tableSize),
    };
    for (const [name, size] of Object.entries(sizes)) {
      library.mapSetMaxEntries(library.findMap(this.#object, name), size);
    }
    this.btf = Btf.ofLibrary(library.objectBtf(this.#object));
    this.maps = [...this.#maps()];
  }

  *#maps(): Generator<ObjectMap> {
    const library = bpf();
    for (let map: Pointer = null; ; ) {
      map = library.nextMap(this.#object, map) as Pointer;
      if (!map) return;
      // global variables: nothing in them that other programs could go on with
      if (library.mapIsInternal(map)) continue;
      yield {
        name: library.mapName(map),
        pointer: map,
        type: library.mapType(map),
        keySize: library.mapKeySize(map),
        valueSize: library.mapValueSize(map),
        maxEntries: library.mapMaxEntries(map),
        flags: library.mapFlags(map),
        keyType: library.mapKeyType(map),
        valueType: library.mapValueType(map),
      };
    }
  }

  /** Let the programs use a map that is there, in place of one of their own. */
  reuse(map: ObjectMap, fd: number): void {
    check(bpf().mapReuse(map.pointer, fd), `taking over ${map.name}`);
  }

  /** @throws KernelError OBJECT_REFUSED when the kernel does not take the programs, TABLE_TOO_LARGE */
  async load(): Promise<void> {
    const lacking = kernelLacks();
    if (lacking) throw new KernelError('OBJECT_REFUSED', lacking);
    const error = await loadObject(this.#object);
    if (error === -ENOMEM || error === -E2BIG) {
      throw new KernelError(
        'TABLE_TOO_LARGE',
        `there is not enough memory for a table of ${this.tableSize} splices; lower TableSize`,
      );
    }
    if (error < 0) {
      throw new KernelError(
        'OBJECT_REFUSED',
        `the kernel refused the splice programs (${errnoName(error)}); CAP_BPF, CAP_PERFMON and ` +
          'CAP_NET_ADMIN are needed',
      );
    }
  }

  /** Pin the programs, these maps, and the table as text. */
  pin(directory: string, maps: ObjectMap[]): void {
    const library = bpf();
    for (const { name, pointer } of maps) {
      check(library.mapPin(pointer, join(directory, mapPin(name))), `pinning ${name}`);
    }
    for (const name of PROGRAMS) {
      const pin = join(directory, programPin(name));
      check(
        library.programPin(library.findProgram(this.#object, functionName(name)), pin),
        `pinning ${name}`,
      );
    }
    const linkInfo = Buffer.alloc(16); // union bpf_iter_link_info: map.map_fd
    linkInfo.writeUInt32LE(library.mapFd(library.findMap(this.#object, 'entries')), 0);
    const link: Pointer = library.attachIter(library.findProgram(this.#object, 'dump_table'), {
      sz: sizeOf('bpf_iter_attach_opts'),
      link_info: linkInfo,
      link_info_len: linkInfo.length,
    });
    if (!link)
      throw new KernelError('OBJECT_REFUSED', `${TEXT_LINK}: the kernel refused to attach`);
    check(library.linkPin(link, join(directory, TEXT_LINK)), `pinning ${TEXT_LINK}`);
    library.linkDestroy(link); // the pin holds it
  }

  /** Attach the splice calls to the sockets of a cgroup. */
  attachCgroup(directory: string, cgroup: string): void {
    for (const [link, program] of Object.entries(CGROUP_LINKS) as [CgroupLink, ProgramName][]) {
      const fd: number = bpf().programFd(bpf().findProgram(this.#object, functionName(program)));
      attachToCgroup(fd, link, cgroup, join(directory, link));
    }
  }

  close(): void {
    bpf().objectClose(this.#object);
  }
}
