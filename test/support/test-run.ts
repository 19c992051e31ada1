// SPDX-License-Identifier: MIT
/** Runs a pinned tc program once on a packet (BPF_PROG_TEST_RUN), in the calling process's namespace. */
import { errnoName } from '../../kernel/error.js';
import { bpf, errno, libc } from '../../kernel/native.js';
import { runProgram } from '../../kernel/program.js';

/** Offsets in struct __sk_buff (linux/bpf.h) of what the kernel lets a test run set. */
const SkBuff = { mark: 8, ifindex: 40, size: 48 } as const;
/** What a program may make of a packet at most. */
const OUTPUT_BYTES_MAX = 65_536;

/** The program's verdict and the packet as it left it. `ifindex` is the interface it is seen on. */
export function testRun(
  pin: string,
  input: Buffer,
  context: { mark: number; ifindex: number },
): { verdict: number; output: Buffer } {
  const fd = bpf().objGet(pin);
  if (fd < 0) throw new Error(`${pin}: ${errnoName(errno())}`);
  try {
    const skb = Buffer.alloc(SkBuff.size);
    skb.writeUInt32LE(context.mark, SkBuff.mark);
    skb.writeUInt32LE(context.ifindex, SkBuff.ifindex);
    const output = Buffer.alloc(OUTPUT_BYTES_MAX);
    const { verdict, outputLength } = runProgram(fd, input, { context: skb, output });
    return { verdict, output: output.subarray(0, outputLength) };
  } finally {
    libc.close(fd);
  }
}
