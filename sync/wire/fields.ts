/** Unsigned integers in a datagram: little-endian, as the records are. */

/** A sequence fits into a double as an integer: 2^53 datagrams. */
const SAFE_HIGH = 0x1fffff;

export interface Field {
  readonly at: number;
  read(view: DataView, at: number): number;
  write(view: DataView, at: number, value: number): void;
}

export const u8 = (at: number): Field => ({
  at,
  read: (view, at) => view.getUint8(at),
  write: (view, at, value) => view.setUint8(at, value),
});
export const u16 = (at: number): Field => ({
  at,
  read: (view, at) => view.getUint16(at, true),
  write: (view, at, value) => view.setUint16(at, value, true),
});
export const u32 = (at: number): Field => ({
  at,
  read: (view, at) => view.getUint32(at, true),
  write: (view, at, value) => view.setUint32(at, value, true),
});
export const u64 = (at: number): Field => ({ at, read: readU64, write: writeU64 });

/** NaN when the number is above 2^53. */
export function readU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  return high > SAFE_HIGH ? Number.NaN : high * 0x100000000 + view.getUint32(at, true);
}

export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 0x100000000), true);
}
