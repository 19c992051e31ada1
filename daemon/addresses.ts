// Which addresses this node has now.
import { networkInterfaces } from 'node:os';
import { doubtfulAddresses } from '../kernel/addresses.js';
import { plainAddress } from '../kernel/endpoint.js';

/**
 * Those of the addresses (as plainAddress writes them) that stand on an interface of this host which is up and has a
 * carrier. An IPv6 address of which duplicate detection has not made sure yet, or which it found on
 * another node, is not here: nobody would be told of it (RFC 4862 section 5.4).
 */
export function present(addresses: readonly string[]): string[] {
  const mine = new Set<string>();
  for (const list of Object.values(networkInterfaces())) {
    for (const { address } of list ?? []) mine.add(plainAddress(address));
  }
  for (const address of doubtfulAddresses()) mine.delete(address);
  return addresses.filter((address) => mine.has(address));
}
