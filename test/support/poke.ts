// SPDX-License-Identifier: MIT
/**
 * Writes into the live entries of a pinned table what no user space ever may: states and numbers that
 * only the kernel sets, from the locked socket. For golden packets that need a splice in the making.
 */
import { errnoName } from '../../kernel/error.js';
import { bpf, errno, libc } from '../../kernel/native.js';
import { ENTRY_SIZE } from '../../kernel/record/layout.js';

/** Changes every entry in use of the `size` slots below `pinPath`; the function gets its bytes. */
export function poke(pinPath: string, size: number, change: (entry: Buffer) => void): void {
  const fd = bpf().objGet(`${pinPath}/entries`);
  if (fd < 0) throw new Error(`${pinPath}/entries: ${errnoName(errno())}`);
  const key = Buffer.alloc(4);
  const entry = Buffer.alloc(ENTRY_SIZE);
  try {
    for (let slot = 0; slot < size; slot++) {
      key.writeUInt32LE(slot);
      if (bpf().mapLookup(fd, key, entry)) throw new Error(`slot ${slot}: ${errnoName(errno())}`);
      if (entry.readBigUInt64LE(0) === 0n) continue;
      change(entry);
      if (bpf().mapUpdate(fd, key, entry, 0))
        throw new Error(`slot ${slot}: ${errnoName(errno())}`);
    }
  } finally {
    libc.close(fd);
  }
}
