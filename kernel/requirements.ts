/** What the datapath needs of the kernel that runs, and which kernel that is. */
import { existsSync } from 'node:fs';
import { release } from 'node:os';

/**
 * The least kernel: the oldest that the tests are run on (npm run kernels). Of what the programs call,
 * bpf_loop came with 5.17 and bpf_set_retval with 5.18, so that no long-term kernel before 6.1 has it all.
 */
export const KERNEL_MIN: readonly [number, number] = [6, 1];

const BTF = '/sys/kernel/btf/vmlinux';

/** One sentence, without its full stop, that says what this kernel lacks; undefined if it will do. */
export function kernelLacks(): string | undefined {
  const [major, minor] = release().split('.').map(Number);
  const [leastMajor, leastMinor] = KERNEL_MIN;
  if (major < leastMajor || (major === leastMajor && minor < leastMinor)) {
    return `splicing needs Linux ${KERNEL_MIN.join('.')} or later, and this is ${release()}`;
  }
  if (!existsSync(BTF)) {
    return `splicing needs a kernel with BTF (${BTF}), built with CONFIG_DEBUG_INFO_BTF=y`;
  }
  return undefined;
}
