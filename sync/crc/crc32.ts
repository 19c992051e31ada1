/**
 * CRC-32 (IEEE 802.3) as zlib has it. A project of its own, since sync/ is compiled without Node's
 * types: all else that it needs from the world is given to it.
 */
import { crc32 as zlibCrc32 } from 'node:zlib';

/** @param value of the octets before; 0: there are none */
export const crc32: (octets: Uint8Array, value?: number) => number = zlibCrc32;
