/** What a datagram says that a judge has to remember. */
import type { Field } from '../../../sync/wire/fields.js';
import { HEADER } from '../../../sync/wire/header.js';
import {
  GONE_EPOCH,
  GONE_OWNER,
  parse,
  type Rejection,
  Segment,
  type SegmentView,
  Type,
} from '../../../sync/wire.js';
import { type Claim, keyAt } from './splice.js';

export interface Said {
  readonly data: boolean;
  readonly incarnation: number;
  readonly sequence: number;
  readonly epoch: number;
  /** Splices that it says have ended, and under which claims. */
  readonly ends: readonly { readonly key: number; readonly claim: Claim }[];
}

const NOTHING: Said['ends'] = [];

/** Or why the engine would not take what it has sent. */
export function read(datagram: Uint8Array, versionMax: number): Said | Rejection {
  if (datagram[HEADER.type.at] !== Type.DATA) return { ...heading(datagram), ends: NOTHING };
  const parsed = parse(datagram, { versionMax, checksums: false });
  if (typeof parsed === 'string') return parsed;
  return { ...heading(datagram), ends: endsOf(parsed.segments, parsed.view) };
}

function heading(datagram: Uint8Array): Omit<Said, 'ends'> {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const field = ({ at, read }: Field) => read(view, at);
  return {
    data: field(HEADER.type) === Type.DATA,
    incarnation: field(HEADER.incarnation),
    sequence: field(HEADER.sequence),
    epoch: field(HEADER.epoch),
  };
}

function endsOf(segments: readonly SegmentView[], view: DataView): Said['ends'] {
  const ends: { key: number; claim: Claim }[] = [];
  for (const { type, at, count, size } of segments) {
    if (type !== Segment.GONE) continue;
    for (let item = at; item < at + count * size; item += size) {
      const epoch = view.getUint32(item + GONE_EPOCH, true);
      const owner = view.getUint32(item + GONE_OWNER, true);
      if (epoch > 0) ends.push({ key: keyAt(view, item), claim: { epoch, owner } });
    }
  }
  return ends;
}
