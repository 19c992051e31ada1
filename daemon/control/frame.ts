// Frames of the control socket, both ways:
//
//    0                   4       5
//   +-------------------+-------+----------------------+
//   | length, u32 LE    | kind  | length bytes         |
//   +-------------------+-------+----------------------+
//
// kind 1: one JSON object in UTF-8; kind 2: splice records, n * 152 bytes as record.h lays them out;
// kind 3: records with counters, n * 184 bytes (kernel/record/counted.ts).
import { COUNTED_SIZE } from '../../kernel/record/counted.js';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import { ControlError } from './error.js';

export const FRAME_HEADER_SIZE = 5;
export const FRAME_PAYLOAD_MAX = 1 << 20; // bytes
export const KIND_JSON = 1;
export const KIND_RECORDS = 2;
export const KIND_COUNTED = 3;
export type RecordsKind = typeof KIND_RECORDS | typeof KIND_COUNTED;
export type FrameKind = typeof KIND_JSON | RecordsKind;

/** Bytes of one record in a frame of a kind. */
export const RECORD_SIZES: Readonly<Record<RecordsKind, number>> = {
  [KIND_RECORDS]: RECORD_SIZE,
  [KIND_COUNTED]: COUNTED_SIZE,
};

export interface Frame {
  readonly kind: FrameKind;
  /** A view that is good until the reader's next push. */
  readonly payload: Uint8Array;
}

export type JsonObject = { readonly [key: string]: unknown };

/** The header of a frame whose payload the caller writes after it, uncopied. */
export function frameHeader(kind: FrameKind, length: number): Buffer {
  if (length > FRAME_PAYLOAD_MAX) {
    throw new ControlError('bad_frame', `a frame of ${length} bytes is over its bound`);
  }
  const header = Buffer.allocUnsafe(FRAME_HEADER_SIZE);
  header.writeUInt32LE(length, 0);
  header[4] = kind;
  return header;
}

export function jsonFrame(object: JsonObject): Buffer {
  const payload = Buffer.from(JSON.stringify(object), 'utf8');
  return Buffer.concat([frameHeader(KIND_JSON, payload.length), payload]);
}

/** Throws bad_json for what is not one JSON object in clean UTF-8. */
export function parseJson(payload: Uint8Array): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch {
    throw new ControlError('bad_json', 'the frame holds no valid JSON: expected one JSON object');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ControlError('bad_json', 'the frame holds other JSON: expected one JSON object');
  }
  return value as JsonObject;
}

/**
 * Cuts a byte stream into frames. Holds one frame at most, and throws bad_frame as soon as a header
 * is wrong, before anything is set aside for its payload.
 */
export class FrameReader {
  private parts: Buffer[] = [];
  private have = 0; // bytes in parts
  private need = FRAME_HEADER_SIZE; // bytes without which there is nothing to cut

  constructor(private readonly payloadMax = FRAME_PAYLOAD_MAX) {}

  /** Bytes of a frame that is not whole yet. */
  get pending(): number {
    return this.have;
  }

  *push(chunk: Uint8Array): Generator<Frame> {
    this.hold(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
    if (this.have < this.need) return;
    // Joined only when a frame may come of it, so that a slow trickle of bytes costs no copies.
    const bytes = this.parts.length === 1 ? (this.parts[0] as Buffer) : Buffer.concat(this.parts);
    this.parts = [];
    this.have = 0;
    this.need = FRAME_HEADER_SIZE;
    let offset = 0;
    while (bytes.length - offset >= FRAME_HEADER_SIZE) {
      const length = bytes.readUInt32LE(offset);
      const kind = checkHeader(length, bytes[offset + 4] as number, this.payloadMax);
      const begin = offset + FRAME_HEADER_SIZE;
      if (bytes.length - begin < length) {
        this.need = FRAME_HEADER_SIZE + length;
        break;
      }
      offset = begin + length;
      yield { kind, payload: bytes.subarray(begin, offset) };
    }
    // A copy, so that a small rest does not keep a large chunk alive.
    if (offset < bytes.length) this.hold(Buffer.from(bytes.subarray(offset)));
  }

  private hold(bytes: Buffer): void {
    this.parts.push(bytes);
    this.have += bytes.length;
  }
}

function checkHeader(length: number, kind: number, payloadMax: number): FrameKind {
  if (kind !== KIND_JSON && kind !== KIND_RECORDS && kind !== KIND_COUNTED) {
    throw new ControlError(
      'bad_frame',
      `frame kind ${kind} is unknown: expected 1, 2 or 3, is this a client of the control socket?`,
    );
  }
  if (length > payloadMax) {
    throw new ControlError(
      'bad_frame',
      `a frame of ${length} bytes is too large: expected at most ${payloadMax}`,
    );
  }
  if (kind !== KIND_JSON && length % RECORD_SIZES[kind] !== 0) {
    throw new ControlError(
      'bad_frame',
      `${length} bytes are no whole records: expected a multiple of ${RECORD_SIZES[kind]}`,
    );
  }
  return kind;
}
