/**
 * The link as an IPv4 multicast group over UDP. It reorders and loses as UDP does; what is received
 * while nobody reads overflows in the kernel, which tells nobody (only /proc/net/udp counts it): the
 * sequence numbers of the datagrams tell.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { SyncError } from '../error.js';
import type { Link, LinkStats } from '../ports.js';

/** Fits an Ethernet frame of 1500 octets with room for a tunnel's header. */
const MTU = 1400;
/** Datagrams handed to the kernel and not yet taken by it. */
const PENDING_MAX = 1024;
/** Never further than the link itself. */
const TTL = 1;

export interface MulticastOptions {
  /** The group's address. */
  address: string;
  port: number;
  /** Name of the interface that the link is on. */
  interface: string;
  /** Its address; looked up when undefined. */
  interfaceAddress: string | undefined;
  /** Octets; the system's default when undefined. The kernel caps them (net.core.wmem_max, rmem_max). */
  sendBuffer: number | undefined;
  receiveBuffer: number | undefined;
  receive: (datagram: Uint8Array) => void;
}

export interface MulticastLink extends Link {
  close(): void;
}

function addressOf({ interface: name, interfaceAddress }: MulticastOptions): string {
  const here = networkInterfaces()[name]?.filter((a) => a.family === 'IPv4') ?? [];
  if (interfaceAddress === undefined && here.length > 0) return here[0].address;
  if (here.some((a) => a.address === interfaceAddress)) return interfaceAddress as string;
  throw new SyncError(
    'INTERFACE',
    interfaceAddress === undefined
      ? `interface ${name} is down, missing, or has no IPv4 address; the link needs one (Interface)`
      : `interface ${name} has no address ${interfaceAddress}; change IPv4_interface or Interface`,
  );
}

async function openSocket(options: MulticastOptions): Promise<Socket> {
  const local = addressOf(options);
  const socket = createSocket({
    type: 'udp4',
    reuseAddr: true,
    // the group is an address, not a name: without this each datagram would wait for a turn
    lookup: (address, _family, callback) => callback(null, address, 4),
    ...(options.receiveBuffer !== undefined && { recvBufferSize: options.receiveBuffer }),
    ...(options.sendBuffer !== undefined && { sendBufferSize: options.sendBuffer }),
  });
  try {
    // bound to the group: what is sent to this port at another address is not for us
    const bound = once(socket, 'listening');
    socket.bind(options.port, options.address);
    await bound;
  } catch (cause) {
    socket.close();
    throw new SyncError('SOCKET', `port ${options.port} cannot be bound: ${String(cause)}`, {
      cause,
    });
  }
  try {
    socket.addMembership(options.address, local);
    socket.setMulticastInterface(local);
    socket.setMulticastTTL(TTL);
    socket.setMulticastLoopback(false);
  } catch (cause) {
    socket.close();
    throw new SyncError(
      'GROUP',
      `group ${options.address} cannot be joined on ${options.interface}: ${String(cause)}`,
      { cause },
    );
  }
  return socket;
}

/** As the kernel has granted them: it doubles what was asked for, and caps it. */
function bufferSizes(socket: Socket): LinkStats {
  return { send_buffer: socket.getSendBufferSize(), receive_buffer: socket.getRecvBufferSize() };
}

/** @throws SyncError INTERFACE, GROUP or SOCKET */
export async function openMulticast(options: MulticastOptions): Promise<MulticastLink> {
  const socket = await openSocket(options);
  let pending = 0;
  const stats = {
    datagrams_sent: 0,
    octets_sent: 0,
    datagrams_received: 0,
    octets_received: 0,
    send_errors: 0,
    queue_full: 0,
    socket_errors: 0,
  };
  let closed = false;
  socket.on('error', () => {
    stats.socket_errors++; // of a link that went down: it may come back, the modes see to what was lost
  });
  socket.on('message', (datagram) => {
    stats.datagrams_received++;
    stats.octets_received += datagram.length;
    options.receive(datagram);
  });
  return {
    mtu: MTU,
    paths: 1,
    send(datagram) {
      if (closed) return false;
      if (pending >= PENDING_MAX) {
        stats.queue_full++;
        return false;
      }
      pending++;
      const bytes = Buffer.from(datagram); // the caller will write over its own
      socket.send(bytes, options.port, options.address, (error) => {
        pending--;
        if (error) stats.send_errors++;
        else {
          stats.datagrams_sent++;
          stats.octets_sent += bytes.length;
        }
      });
      return true;
    },
    stats: (): LinkStats => ({ ...stats, pending, ...(closed ? {} : bufferSizes(socket)) }),
    close() {
      if (closed) return;
      closed = true;
      socket.close();
    },
  };
}
