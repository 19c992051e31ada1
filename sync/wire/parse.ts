/** From octets to a datagram: a value or a named rejection, and no step past the end. */
import { checksum } from './checksum.js';
import {
  checkFields,
  checkHeader,
  HEADER_SIZE,
  type Header,
  readHeader,
  Type,
  WIRE_VERSION,
} from './header.js';
import type { Rejection } from './rejections.js';
import { RULES, SEGMENT_SIZE, Segment, type SegmentRule } from './segments.js';

export interface SegmentView {
  readonly type: number;
  readonly count: number;
  /** Of its first item. */
  readonly at: number;
  /** Octets of an item. */
  readonly size: number;
}

export interface Datagram {
  readonly header: Header;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly segments: SegmentView[];
  /** Where its CONTEXT items are, in their order. */
  readonly contexts: number[];
  /** Segments of a type that this version does not know: skipped. */
  unknown: number;
}

/** How a node reads. */
export interface Reading {
  /** The highest version that it speaks. */
  readonly versionMax: number;
  /** Are checksums looked at? Not on a link that authenticates what it carries. */
  readonly checksums: boolean;
}

/** The rules by type, all of one shape. */
interface Reader {
  readonly size: number;
  /** Bit per type of datagram that may carry it. */
  readonly within: number;
  readonly since: number;
  readonly check: SegmentRule['check'] | undefined;
}

const READERS: (Reader | undefined)[] = Array.from({ length: 256 }, (_, type) => {
  const rule = RULES[type];
  if (rule === undefined) return undefined;
  const { size, since = 1, check } = rule;
  return { size, within: rule.within.reduce((bits, of) => bits | (1 << of), 0), since, check };
});

const LATEST: Reading = { versionMax: WIRE_VERSION, checksums: true };

/** The datagram, sound from end to end, or why not. */
export function parse(bytes: Uint8Array, reading: Reading = LATEST): Datagram | Rejection {
  const { versionMax } = reading;
  if (bytes.byteLength < HEADER_SIZE) return 'short';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = readHeader(view);
  const wrong =
    checkHeader(header, bytes.byteLength, versionMax) ??
    (reading.checksums ? checkChecksum(header, bytes) : undefined) ??
    checkFields(header);
  if (wrong) return wrong;
  const datagram: Datagram = { header, bytes, view, segments: [], contexts: [], unknown: 0 };
  // what a HELLO may carry does not depend on its version, which never changes
  const version = header.type === Type.HELLO ? versionMax : header.version;
  return walk(datagram, version) ?? checkWhole(datagram) ?? datagram;
}

/** Who yields or asks for it has to say what it stands for. */
function checkWhole({ header, segments }: Datagram): Rejection | undefined {
  if (header.type !== Type.YIELD && header.type !== Type.YIELDED) return undefined;
  return segments.length === 1 && segments[0].count === 1 ? undefined : 'role';
}

/** Version 1 had no checksum: there, zero is none. */
function checkChecksum(header: Header, bytes: Uint8Array): Rejection | undefined {
  if (header.version === 1 && header.nonce === 0) return undefined;
  return header.nonce === checksum(bytes) ? undefined : 'crc';
}

function walk(datagram: Datagram, version: number): Rejection | undefined {
  const { bytes, view, header } = datagram;
  for (let at = HEADER_SIZE; at < bytes.byteLength; ) {
    if (bytes.byteLength - at < SEGMENT_SIZE) return 'segment';
    const type = bytes[at];
    const count = bytes[at + 1];
    const octets = view.getUint16(at + 2, true);
    at += SEGMENT_SIZE;
    if (octets > bytes.byteLength - at) return 'segment';
    const reader = READERS[type];
    if (reader === undefined || reader.since > version) {
      datagram.unknown++;
    } else {
      const { size, check } = reader;
      if (octets !== count * size) return 'segment';
      if ((reader.within & (1 << header.type)) === 0) return 'segment_place';
      for (let item = 0; check && item < count; item++) {
        const fault = check(datagram, at + item * size);
        if (fault) return fault;
      }
      datagram.segments.push({ type, count, at, size });
    }
    at += octets;
  }
  return undefined;
}

/** The NodeName that a HELLO says, or undefined. */
export function nameIn({ segments, bytes }: Datagram): string | undefined {
  for (const { type, at, count } of segments) {
    if (type === Segment.NAME) return String.fromCharCode(...bytes.subarray(at, at + count));
  }
  return undefined;
}
