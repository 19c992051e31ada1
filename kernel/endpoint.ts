/** One end of a connection: an address of either family, and a port. */
import { formatAddress, isMapped, parseAddress } from './record/record.js';

export interface Endpoint {
  address: string;
  port: number;
}

export const AF_INET = 2;
export const AF_INET6 = 10;

/** 4 or 6. An IPv4-mapped address (::ffff:a.b.c.d) is IPv4. */
export type Family = 4 | 6;

export function familyOf(address: string): Family {
  const bytes = Buffer.alloc(16);
  parseAddress(address, bytes);
  return isMapped(bytes, 0) ? 4 : 6;
}

/** An address says nothing without its interface (fe80::1%eth0): the table has no room for that. */
export const isScoped = (address: string): boolean => address.includes('%');

/** What a socket listens on that takes connections to any address of its family. */
export const isWildcard = (address: string): boolean => address === '0.0.0.0' || address === '::';

/** The one way to write an address: 10.1.0.2 for a mapped one, else as RFC 5952 wants it. */
export function plainAddress(address: string): string {
  if (isScoped(address)) return address;
  const bytes = Buffer.alloc(16);
  parseAddress(address, bytes);
  return formatAddress(bytes);
}

/** For a sentence, or the key of a table: 10.1.0.2:80, [2001:db8::1]:80. */
export function endpointText({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** struct sockaddr_in (ip(7)) or sockaddr_in6 (ipv6(7)); family in host order, the rest as on the wire. */
export function socketAddress({ address, port }: Endpoint): Buffer {
  const bytes = Buffer.alloc(16);
  parseAddress(address, bytes);
  const v4 = isMapped(bytes, 0);
  const name = Buffer.alloc(v4 ? 16 : 28);
  name.writeUInt16LE(v4 ? AF_INET : AF_INET6, 0);
  name.writeUInt16BE(port, 2);
  if (v4) bytes.copy(name, 4, 12, 16);
  else bytes.copy(name, 8);
  return name;
}

/** The address in a struct sockaddr_in or sockaddr_in6. */
export function addressOf(name: Buffer): string {
  if (name.readUInt16LE(0) === AF_INET6) return formatAddress(name, 8);
  return name.subarray(4, 8).join('.');
}
