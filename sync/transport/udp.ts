/** UDP to each of the other nodes, for networks that carry no multicast. */
import { socketAddress } from '../../kernel/endpoint.js';
import { DatagramPath, type Kind } from './datagrams.js';
import type { Path, Receive } from './path.js';
import type { UdpSettings } from './settings.js';

/** 4 or 16 octets. */
function octetsOf(address: string): Uint8Array {
  const name = socketAddress({ address, port: 0 });
  return name.length === 16 ? name.subarray(4, 8) : name.subarray(8, 24);
}

const kind: Kind<UdpSettings> = {
  listen: (socket, { port }, { address, index }) => void socket.bind(address, port, index),
  speak: () => undefined,
  destinations: ({ peers }) => peers,

  /** A source address is easily forged: this keeps mistakes out, a key keeps enemies out. */
  admits({ peers }) {
    const admitted = peers.map(octetsOf);
    return (batch, i) => admitted.some((address) => batch.isFrom(i, address));
  },
};

export function udpPath(settings: UdpSettings, receive: Receive): Path {
  return new DatagramPath(kind, settings, receive);
}
