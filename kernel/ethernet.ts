/** Frames of Ethernet that this node says itself (packet(7)), and ARP's within them (RFC 826). */
import { libc } from './native.js';

export const AF_PACKET = 17;
export const ETH_P_ARP = 0x0806;
export const ETH_P_IPV6 = 0x86dd;
export const BROADCAST = Buffer.from('ffffffffffff', 'hex');
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

/** Six octets of "02:00:00:00:00:01". */
export function macOctets(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

/** The header of a frame. @param type EtherType, as ETH_P_ARP */
export function ethernet(to: Buffer, from: Buffer, type: number): Buffer {
  return Buffer.concat([to, from, Buffer.from([type >> 8, type & 0xff])]);
}

interface ArpEnd {
  /** Octets of its hardware and of its IPv4 address. */
  readonly mac: Buffer;
  readonly address: Buffer;
}

/** A whole frame to everybody. @param operation ARP_REQUEST or ARP_REPLY */
export function arpFrame(operation: number, sender: ArpEnd, target: ArpEnd): Buffer {
  const head = Buffer.from([0, 1, 0x08, 0x00, 6, 4, 0, operation]); // Ethernet, IPv4
  const ends = [sender.mac, sender.address, target.mac, target.address];
  return Buffer.concat([ethernet(BROADCAST, sender.mac, ETH_P_ARP), head, ...ends]);
}

/** struct sockaddr_ll: family, protocol, interface, hardware type, packet type, address. */
export function packetAddress(device: string, protocol: number, mac: Buffer): Buffer {
  const to = Buffer.alloc(20);
  to.writeUInt16LE(AF_PACKET, 0);
  to.writeUInt16BE(protocol, 2);
  to.writeUInt32LE(libc.ifNameToIndex(device), 4);
  to[11] = mac.length;
  mac.copy(to, 12);
  return to;
}
