/** From octets to a datagram: a value or a named rejection, and no step past the end. */
import { checkHeader, HEADER_FIELDS, HEADER_SIZE, type Header } from './header.js';
import type { Rejection } from './rejections.js';
import { RULES, SEGMENT_SIZE } from './segments.js';

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
  readonly segments: readonly SegmentView[];
  /** Segments of a type that this version does not know: skipped. */
  readonly unknown: number;
}

/** The datagram, sound from end to end, or why not. */
export function parse(bytes: Uint8Array): Datagram | Rejection {
  if (bytes.byteLength < HEADER_SIZE) return 'short';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = {} as Header;
  for (const [name, field] of HEADER_FIELDS) header[name] = field.read(view, field.at);
  const wrong = checkHeader(header, bytes.byteLength);
  if (wrong) return wrong;

  const segments: SegmentView[] = [];
  let unknown = 0;
  for (let at = HEADER_SIZE; at < bytes.byteLength; ) {
    if (bytes.byteLength - at < SEGMENT_SIZE) return 'segment';
    const type = bytes[at];
    const count = bytes[at + 1];
    const octets = view.getUint16(at + 2, true);
    at += SEGMENT_SIZE;
    if (octets > bytes.byteLength - at) return 'segment';
    const rule = RULES[type];
    if (rule === undefined) {
      unknown++;
    } else {
      if (octets !== count * rule.size) return 'segment';
      if (!rule.within.includes(header.type)) return 'segment_place';
      for (let item = 0; rule.check && item < count; item++) {
        const fault = rule.check(header, bytes, view, at + item * rule.size);
        if (fault) return fault as Rejection;
      }
      segments.push({ type, count, at, size: rule.size });
    }
    at += octets;
  }
  return { header, bytes, view, segments, unknown };
}
