/**
 * Which version this node writes. HELLO can be read by all and says which versions its sender speaks;
 * everything else goes in the highest that all live peers speak, so that a pair can be upgraded one
 * node after the other. docs/wire.md has the rules.
 */
import { type Datagram, HELLO_VERSION, Segment } from './wire.js';

/** From the lowest to the highest. */
export interface Versions {
  readonly lowest: number;
  readonly highest: number;
}

/** A HELLO that says nothing about it comes from a node of the first version. */
export const FIRST_ONLY: Versions = { lowest: HELLO_VERSION, highest: HELLO_VERSION };

/** What a datagram shows of it: a HELLO says it, another one is of a version that its sender speaks. */
export function versionsIn({ header, segments, bytes }: Datagram): Versions {
  for (const { type, at, count } of segments) {
    if (type === Segment.VERSIONS && count > 0) {
      return { lowest: bytes[at], highest: bytes[at + 1] };
    }
  }
  return { lowest: FIRST_ONLY.lowest, highest: header.version };
}

/** The highest that all of them speak, and this node. */
export function common(versionMax: number, peers: Iterable<{ versions: Versions }>): number {
  let version = versionMax;
  for (const { versions } of peers) version = Math.min(version, versions.highest);
  return version;
}
