// SPDX-License-Identifier: MIT
/**
 * TCP options (RFC 9293 section 3.2) as a list: each a kind and its data, in their order, so that what
 * is not touched is written as it was read. Behind END nothing is an option.
 */

export const OptionKind = { END: 0, NOP: 1, SACK_PERMITTED: 4, SACK: 5, TIMESTAMP: 8 } as const;
const TIMESTAMP_LENGTH = 10;
/** Four blocks are the most that fit into 40 octets (RFC 2018 section 3). */
const SACK_EDGES_MAX = 8;

export interface TcpOption {
  kind: number;
  /** The option as it stands in the header, with its kind and length. */
  bytes: Buffer;
}

/** Undefined when an option has no length, one below 2, or one that runs past the header. */
export function readOptions(area: Buffer): TcpOption[] | undefined {
  const options: TcpOption[] = [];
  for (let at = 0; at < area.length; ) {
    const kind = area[at];
    let end = at + 1;
    if (kind === OptionKind.END) end = area.length;
    else if (kind !== OptionKind.NOP) {
      if (at + 1 >= area.length || area[at + 1] < 2) return undefined;
      end = at + area[at + 1];
    }
    if (end > area.length) return undefined;
    options.push({ kind, bytes: Buffer.from(area.subarray(at, end)) });
    at = end;
  }
  return options;
}

export function writeOptions(options: TcpOption[]): Buffer {
  return Buffer.concat(options.map(({ bytes }) => bytes));
}

/** Takes the place of an option that is to go: as many NOPs as it had octets. */
export function blanked({ bytes }: TcpOption): TcpOption {
  return { kind: OptionKind.NOP, bytes: Buffer.alloc(bytes.length, OptionKind.NOP) };
}

/** An option of another length than RFC 7323 gives it is none that anybody would read. */
export function isTimestamp({ kind, bytes }: TcpOption): boolean {
  return kind === OptionKind.TIMESTAMP && bytes.length === TIMESTAMP_LENGTH;
}

export function timestamp(option: TcpOption): { value: number; echo: number } {
  return { value: option.bytes.readUInt32BE(2), echo: option.bytes.readUInt32BE(6) };
}

export function withTimestamp(option: TcpOption, value: number, echo: number): TcpOption {
  const bytes = Buffer.from(option.bytes);
  bytes.writeUInt32BE(value, 2);
  bytes.writeUInt32BE(echo, 6);
  return { kind: option.kind, bytes };
}

/** Every whole edge of a SACK option by `move`; of a length that RFC 2018 does not know, too. */
export function withEdges(option: TcpOption, move: (edge: number) => number): TcpOption {
  const bytes = Buffer.from(option.bytes);
  const edges = Math.min(SACK_EDGES_MAX, Math.floor((bytes.length - 2) / 4));
  for (let i = 0; i < edges; i++) {
    bytes.writeUInt32BE(move(bytes.readUInt32BE(2 + 4 * i)), 2 + 4 * i);
  }
  return { kind: option.kind, bytes };
}
