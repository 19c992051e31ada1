import { errnoName, KernelError } from './error.js';
import { bpf, sizeOf } from './native.js';

export interface RunOptions {
  /** struct __sk_buff that the program sees. */
  context?: Buffer;
  /** Gets the packet as the program left it. */
  output?: Buffer;
  /** How often, default 1; each time on the packet as the program left it the time before. */
  repeat?: number;
}

/**
 * Run a loaded tc program on a packet, in the calling process's network namespace
 * (BPF_PROG_TEST_RUN, bpf(2)).
 * @returns its last verdict, how many octets of output there are, and how long it took on average
 * @throws KernelError SYSTEM_CALL
 */
export function runProgram(
  fd: number,
  packet: Buffer,
  { context, output, repeat = 1 }: RunOptions = {},
): { verdict: number; outputLength: number; durationNs: number } {
  const options = {
    sz: sizeOf('bpf_test_run_opts'),
    data_in: packet,
    data_out: output ?? null,
    data_size_in: packet.length,
    data_size_out: output?.length ?? 0,
    ctx_in: context ?? null,
    ctx_out: null,
    ctx_size_in: context?.length ?? 0,
    ctx_size_out: 0,
    retval: 0,
    repeat,
    duration: 0,
    flags: 0,
    cpu: 0,
    batch_size: 0,
  };
  const error: number = bpf().testRun(fd, options);
  if (error < 0) {
    throw new KernelError('SYSTEM_CALL', `running a BPF program failed: ${errnoName(error)}`);
  }
  const { retval: verdict, data_size_out: outputLength, duration: durationNs } = options;
  return { verdict, outputLength, durationNs };
}

/** Start a run without any of those options on another thread. Whoever waits for it sees to that by itself. */
export function runProgramBeside(fd: number, packet: Buffer): void {
  const options = {
    sz: sizeOf('bpf_test_run_opts'),
    data_in: packet,
    data_size_in: packet.length,
    repeat: 1,
  };
  bpf().testRun.async(fd, options, () => {});
}
