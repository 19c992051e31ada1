// SPDX-License-Identifier: MIT
/**
 * Options of a SYN that the other leg cannot have are taken out of it before anybody answers: of a
 * client's on its way in, or of the proxy's own on its way out. So both legs agree.
 */
import { Option } from '../../../kernel/record/layout.js';
import { blanked, isTimestamp, OptionKind, readOptions, writeOptions } from './options.js';
import type { Packet } from './packet.js';

export const isSyn = ({ tcp: { flags } }: Packet): boolean => flags.syn && !flags.ack;

/** @param options bits of Option, those of leg 0 */
export function aligned(packet: Packet, options: number): Packet {
  const { tcp } = packet;
  const read = readOptions(tcp.options)?.map((option) => {
    const isSack = option.kind === OptionKind.SACK_PERMITTED && option.bytes.length === 2;
    const goes =
      (options & Option.SACK0 && isSack) || (options & Option.TS0 && isTimestamp(option));
    return goes ? blanked(option) : option;
  });
  const { flags, reserved } = tcp;
  const noEcn = { flags: { ...flags, ece: false, cwr: false }, reserved: reserved & ~1 };
  return {
    ...packet,
    tcp: {
      ...tcp,
      options: read ? writeOptions(read) : tcp.options,
      ...(options & Option.ECN0 ? noEcn : {}),
    },
  };
}
