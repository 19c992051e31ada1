// Which addresses this node has now.
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { plainAddress } from '../kernel/endpoint.js';
import { formatAddress } from '../kernel/record/record.js';

// include/uapi/linux/if_addr.h, as /proc/net/if_inet6 shows them
const IFA_F_OPTIMISTIC = 0x04;
const IFA_F_DADFAILED = 0x08;
const IFA_F_TENTATIVE = 0x40;

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
  for (const address of doubtful()) mine.delete(address);
  return addresses.filter((address) => mine.has(address));
}

/** IPv6 addresses in doubt. */
function* doubtful(): Generator<string> {
  // address, ifindex, prefix length, scope, flags, name
  for (const line of inet6().split('\n')) {
    const [digits, , , , flags] = line.split(/ +/);
    if (flags === undefined) continue;
    const bits = Number.parseInt(flags, 16);
    const unsure = (bits & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC)) === IFA_F_TENTATIVE;
    if (unsure || bits & IFA_F_DADFAILED) yield formatAddress(Buffer.from(digits, 'hex'));
  }
}

/** Of this network namespace; empty where the kernel has no IPv6. */
function inet6(): string {
  try {
    return readFileSync('/proc/self/net/if_inet6', 'utf8');
  } catch {
    return '';
  }
}
