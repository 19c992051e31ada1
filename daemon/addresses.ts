// Which virtual addresses this node has now, and which TCP sockets still hang on them.
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';

/** Those of the addresses that stand on an interface of this host which is up and has a carrier. */
export function present(addresses: readonly string[]): string[] {
  const mine = new Set<string>();
  for (const list of Object.values(networkInterfaces())) {
    for (const { address } of list ?? []) mine.add(address);
  }
  return addresses.filter((address) => mine.has(address));
}

// include/net/tcp_states.h: states in which no byte can be lost any more, or none is there yet
const QUIET = new Set(['06' /* TIME_WAIT */, '07' /* CLOSE */, '0A' /* LISTEN */]);

/**
 * TCP sockets of this network namespace whose local end is one of the (IPv4) addresses: connections
 * that live in user space, and would end with the address.
 */
export function socketsOn(addresses: readonly string[]): number {
  const wanted = new Set(
    addresses.flatMap((address) => [kernelForm(address), mappedForm(address)]),
  );
  let count = 0;
  for (const file of ['/proc/self/net/tcp', '/proc/self/net/tcp6']) {
    for (const line of readLines(file).slice(1)) {
      const [, local = '', , state = ''] = line.trim().split(/\s+/);
      if (wanted.has(local.split(':')[0] as string) && !QUIET.has(state)) count++;
    }
  }
  return count;
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'latin1').trimEnd().split('\n');
  } catch {
    return []; // a kernel without IPv6 has no tcp6
  }
}

/** As /proc/net/tcp writes an address: the 32 bits as a number of this (little-endian) machine. */
function kernelForm(address: string): string {
  return Buffer.from(address.split('.').map(Number)).reverse().toString('hex').toUpperCase();
}

function mappedForm(address: string): string {
  return `0000000000000000FFFF0000${kernelForm(address)}`;
}
