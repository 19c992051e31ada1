/**
 * A multicast group: one datagram reaches all nodes. It never leaves the link, and what the group is
 * sent on other interfaces of this host is not heard.
 */
import { AF_INET } from '../../kernel/endpoint.js';
import { DatagramPath, type Kind } from './datagrams.js';
import type { Path, Receive } from './path.js';
import type { Place } from './place.js';
import type { MulticastSettings } from './settings.js';
import { failed, linkAddress, type UdpSocket } from './socket.js';

/** Never further than the link itself. */
const HOPS = 1;

// ip(7) and ipv6(7): the names differ, the meaning does not
const OPTIONS = {
  4: { level: 0, interface: 32, hops: 33, loop: 34, join: 35, all: 49 },
  6: { level: 41, interface: 17, hops: 18, loop: 19, join: 20, all: 29 },
} as const;

/** struct ip_mreqn, or struct ipv6_mreq. */
function membership(group: string, place: Place): Buffer {
  const name = linkAddress(group, 0, place.index);
  if (name.readUInt16LE(0) !== AF_INET) {
    const request = Buffer.alloc(20);
    name.copy(request, 0, 8, 24);
    request.writeInt32LE(place.index, 16);
    return request;
  }
  const request = Buffer.alloc(12);
  name.copy(request, 0, 4, 8);
  linkAddress(place.address, 0, place.index).copy(request, 4, 4, 8);
  request.writeInt32LE(place.index, 8);
  return request;
}

const kind: Kind<MulticastSettings> = {
  listen(socket, { family, group, port, interface: device }, place) {
    const { level, all, join } = OPTIONS[family];
    // bound to the group: what is sent to this port at another address is not for us
    socket.shared().bind(group, port, place.index);
    socket.option(level, all, 0); // nor what others of this host have joined elsewhere
    const error = socket.option(level, join, membership(group, place));
    if (error) throw failed('GROUP', `group ${group} cannot be joined on ${device}`, error);
  },

  speak(socket: UdpSocket, { family }, place) {
    const { level, interface: device, hops, loop } = OPTIONS[family];
    const here = family === 4 ? membership('0.0.0.0', place) : place.index;
    socket.option(level, device, here);
    socket.option(level, hops, HOPS);
    socket.option(level, loop, 0);
  },

  destinations: ({ group }) => [group],
};

export function multicastPath(settings: MulticastSettings, receive: Receive): Path {
  return new DatagramPath(kind, settings, receive);
}
