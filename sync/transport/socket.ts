/**
 * A UDP socket below node:dgram: sending fails or succeeds at once, many datagrams are received by
 * one call and none is copied, buffers may be larger than net.core.*mem_max.
 */
import { AF_INET, AF_INET6, endpointText, socketAddress } from '../../kernel/endpoint.js';
import { errnoName } from '../../kernel/error.js';
import { errno, libc, type Watch, watchFd } from '../../kernel/native.js';
import { Errno, setInteger } from '../../kernel/socket.js';
import { SyncError, type SyncErrorCode } from '../error.js';
import { type Batch, receiveBatch } from './batch.js';

const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_MEMINFO = 55;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPPROTO_UDP = 17;
const UDP_SEGMENT = 103;
const MSG_DONTWAIT = 0x40;
/** Within struct sockaddr_in6: the interface of a link-local address. */
const SCOPE_ID = 24;

/** SO_SNDBUF and SO_RCVBUF of socket(7), and those that root may use beyond the system's limit. */
const BUFFER = { send: { plain: 7, force: 32 }, receive: { plain: 8, force: 33 } } as const;

/** SO_MEMINFO: u32 each (include/uapi/linux/sock_diag.h). */
const MEMINFO = { receiveBuffer: 1, sendBuffer: 3, drops: 8, count: 9 } as const;

export interface Memory {
  readonly receiveBuffer: number;
  readonly sendBuffer: number;
  /** Datagrams that came and found the receive buffer full. */
  readonly drops: number;
}

/** Address and port; for addresses of a link (fe80::, ff02::) with its interface. */
export function linkAddress(address: string, port: number, index: number): Buffer {
  const name = socketAddress({ address, port });
  const ofLink = /^(fe[89ab]|ff.2:)/.test(address);
  if (name.readUInt16LE(0) === AF_INET6 && ofLink) name.writeUInt32LE(index, SCOPE_ID);
  return name;
}

export class UdpSocket {
  readonly #fd: number;
  #watch: Watch | undefined;
  #segment = 0;

  /** @throws SyncError SOCKET */
  constructor(family: 4 | 6) {
    const type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    this.#fd = libc.socket(family === 4 ? AF_INET : AF_INET6, type, 0);
    if (this.#fd < 0) throw failed('SOCKET', 'a socket cannot be opened', errno());
    if (family === 6) setInteger(this.#fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  }

  /** Others may use the port too: each group has a socket of its own. */
  shared(): this {
    setInteger(this.#fd, SOL_SOCKET, SO_REUSEADDR, 1);
    return this;
  }

  /** @throws SyncError SOCKET */
  bind(address: string, port: number, index: number): this {
    const name = linkAddress(address, port, index);
    if (libc.bind(this.#fd, name, name.length) === 0) return this;
    throw failed('SOCKET', `${endpointText({ address, port })} cannot be bound`, errno());
  }

  /** @throws SyncError SOCKET */
  connect(address: string, port: number, index: number): this {
    const name = linkAddress(address, port, index);
    if (libc.connect(this.#fd, name, name.length) === 0) return this;
    throw failed('SOCKET', `${endpointText({ address, port })} cannot be reached`, errno());
  }

  /** @returns 0 or the errno */
  option(level: number, name: number, value: number | Buffer): number {
    if (typeof value === 'number') return setInteger(this.#fd, level, name, value);
    return libc.setsockopt(this.#fd, level, name, value, value.length) === 0 ? 0 : errno();
  }

  buffer(which: 'send' | 'receive', octets: number): this {
    setBuffer(this.#fd, which, octets);
    return this;
  }

  /**
   * What is sent next is to be cut into datagrams of so many octets; or, when it is one, so large, is
   * not to be cut. @returns 0 or the errno
   */
  segments(octets: number, cut: boolean): number {
    if (cut ? octets === this.#segment : this.#segment === 0 || octets <= this.#segment) return 0;
    const segment = cut ? octets : 0;
    const error = this.option(IPPROTO_UDP, UDP_SEGMENT, segment);
    if (error === 0) this.#segment = segment;
    return error;
  }

  /** To whom it is connected. @returns 0 or the errno */
  send(datagram: Uint8Array): number {
    const sent = libc.sendto(this.#fd, datagram, datagram.length, MSG_DONTWAIT, null, 0);
    return Number(sent) < 0 ? errno() : 0;
  }

  /** `take` is called with what has come, again and again; it must not keep the batch. */
  receive(take: (batch: Batch) => void, fault: (errno: number) => void): void {
    this.#watch = watchFd(this.#fd, 'readable', () => {
      const batch = receiveBatch(this.#fd);
      if (batch.count > 0) take(batch);
      else if (batch.errno !== Errno.EAGAIN) fault(batch.errno);
    });
  }

  memory(): Memory {
    const info = Buffer.alloc(4 * MEMINFO.count);
    libc.getsockopt(this.#fd, SOL_SOCKET, SO_MEMINFO, info, [info.length]);
    return {
      receiveBuffer: info.readUInt32LE(4 * MEMINFO.receiveBuffer),
      sendBuffer: info.readUInt32LE(4 * MEMINFO.sendBuffer),
      drops: info.readUInt32LE(4 * MEMINFO.drops),
    };
  }

  close(): void {
    this.#watch?.close();
    libc.close(this.#fd);
  }
}

/** As large as asked for where root may, else as large as the system allows. */
export function setBuffer(fd: number, which: 'send' | 'receive', octets: number): void {
  const { plain, force } = BUFFER[which];
  if (setInteger(fd, SOL_SOCKET, force, octets)) setInteger(fd, SOL_SOCKET, plain, octets);
}

export function failed(code: SyncErrorCode, what: string, error: number): SyncError {
  return new SyncError(code, `${what}: ${errnoName(error)}`);
}
