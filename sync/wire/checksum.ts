/**
 * CRC-32 of a datagram that is not sealed: links and their cards change more octets than
 * the 16 bits of UDP's checksum see. It stands where a sealed datagram has its nonce, and covers all
 * octets but those eight.
 */
import { crc32 } from '../crc/crc32.js';
import { HEADER_SIZE, NONCE_AT } from './header.js';

export function checksum(datagram: Uint8Array): number {
  return crc32(datagram.subarray(HEADER_SIZE), crc32(datagram.subarray(0, NONCE_AT)));
}
