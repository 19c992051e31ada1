/** Loads the compiled eBPF object into the kernel and pins what it is made of. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errnoName, KernelError } from './error.js';
import { bpf, libc, type Pointer, sizeOf } from './native.js';
import { LINKS, MAPS, PROGRAMS, programPin } from './pins.js';

const O_RDONLY = 0;

/** The object that the build made, beside the compiled program or under dist/ of the sources. */
function objectPath(): string {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const candidates = [join(here, 'splice.bpf.o'), join(here, '../dist/kernel/splice.bpf.o')];
  const found = candidates.find((path) => existsSync(path));
  if (!found) throw new KernelError('NO_OBJECT', 'splice.bpf.o is missing; run npm run build');
  return found;
}

function check(error: number, what: string): void {
  if (error < 0) throw new KernelError('SYSTEM_CALL', `${what}: ${errnoName(error)}`);
}

function attachAndPin(object: Pointer, pinPath: string, cgroup: string): void {
  const library = bpf();
  const cgroupFd: number = libc.open(cgroup, O_RDONLY);
  if (cgroupFd < 0) throw new KernelError('NO_CGROUP', `${cgroup} cannot be opened`);
  const entries = library.mapFd(library.findMap(object, 'entries'));
  const linkInfo = Buffer.alloc(16); // union bpf_iter_link_info: map.map_fd
  linkInfo.writeUInt32LE(entries, 0);
  const links: Record<(typeof LINKS)[number], Pointer> = {
    link_getsockopt: library.attachCgroup(
      library.findProgram(object, 'splice_getsockopt'),
      cgroupFd,
    ),
    link_setsockopt: library.attachCgroup(
      library.findProgram(object, 'splice_setsockopt'),
      cgroupFd,
    ),
    table: library.attachIter(library.findProgram(object, 'dump_table'), {
      sz: sizeOf('bpf_iter_attach_opts'),
      link_info: linkInfo,
      link_info_len: linkInfo.length,
    }),
  };
  libc.close(cgroupFd);
  for (const name of LINKS) {
    if (!links[name])
      throw new KernelError('OBJECT_REFUSED', `${name}: the kernel refused to attach`);
    check(library.linkPin(links[name], join(pinPath, name)), `pinning ${name}`);
    library.linkDestroy(links[name]); // the pin holds it
  }
}

/**
 * Load the object with a table of tableSize splices, attach its socket options to the cgroup and pin
 * everything under pinPath.
 * @throws KernelError OBJECT_REFUSED when the kernel does not take the programs
 */
export function loadObject(pinPath: string, cgroup: string, tableSize: number): void {
  const library = bpf();
  const object: Pointer = library.objectOpen(objectPath(), null);
  if (!object) throw new KernelError('NO_OBJECT', 'splice.bpf.o cannot be read; run npm run build');
  try {
    const sizes = { entries: tableSize, free_slots: tableSize, legs: 2 * tableSize };
    for (const [name, size] of Object.entries(sizes)) {
      library.mapSetMaxEntries(library.findMap(object, name), size);
    }
    const error: number = library.objectLoad(object);
    if (error < 0) {
      throw new KernelError(
        'OBJECT_REFUSED',
        `the kernel refused the splice programs (${errnoName(error)}); Linux 6.2 or later with BTF, ` +
          'and CAP_BPF and CAP_NET_ADMIN, are needed',
      );
    }
    for (const name of MAPS) {
      check(library.mapPin(library.findMap(object, name), join(pinPath, name)), `pinning ${name}`);
    }
    for (const name of PROGRAMS) {
      const pin = join(pinPath, programPin(name));
      check(library.programPin(library.findProgram(object, name), pin), `pinning ${name}`);
    }
    attachAndPin(object, pinPath, cgroup);
  } finally {
    library.objectClose(object);
  }
}
