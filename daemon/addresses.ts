// Which addresses this node has now.
import { networkInterfaces } from 'node:os';

/** Those of the addresses that stand on an interface of this host which is up and has a carrier. */
export function present(addresses: readonly string[]): string[] {
  const mine = new Set<string>();
  for (const list of Object.values(networkInterfaces())) {
    for (const { address } of list ?? []) mine.add(address);
  }
  return addresses.filter((address) => mine.has(address));
}
