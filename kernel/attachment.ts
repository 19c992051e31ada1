/**
 * Where the programs hang on an interface, and how they get there, are found and taken off. Since Linux 6.6
 * that is TCX, which costs a packet least; before, filters of a clsact qdisc. Either way they live on with no
 * process, as long as the interface.
 */
import { bpf, libc, sizeOf } from './native.js';
import { functionName, programName } from './pins.js';

/** Both programs, or what is known of them, by the way that packets go. */
export interface Pair<T> {
  ingress: T;
  egress: T;
}
export type Direction = keyof Pair<unknown>;
export const DIRECTIONS: Direction[] = ['ingress', 'egress'];

/** One way of hanging programs on an interface. */
interface Way {
  /** Id of our program there; undefined: none. */
  find(ifindex: number, direction: Direction): number | undefined;
  /** In one step in place of an older one of ours. Returns 0 or a negative errno. */
  attach(ifindex: number, direction: Direction, program: number): number;
  detach(ifindex: number, direction: Direction): void;
}

const EEXIST = 17;
// enum bpf_attach_type, linux/bpf.h
export const TCX: Pair<number> = { ingress: 46, egress: 47 };
const BPF_F_REPLACE = 4;
/** That many programs hang on one hook of an interface at most (kernel/bpf/mprog.c). */
const PROGRAMS_MAX = 64;

/** Ids of all programs on a TCX hook; undefined: this kernel has no TCX. */
function tcxPrograms(ifindex: number, direction: Direction): number[] | undefined {
  const ids = Buffer.alloc(4 * PROGRAMS_MAX);
  const count: [number] = [PROGRAMS_MAX];
  if (bpf().progQuery(ifindex, TCX[direction], 0, null, ids, count) < 0) return undefined;
  return Array.from({ length: count[0] }, (_, i) => ids.readUInt32LE(4 * i));
}

/** Hand a program's descriptor to a function; undefined where the program has gone meanwhile. */
function withProgram<T>(id: number, use: (fd: number) => T): T | undefined {
  const fd: number = bpf().progById(id);
  if (fd < 0) return undefined;
  try {
    return use(fd);
  } finally {
    libc.close(fd);
  }
}

const tcx: Way = {
  find: (ifindex, direction) =>
    tcxPrograms(ifindex, direction)?.find(
      (id) => withProgram(id, programName) === functionName(direction),
    ),

  attach(ifindex, direction, program) {
    const attach = (replaced?: number): number =>
      bpf().progAttach(program, ifindex, TCX[direction], {
        sz: sizeOf('bpf_prog_attach_opts'),
        flags: replaced === undefined ? 0 : BPF_F_REPLACE,
        replace_prog_fd: replaced ?? 0,
      });
    const old = tcx.find(ifindex, direction);
    const error = old === undefined ? attach() : (withProgram(old, attach) ?? attach());
    return error === -EEXIST ? 0 : error; // the very same is there already
  },

  detach(ifindex, direction) {
    const id = tcx.find(ifindex, direction);
    if (id !== undefined) {
      withProgram(id, (fd) => bpf().progDetach(fd, ifindex, TCX[direction]));
    }
  },
};

// enum bpf_tc_attach_point, bpf/libbpf.h
const CLSACT: Pair<number> = { ingress: 1, egress: 2 };
const BPF_TC_F_REPLACE = 1;
const HANDLE = 1;
const PRIORITY = 1;

function hook(ifindex: number, attachPoint: number) {
  return { sz: sizeOf('bpf_tc_hook'), ifindex, attach_point: attachPoint, parent: 0 };
}

function filter(programFd = 0, flags = 0) {
  return {
    sz: sizeOf('bpf_tc_opts'),
    prog_fd: programFd,
    flags,
    prog_id: 0,
    handle: HANDLE,
    priority: PRIORITY,
  };
}

const clsact: Way = {
  find(ifindex, direction) {
    const found = filter();
    return bpf().tcQuery(hook(ifindex, CLSACT[direction]), found) === 0 ? found.prog_id : undefined;
  },

  attach(ifindex, direction, program) {
    const created: number = bpf().tcHookCreate(hook(ifindex, CLSACT.ingress | CLSACT.egress));
    if (created < 0 && created !== -EEXIST) return created;
    return bpf().tcAttach(hook(ifindex, CLSACT[direction]), filter(program, BPF_TC_F_REPLACE));
  },

  detach(ifindex, direction) {
    bpf().tcDetach(hook(ifindex, CLSACT[direction]), filter());
  },
};

export const WAYS = { tcx, clsact };

/** The way of this kernel. */
export function wayOf(ifindex: number): Way {
  return tcxPrograms(ifindex, 'ingress') ? tcx : clsact;
}
