// TCP connections of this network namespace that live in user space, by sock_diag(7).
import { createNetlink, type NetlinkSocket } from 'netlink';
import { plainAddress } from '../kernel/endpoint.js';
import { formatAddress } from '../kernel/record/record.js';

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_DUMP = 0x300;
const FAMILIES = { ipv4: 2, ipv6: 10 } as const;
const IPPROTO_TCP = 6;
/** struct inet_diag_req_v2: family, protocol, extensions, pad, states, socket id. */
const REQUEST_SIZE = 56;
/** Of struct inet_diag_msg: the local address stands behind family, state, timer, retrans and ports. */
const SOURCE = 8;
// include/net/tcp_states.h: in these no byte can be lost any more, or none is there yet
const QUIET = [6 /* TIME_WAIT */, 7 /* CLOSE */, 10 /* LISTEN */];
const ALL_STATES = 0x1fff;
const STATES = QUIET.reduce((states, state) => states & ~(1 << state), ALL_STATES);
const TIMEOUT_MS = 2000;

async function dump(socket: NetlinkSocket, family: number): Promise<Buffer[]> {
  const request = Buffer.alloc(REQUEST_SIZE);
  request[0] = family;
  request[1] = IPPROTO_TCP;
  request.writeUInt32LE(STATES, 4);
  const options = { flags: NLM_F_DUMP, timeout: TIMEOUT_MS };
  const [messages] = await socket.request(SOCK_DIAG_BY_FAMILY, request, options);
  return messages.map(({ data }) => data);
}

/**
 * How many TCP sockets have one of the addresses as their local end: connections that would end with
 * the address.
 */
export async function socketsOn(addresses: readonly string[]): Promise<number> {
  const wanted = new Set(addresses.map(plainAddress));
  const socket = createNetlink(NETLINK_SOCK_DIAG);
  try {
    let count = 0;
    for (const message of await dump(socket, FAMILIES.ipv4)) {
      if (wanted.has([...message.subarray(SOURCE, SOURCE + 4)].join('.'))) count++;
    }
    for (const message of await dump(socket, FAMILIES.ipv6)) {
      if (wanted.has(formatAddress(message, SOURCE))) count++;
    }
    return count;
  } finally {
    socket.close();
  }
}
