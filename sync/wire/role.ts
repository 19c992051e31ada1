/** ROLE: what a node says that it is, and for which takeover it stands. */
import { Segment } from './segments.js';
import type { Writer } from './writer.js';

/** In the order of their numbers. */
export const ROLES = ['undecided', 'primary', 'backup', 'fault'] as const;
export type RoleName = (typeof ROLES)[number];

export interface Role {
  readonly role: RoleName;
  /** A virtual address is on the node. */
  readonly holds: boolean;
  /** The node answers for the virtual addresses, or is about to. */
  readonly stands: boolean;
  /** The same for all that says the same; one above the last. */
  readonly serial: number;
  /** Of the takeover by which it stands; 0: of none. */
  readonly epoch: number;
  /** The strongest claim that it has heard of and does not stand against; 0, 0: none. */
  readonly yieldedTo: { readonly epoch: number; readonly owner: number };
}

const HOLDS = 0x01;
const STANDS = 0x02;
const SERIAL = 4;
const EPOCH = 8;
const YIELDED = 12;

export function writeRole(writer: Writer, said: Role): void {
  if (!writer.fits(Segment.ROLE)) return;
  const at = writer.item(Segment.ROLE);
  const { bytes, view } = writer;
  bytes[at] = ROLES.indexOf(said.role);
  bytes[at + 1] = (said.holds ? HOLDS : 0) | (said.stands ? STANDS : 0);
  view.setUint16(at + 2, 0, true);
  view.setUint32(at + SERIAL, said.serial, true);
  view.setUint32(at + EPOCH, said.epoch, true);
  view.setUint32(at + YIELDED, said.yieldedTo.epoch, true);
  view.setUint32(at + YIELDED + 4, said.yieldedTo.owner, true);
}

/** Of a datagram that has been found sound. */
export function readRole(view: DataView, at: number): Role {
  const flags = view.getUint8(at + 1);
  return {
    role: ROLES[view.getUint8(at)],
    holds: (flags & HOLDS) !== 0,
    stands: (flags & STANDS) !== 0,
    serial: view.getUint32(at + SERIAL, true),
    epoch: view.getUint32(at + EPOCH, true),
    yieldedTo: {
      epoch: view.getUint32(at + YIELDED, true),
      owner: view.getUint32(at + YIELDED + 4, true),
    },
  };
}
