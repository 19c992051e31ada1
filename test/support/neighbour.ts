// SPDX-License-Identifier: MIT
/** Frames by which neighbours find each other: ARP (RFC 826) and neighbour discovery (RFC 4861). */
import { parseAddress } from '../../kernel/record/record.js';
import { checksum } from './packet.js';

const ETHERNET_BROADCAST = 'ff:ff:ff:ff:ff:ff';

export interface Arp {
  operation: 'request' | 'reply';
  /** IPv4 addresses. */
  sender: string;
  target: string;
  /** Ethernet addresses; the destination's default is broadcast. */
  from: string;
  to?: string;
  /** Of the target; default: the destination's in a reply, nobody's in a request. */
  hardware?: string;
}

export function arpFrame({ operation, sender, target, from, to, ...rest }: Arp): Buffer {
  const head = Buffer.from('0806' + '0001' + '0800' + '0604', 'hex');
  const code = Buffer.from([0, operation === 'request' ? 1 : 2]);
  const asked = operation === 'request' ? '000000000000' : (to ?? ETHERNET_BROADCAST);
  const hardware = mac(rest.hardware ?? asked);
  return Buffer.concat([
    ...[mac(to ?? ETHERNET_BROADCAST), mac(from), head, code],
    ...[mac(from), address(sender).subarray(12), hardware, address(target).subarray(12)],
  ]);
}

export interface Discovery {
  type: 'solicitation' | 'advertisement';
  target: string;
  /** IPv6 addresses of the packet. From `::`, it does not say the link-layer address either. */
  source: string;
  destination: string;
  /** Ethernet addresses. */
  from: string;
  to: string;
  /** Of an advertisement: router 0x80, solicited 0x40, override 0x20, which is the default. */
  flags?: number;
}

export function discoveryFrame(d: Discovery): Buffer {
  const solicits = d.type === 'solicitation';
  const flags = solicits ? 0 : (d.flags ?? 0x20);
  const message = Buffer.concat([
    Buffer.from([solicits ? 135 : 136, 0, 0, 0, flags, 0, 0, 0]),
    address(d.target),
    ...(d.source === '::' ? [] : [Buffer.from([solicits ? 1 : 2, 1]), mac(d.from)]),
  ]);
  return icmpv6Frame(d, message);
}

export function icmpv6Frame(
  ends: Pick<Discovery, 'source' | 'destination' | 'from' | 'to'>,
  message: Buffer,
): Buffer {
  const head = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255]);
  const addresses = Buffer.concat([address(ends.source), address(ends.destination)]);
  const pseudo = Buffer.concat([addresses, Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58])]);
  const said = Buffer.from(message);
  said.writeUInt16BE(0, 2);
  said.writeUInt16BE(checksum(pseudo, said), 2);
  const type = Buffer.from('86dd', 'hex');
  return Buffer.concat([mac(ends.to), mac(ends.from), type, head, addresses, said]);
}

/** Sixteen octets; IPv4 mapped. */
function address(text: string): Buffer {
  const bytes = Buffer.alloc(16);
  parseAddress(text, bytes);
  return bytes;
}

function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}
