/**
 * The door to libc and libbpf.so.1 (Debian's libbpf1), by way of koffi. Pointers are bigints, 0n or
 * null is NULL; a Buffer given for a `void *` is read and written in place.
 */
import koffi, { type LibraryHandle } from 'koffi';
import { callFailed, KernelError } from './error.js';

export type Pointer = bigint | null;

// struct bpf_test_run_opts, bpf_tc_hook, bpf_tc_opts, bpf_prog_attach_opts, bpf_iter_attach_opts of <bpf/bpf.h>, <bpf/libbpf.h>
koffi.struct('bpf_test_run_opts', {
  sz: 'size_t',
  data_in: 'void *',
  data_out: 'void *',
  data_size_in: 'uint32_t',
  data_size_out: 'uint32_t',
  ctx_in: 'void *',
  ctx_out: 'void *',
  ctx_size_in: 'uint32_t',
  ctx_size_out: 'uint32_t',
  retval: 'uint32_t',
  repeat: 'int',
  duration: 'uint32_t',
  flags: 'uint32_t',
  cpu: 'uint32_t',
  batch_size: 'uint32_t',
});
koffi.struct('bpf_tc_hook', {
  sz: 'size_t',
  ifindex: 'int',
  attach_point: 'int',
  parent: 'uint32_t',
});
koffi.struct('bpf_tc_opts', {
  sz: 'size_t',
  prog_fd: 'int',
  flags: 'uint32_t',
  prog_id: 'uint32_t',
  handle: 'uint32_t',
  priority: 'uint32_t',
});
koffi.struct('bpf_prog_attach_opts', {
  sz: 'size_t',
  flags: 'uint32_t',
  replace_prog_fd: 'int',
});
koffi.struct('bpf_iter_attach_opts', {
  sz: 'size_t',
  link_info: 'void *',
  link_info_len: 'uint32_t',
});
koffi.proto('int libbpf_print(int level, const char *format, void *arguments)');

function loadLibrary(name: string, hint: string): LibraryHandle {
  try {
    return koffi.load(name);
  } catch {
    throw new KernelError('NO_LIBBPF', `${name} cannot be loaded; ${hint}`);
  }
}

const c = koffi.load('libc.so.6');
let libbpf: ReturnType<typeof bindLibbpf> | undefined;

function bindLibbpf() {
  const bpf = loadLibrary('libbpf.so.1', 'install the package libbpf1');
  return {
    objectOpen: bpf.func('void *bpf_object__open_file(const char *path, const void *opts)'),
    objectLoad: bpf.func('int bpf_object__load(void *object)'),
    objectClose: bpf.func('void bpf_object__close(void *object)'),
    findMap: bpf.func('void *bpf_object__find_map_by_name(void *object, const char *name)'),
    findProgram: bpf.func('void *bpf_object__find_program_by_name(void *object, const char *name)'),
    objectBtf: bpf.func('void *bpf_object__btf(void *object)'),
    nextMap: bpf.func('void *bpf_object__next_map(void *object, void *map)'),
    mapName: bpf.func('const char *bpf_map__name(void *map)'),
    mapType: bpf.func('int bpf_map__type(void *map)'),
    mapKeySize: bpf.func('uint32_t bpf_map__key_size(void *map)'),
    mapValueSize: bpf.func('uint32_t bpf_map__value_size(void *map)'),
    mapMaxEntries: bpf.func('uint32_t bpf_map__max_entries(void *map)'),
    mapFlags: bpf.func('uint32_t bpf_map__map_flags(void *map)'),
    mapKeyType: bpf.func('uint32_t bpf_map__btf_key_type_id(void *map)'),
    mapValueType: bpf.func('uint32_t bpf_map__btf_value_type_id(void *map)'),
    mapIsInternal: bpf.func('bool bpf_map__is_internal(void *map)'),
    mapReuse: bpf.func('int bpf_map__reuse_fd(void *map, int fd)'),
    btfOfKernel: bpf.func('void *btf__load_from_kernel_by_id(uint32_t id)'),
    btfRaw: bpf.func('const void *btf__raw_data(void *btf, _Out_ uint32_t *size)'),
    btfFree: bpf.func('void btf__free(void *btf)'),
    mapSetMaxEntries: bpf.func('int bpf_map__set_max_entries(void *map, uint32_t n)'),
    mapPin: bpf.func('int bpf_map__pin(void *map, const char *path)'),
    programPin: bpf.func('int bpf_program__pin(void *program, const char *path)'),
    attachIter: bpf.func(
      'void *bpf_program__attach_iter(void *program, const bpf_iter_attach_opts *o)',
    ),
    programFd: bpf.func('int bpf_program__fd(void *program)'),
    mapFd: bpf.func('int bpf_map__fd(void *map)'),
    linkPin: bpf.func('int bpf_link__pin(void *link, const char *path)'),
    linkDestroy: bpf.func('int bpf_link__destroy(void *link)'),
    linkCreate: bpf.func(
      'int bpf_link_create(int program, int target, int attach_type, const void *opts)',
    ),
    objPin: bpf.func('int bpf_obj_pin(int fd, const char *path)'),
    linkUpdate: bpf.func('int bpf_link_update(int link, int program, const void *opts)'),
    objGet: bpf.func('int bpf_obj_get(const char *path)'),
    mapLookup: bpf.func('int bpf_map_lookup_elem(int fd, const void *key, void *value)'),
    mapUpdate: bpf.func(
      'int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)',
    ),
    mapDelete: bpf.func('int bpf_map_delete_elem(int fd, const void *key)'),
    mapNextKey: bpf.func('int bpf_map_get_next_key(int fd, const void *key, void *next)'),
    mapInfo: bpf.func('int bpf_obj_get_info_by_fd(int fd, void *info, _Inout_ uint32_t *length)'),
    testRun: bpf.func('int bpf_prog_test_run_opts(int fd, _Inout_ bpf_test_run_opts *o)'),
    progAttach: bpf.func(
      'int bpf_prog_attach_opts(int program, int target, int type, const bpf_prog_attach_opts *o)',
    ),
    progDetach: bpf.func('int bpf_prog_detach2(int program, int target, int type)'),
    progQuery: bpf.func(
      'int bpf_prog_query(int target, int type, uint32_t flags, void *attachFlags, void *ids, _Inout_ uint32_t *count)',
    ),
    progById: bpf.func('int bpf_prog_get_fd_by_id(uint32_t id)'),
    tcHookCreate: bpf.func('int bpf_tc_hook_create(_Inout_ bpf_tc_hook *hook)'),
    tcAttach: bpf.func('int bpf_tc_attach(const bpf_tc_hook *hook, _Inout_ bpf_tc_opts *o)'),
    tcDetach: bpf.func('int bpf_tc_detach(const bpf_tc_hook *hook, const bpf_tc_opts *o)'),
    tcQuery: bpf.func('int bpf_tc_query(const bpf_tc_hook *hook, _Inout_ bpf_tc_opts *o)'),
    setPrint: bpf.func('void *libbpf_set_print(libbpf_print *callback)'),
    enableStats: bpf.func('int bpf_enable_stats(int type)'),
    possibleCpus: bpf.func('int libbpf_num_possible_cpus()'),
  };
}

/** libbpf, loaded when first needed: switchd works, without splicing, where it is missing. */
export function bpf(): ReturnType<typeof bindLibbpf> {
  if (!libbpf) {
    libbpf = bindLibbpf();
    libbpf.setPrint(null); // its errors come back as numbers; we say what they mean
  }
  return libbpf;
}

/**
 * Load an opened object: half a second's work for the kernel, which examines each program. Others have
 * their turn meanwhile. @returns 0, or a negative errno
 */
export function loadObject(object: Pointer): Promise<number> {
  return new Promise((resolve, reject) => {
    bpf().objectLoad.async(object, (error: Error | null, result: number) => {
      if (error) reject(error);
      else resolve(result);
    });
  });
}

export const libc = {
  open: c.func('int open(const char *path, int flags)'),
  close: c.func('int close(int fd)'),
  fcntl: c.func('int fcntl(int fd, int command, int argument)'),
  mmap: c.func('void *mmap(void *address, size_t length, int prot, int flags, int fd, int64_t at)'),
  munmap: c.func('int munmap(void *address, size_t length)'),
  socket: c.func('int socket(int domain, int type, int protocol)'),
  bind: c.func('int bind(int fd, const void *address, uint32_t length)'),
  listen: c.func('int listen(int fd, int backlog)'),
  connect: c.func('int connect(int fd, const void *address, uint32_t length)'),
  getsockname: c.func('int getsockname(int fd, void *address, _Inout_ uint32_t *length)'),
  recv: c.func('intptr_t recv(int fd, void *into, size_t length, int flags)'),
  recvmmsg: c.func(
    'int recvmmsg(int fd, void *messages, uint32_t count, int flags, void *timeout)',
  ),
  getsockopt: c.func(
    'int getsockopt(int fd, int level, int name, void *value, _Inout_ uint32_t *length)',
  ),
  setsockopt: c.func(
    'int setsockopt(int fd, int level, int name, const void *value, uint32_t length)',
  ),
  flock: c.func('int flock(int fd, int operation)'),
  syscall: c.func('long syscall(long number, long a, long b, long c)'),
  ioctl: c.func('int ioctl(int fd, unsigned long request, void *argument)'),
  sendto: c.func(
    'intptr_t sendto(int fd, const void *data, size_t length, int flags, const void *to, uint32_t n)',
  ),
  sendmmsg: c.func('int sendmmsg(int fd, void *messages, uint32_t count, int flags)'),
  ifNameToIndex: c.func('uint32_t if_nametoindex(const char *name)'),
};

/** errno of the last call of this thread. */
export function errno(): number {
  return koffi.errno();
}

const MAP_SHARED = 1;
const MAP_FAILED = 0xffffffffffffffffn;
export const Protection = { READ: 1, READ_WRITE: 3 } as const;

/** mmap(2) of a descriptor, shared. @throws KernelError SYSTEM_CALL */
export function mapShared(fd: number, length: number, protection: number, at = 0): Pointer {
  const pointer: Pointer = libc.mmap(null, length, protection, MAP_SHARED, fd, at);
  if (pointer === MAP_FAILED) throw callFailed('mapping BPF memory', errno());
  return pointer;
}

/** Memory behind a pointer, as an ArrayBuffer that shares it. */
export function memory(pointer: Pointer, length: number): ArrayBuffer {
  return koffi.view(pointer, length);
}

const MEMBARRIER = process.arch === 'arm64' ? 283 : 324;
const MEMBARRIER_CMD_GLOBAL = 1;
const GRACE_MS = 50;

/**
 * Return when every eBPF program that runs now has ended: a grace period of RCU, which is what
 * membarrier(2) is made of. Where it is refused (nohz_full), programs have long ended after a pause.
 */
export function programsEnded(): void {
  if (Number(libc.syscall(MEMBARRIER, MEMBARRIER_CMD_GLOBAL, 0, 0)) === 0) return;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, GRACE_MS);
}

export const sizeOf = (type: string): number => koffi.sizeof(type);

/** A watched descriptor. Keep it referenced: collected, it falls silent. */
export interface Watch {
  close(): void;
}

/** Put off to the end of the callback that is under way. */
const atItsEnd: (() => void)[] = [];
let inCallback = false;

/** Call back whenever fd is readable (or writable), until closed. Level-triggered. */
export function watchFd(fd: number, what: 'readable' | 'writable', callback: () => void): Watch {
  const options = { readable: what === 'readable', writable: what === 'writable' };
  return koffi.node.poll(fd, options, () => {
    inCallback = true;
    try {
      callback();
    } finally {
      inCallback = false;
      for (let fn = atItsEnd.shift(); fn; fn = atItsEnd.shift()) fn();
    }
  });
}

/**
 * Call fn once all is done that is at hand: at the end of the callback of a watched descriptor, or,
 * outside of one, with this turn of the event loop. That turn ends many microseconds after the callback
 * when it is a single one that has woken the process up.
 */
export function atEnd(fn: () => void): void {
  if (inCallback) atItsEnd.push(fn);
  else setImmediate(fn);
}
