/**
 * What a configuration says of the links between the nodes: one LinkSettings for each `Multicast`,
 * `UDP` or `TCP`, in the order of the file. docs/links.md says which one is for what.
 */

interface Common {
  /** The one that is used while it is good. At most one; else the first. */
  readonly preferred: boolean;
  /** 4, 6: all addresses of the link are of this family, as text, without a zone. */
  readonly family: 4 | 6;
  readonly port: number;
  /** Octets; undefined: the system's default. More than net.core.*mem_max is taken where root may. */
  readonly sendBuffer: number | undefined;
  readonly receiveBuffer: number | undefined;
}

/** One datagram reaches all nodes of the group. */
export interface MulticastSettings extends Common {
  readonly kind: 'multicast';
  readonly group: string;
  readonly interface: string;
  /** Address of the interface that datagrams are sent from; undefined: the interface's first. */
  readonly local: string | undefined;
}

/** One datagram for each of the peers, and from none but them. */
interface Unicast extends Common {
  /** Address of this node. */
  readonly local: string;
  /** Addresses of the others, at least one; they listen on the same port. */
  readonly peers: readonly string[];
  /** Undefined: the one that has the local address. Link-local addresses (fe80::) need it. */
  readonly interface: string | undefined;
}

export interface UdpSettings extends Unicast {
  readonly kind: 'udp';
}

/** A stream to each of the peers, and from none but them. */
export interface TcpSettings extends Unicast {
  readonly kind: 'tcp';
}

export type LinkSettings = MulticastSettings | UdpSettings | TcpSettings;
