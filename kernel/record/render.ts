/**
 * Records as something to read. A rendering is one small object of operations; text.ts, xml.ts and
 * json.ts hold one each, and adding one touches its file and RENDERINGS.
 */
import { COUNTED_SIZE, Counters } from './counted.js';
import type { Filter } from './filter.js';
import { json } from './json.js';
import { RECORD_SIZE } from './layout.js';
import { Page } from './page.js';
import { RecordView } from './record.js';
import type { NodeNames, Rendering } from './rendering.js';
import { text } from './text.js';
import { xml } from './xml.js';

export const RENDERINGS: Readonly<Record<'text' | 'xml' | 'json', Rendering>> = { text, xml, json };
export type RenderingName = keyof typeof RENDERINGS;

/** Records in one piece of the output: what is held at a time, some 700 bytes each. */
const PIECE_RECORDS = 256;

export interface RenderOptions {
  /** Node ids are shown where it has none. */
  readonly names?: NodeNames;
  readonly filter?: Filter | undefined;
  /** The bytes are n * COUNTED_SIZE. */
  readonly counted?: boolean;
}

/** Renders n * RECORD_SIZE bytes in UTF-8, piece by piece; head and tail are the caller's. */
export function* renderRecords(
  rendering: Rendering,
  bytes: Uint8Array,
  { names = new Map(), filter, counted = false }: RenderOptions = {},
): Generator<Uint8Array> {
  const record = new RecordView(bytes);
  const counters = counted ? new Counters(bytes) : undefined;
  const size = counted ? COUNTED_SIZE : RECORD_SIZE;
  const page = new Page();
  let held = 0;
  for (let at = 0; at + size <= bytes.length; at += size) {
    record.offset = at;
    if (counters) counters.offset = at;
    if (filter && !filter(record)) continue;
    rendering.record(page, record, names, counters);
    if (++held < PIECE_RECORDS) continue;
    yield page.take();
    held = 0;
  }
  if (held > 0) yield page.take();
}
