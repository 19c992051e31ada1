/** Sends probes (probe-segment.ts) from raw sockets; the datapath lets them pass by their mark. */
import { AF_INET, AF_INET6, type Family, familyOf, socketAddress } from './endpoint.js';
import { callFailed, errnoName } from './error.js';
import { errno, libc } from './native.js';
import { probeSegment } from './probe-segment.js';
import type { Leg, RecordView } from './record/record.js';

const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** The caller writes the IP header (raw(7)); nothing is ever received. */
const IPPROTO_RAW = 255;
const SOL_SOCKET = 1;
const SO_MARK = 36;

/**
 * One socket for each of this node's addresses, bound to it, so that routes which go by the source
 * address hold for probes too.
 */
export class ProbeSender {
  readonly #mark: number;
  readonly #sockets = new Map<string, number>();

  /** @param mark skb mark of translated packets */
  constructor(mark: number) {
    this.#mark = mark;
  }

  /**
   * Ask the far end of a leg. One that cannot be sent (no route, no such address here) is as good as
   * unanswered.
   * @returns the system's name of the error, as EHOSTUNREACH; undefined when it was sent
   */
  send(record: RecordView, leg: Leg, round: number): string | undefined {
    const tuple = record.tuple(leg);
    const family = familyOf(tuple.source);
    const fd = this.#socket(family, tuple.destination);
    if (typeof fd === 'string') return fd;
    const packet = probeSegment(record, leg, round);
    const to = socketAddress({ address: tuple.source, port: 0 });
    const sent = Number(libc.sendto(fd, packet, packet.length, 0, to, to.length));
    return sent < 0 ? errnoName(errno()) : undefined;
  }

  #socket(family: Family, address: string): number | string {
    const known = this.#sockets.get(address);
    if (known !== undefined) return known;
    const domain = family === 4 ? AF_INET : AF_INET6;
    const fd: number = libc.socket(domain, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
    if (fd < 0) throw callFailed('opening a raw socket', errno());
    const mark = Buffer.alloc(4);
    mark.writeUInt32LE(this.#mark);
    const own = socketAddress({ address, port: 0 });
    if (
      libc.setsockopt(fd, SOL_SOCKET, SO_MARK, mark, mark.length) ||
      libc.bind(fd, own, own.length)
    ) {
      const error = errnoName(errno());
      libc.close(fd);
      return error;
    }
    this.#sockets.set(address, fd);
    return fd;
  }

  /** Let go of the sockets; the next probe opens what it needs. */
  close(): void {
    for (const fd of this.#sockets.values()) libc.close(fd);
    this.#sockets.clear();
  }
}
