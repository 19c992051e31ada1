/**
 * Whole IP packets on their way out of one raw socket (raw(7)), as many as fit by one sendmmsg(2). They are
 * written into memory that is laid out once.
 */
import { AF_INET, AF_INET6, type Family, socketAddress } from './endpoint.js';
import { callFailed, errnoName } from './error.js';
import { errno, libc, memory } from './native.js';
import { PROBE_MAX } from './probe-segment.js';
import { UNREACHABLE_MAX } from './unreachable.js';

const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** The caller writes the IP header; nothing is ever received. */
const IPPROTO_RAW = 255;
const SOL_SOCKET = 1;
const SO_MARK = 36;

const PACKETS = 64;
const ROOM = Math.max(PROBE_MAX, UNREACHABLE_MAX);
// struct mmsghdr and struct iovec of 64-bit Linux, struct sockaddr_in6 with struct sockaddr_in within it
const HEADER = { size: 64, name: 0, nameLength: 8, vector: 16, vectors: 24 };
const VECTOR_SIZE = 16;
const NAME_ROOM = 32;
const NAME = { 4: { size: 16, address: 4 }, 6: { size: 28, address: 8 } } as const;
const VECTORS_AT = PACKETS * HEADER.size;
const NAMES_AT = VECTORS_AT + PACKETS * VECTOR_SIZE;
const ROOMS_AT = NAMES_AT + PACKETS * NAME_ROOM;
const SIZE = ROOMS_AT + PACKETS * ROOM;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

export class RawPackets {
  readonly #fd: number;
  readonly #family: Family;
  readonly #pointer: bigint;
  readonly #view: DataView;
  readonly #bytes: Buffer;
  #count = 0;

  /**
   * @param own address of this node that they are sent from: routes may go by it
   * @param mark skb mark
   * @throws KernelError SYSTEM_CALL
   */
  constructor(own: string, family: Family, mark: number) {
    this.#family = family;
    const domain = family === 4 ? AF_INET : AF_INET6;
    this.#fd = libc.socket(domain, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
    if (this.#fd < 0) throw callFailed('opening a raw socket', errno());
    const value = Buffer.alloc(4);
    value.writeUInt32LE(mark);
    const name = socketAddress({ address: own, port: 0 });
    if (
      libc.setsockopt(this.#fd, SOL_SOCKET, SO_MARK, value, value.length) ||
      libc.bind(this.#fd, name, name.length)
    ) {
      const error = callFailed(`binding a raw socket to ${own}`, errno());
      libc.close(this.#fd);
      throw error;
    }
    this.#pointer = BigInt(libc.mmap(null, SIZE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0));
    const shared = memory(this.#pointer, SIZE);
    this.#view = new DataView(shared);
    this.#bytes = Buffer.from(shared);
    for (let i = 0; i < PACKETS; i++) this.#lay(i);
  }

  #lay(i: number): void {
    const header = i * HEADER.size;
    const vector = VECTORS_AT + i * VECTOR_SIZE;
    const name = NAMES_AT + i * NAME_ROOM;
    const pointTo = (at: number, target: number): void =>
      this.#view.setBigUint64(at, this.#pointer + BigInt(target), true);
    pointTo(header + HEADER.name, name);
    pointTo(header + HEADER.vector, vector);
    pointTo(vector, ROOMS_AT + i * ROOM);
    this.#view.setBigUint64(header + HEADER.vectors, 1n, true);
    this.#view.setUint32(header + HEADER.nameLength, NAME[this.#family].size, true);
    this.#view.setUint16(name, this.#family === 4 ? AF_INET : AF_INET6, true);
  }

  /** No other packet finds room before send(). */
  get full(): boolean {
    return this.#count === PACKETS;
  }

  /**
   * One more packet; there must be room.
   * @param tuple its first octets are the address that it goes to, of 16 octets
   * @param write puts it down at an offset, and returns its length
   */
  put(
    tuple: { bytes: Uint8Array; offset: number },
    write: (into: Buffer, at: number) => number,
  ): void {
    const i = this.#count++;
    const to = NAMES_AT + i * NAME_ROOM + NAME[this.#family].address;
    const skip = this.#family === 4 ? 12 : 0;
    for (let octet = skip; octet < 16; octet++) {
      this.#bytes[to + octet - skip] = tuple.bytes[tuple.offset + octet];
    }
    const length = write(this.#bytes, ROOMS_AT + i * ROOM);
    this.#view.setUint32(VECTORS_AT + i * VECTOR_SIZE + 8, length, true);
  }

  /**
   * Let them go. One that cannot be sent (no route, no room) is as good as lost.
   * @returns how many could not, and the system's name of the last error
   */
  send(): { unsent: number; error?: string } {
    let error: string | undefined;
    let unsent = 0;
    for (let at = 0; at < this.#count; ) {
      const messages = this.#pointer + BigInt(at * HEADER.size);
      const sent: number = libc.sendmmsg(this.#fd, messages, this.#count - at, 0);
      if (sent <= 0) {
        error = errnoName(errno());
        unsent++;
      }
      at += Math.max(1, sent);
    }
    this.#count = 0;
    return error === undefined ? { unsent } : { unsent, error };
  }

  close(): void {
    libc.close(this.#fd);
    libc.munmap(this.#pointer, SIZE);
  }
}
