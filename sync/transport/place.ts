/** Where a link stands on this host: an interface that is up, and an address of it. */
import { networkInterfaces } from 'node:os';
import { doubtfulAddresses } from '../../kernel/addresses.js';
import { AF_INET, plainAddress } from '../../kernel/endpoint.js';
import { libc } from '../../kernel/native.js';
import { SyncError } from '../error.js';
import type { LinkSettings } from './settings.js';

export interface Place {
  readonly interface: string;
  /** ifindex: another one when an interface of this name was removed and made anew. */
  readonly index: number;
  readonly address: string;
}

/** Fits every link between hosts; more saves nothing that could be measured. */
export const MTU_MAX = 8972;
/** Smaller interfaces get fragments. */
const MTU_MIN = 548;
const ETHERNET_MTU = 1500;
/** IPv4 or IPv6, and UDP. */
const HEADERS = { 4: 28, 6: 48 } as const;

/** @throws SyncError INTERFACE: it is not there, is down, or does not have the address (yet) */
export function findPlace(settings: LinkSettings): Place {
  const found = candidates(settings);
  const { local } = settings;
  const place =
    local === undefined
      ? // those of the link itself do not change with what else the interface is used for
        (found.find(({ address }) => /^fe[89ab]/.test(address)) ?? found[0])
      : found.find(({ address }) => address === plainAddress(local));
  if (place) return { ...place, index: libc.ifNameToIndex(place.interface) };
  throw new SyncError('INTERFACE', whyNot(settings, found.length > 0));
}

/** The same, if it is not this place any more; undefined: it is. @throws SyncError INTERFACE */
export function findNewPlace(settings: LinkSettings, at: Place | undefined): Place | undefined {
  const place = findPlace(settings);
  return at?.index === place.index && at.address === place.address ? undefined : place;
}

/** Of the settings' family, on interfaces that are up and have a carrier. */
function candidates(settings: LinkSettings): Omit<Place, 'index'>[] {
  const doubtful = new Set(doubtfulAddresses());
  const found: Omit<Place, 'index'>[] = [];
  for (const [name, list] of Object.entries(networkInterfaces())) {
    if (settings.interface !== undefined && settings.interface !== name) continue;
    for (const { address, family } of list ?? []) {
      const plain = plainAddress(address);
      if (family !== `IPv${settings.family}` || doubtful.has(plain)) continue;
      found.push({ interface: name, address: plain });
    }
  }
  return found;
}

function whyNot(settings: LinkSettings, hasOthers: boolean): string {
  const { family, local, interface: name } = settings;
  if (name === undefined) {
    return `no interface that is up has the address ${local}; change IPv${family}_address or wait for the interface`;
  }
  if (local === undefined || !hasOthers) {
    return `interface ${name} is down, missing, or has no IPv${family} address; the link needs one (Interface)`;
  }
  const directive = settings.kind === 'multicast' ? 'interface' : 'address';
  return `interface ${name} has no address ${local}; change IPv${family}_${directive} or Interface`;
}

/** Octets of the largest datagram that needs no fragments there. */
export function datagramSize(place: Place, family: 4 | 6): number {
  return Math.max(MTU_MIN, Math.min(MTU_MAX, mtuOf(place.interface) - HEADERS[family]));
}

/** What an interface that is not there yet is taken to carry. */
export const usualSize = (family: 4 | 6): number => ETHERNET_MTU - HEADERS[family];

// struct ifreq of netdevice(7): the name, then the value
const IFREQ_SIZE = 40;
const IFREQ_VALUE = 16;
const SIOCGIFMTU = 0x8921;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;

/** By ioctl: /sys may be that of another network namespace. */
function mtuOf(name: string): number {
  const fd: number = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const request = Buffer.alloc(IFREQ_SIZE);
  request.write(name, 'latin1');
  const failed = fd < 0 || libc.ioctl(fd, SIOCGIFMTU, request) !== 0;
  if (fd >= 0) libc.close(fd);
  return failed ? ETHERNET_MTU : request.readUInt32LE(IFREQ_VALUE);
}
