/**
 * Up to 64 datagrams by one recvmmsg(2), into memory that is laid out once and used by every socket
 * of the process in turn: a batch is valid until the next one is received.
 */
import { errno, libc, memory } from '../../kernel/native.js';

const DATAGRAMS = 64;
/** Room for one datagram; more than any node sends (MTU_MAX). */
const ROOM = 9216;
// struct mmsghdr and struct iovec of 64-bit Linux
const HEADER = { size: 64, name: 0, nameLength: 8, vector: 16, vectors: 24, flags: 48, length: 56 };
const VECTOR_SIZE = 16;
/** struct sockaddr_in6, and struct sockaddr_in within it. */
const NAME_ROOM = 32;
const NAME_SIZE = 28;
const NAME_ADDRESS = { 4: 4, 6: 8 } as const;

const VECTORS_AT = DATAGRAMS * HEADER.size;
const NAMES_AT = VECTORS_AT + DATAGRAMS * VECTOR_SIZE;
const ROOMS_AT = NAMES_AT + DATAGRAMS * NAME_ROOM;
const SIZE = ROOMS_AT + DATAGRAMS * ROOM;

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;

export class Batch {
  readonly #pointer: bigint;
  readonly #view: DataView;
  readonly #rooms: Uint8Array[];
  readonly #names: Uint8Array[];
  count = 0;
  /** Of the last call, when it received nothing. */
  errno = 0;

  constructor() {
    this.#pointer = BigInt(libc.mmap(null, SIZE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0));
    const bytes = memory(this.#pointer, SIZE);
    this.#view = new DataView(bytes);
    const parts = (at: number, size: number): Uint8Array[] =>
      Array.from({ length: DATAGRAMS }, (_, i) => new Uint8Array(bytes, at + i * size, size));
    this.#names = parts(NAMES_AT, NAME_ROOM);
    this.#rooms = parts(ROOMS_AT, ROOM);
    for (let i = 0; i < DATAGRAMS; i++) this.#lay(i);
  }

  #lay(i: number): void {
    const view = this.#view;
    const header = i * HEADER.size;
    const vector = VECTORS_AT + i * VECTOR_SIZE;
    const pointTo = (at: number, target: number): void =>
      view.setBigUint64(at, this.#pointer + BigInt(target), true);
    pointTo(header + HEADER.name, NAMES_AT + i * NAME_ROOM);
    pointTo(header + HEADER.vector, vector);
    view.setBigUint64(header + HEADER.vectors, 1n, true);
    pointTo(vector, ROOMS_AT + i * ROOM);
    view.setBigUint64(vector + 8, BigInt(ROOM), true);
    view.setUint32(header + HEADER.nameLength, NAME_SIZE, true);
  }

  receive(fd: number): void {
    for (let i = 0; i < this.count; i++) {
      this.#view.setUint32(i * HEADER.size + HEADER.nameLength, NAME_SIZE, true);
    }
    const got: number = libc.recvmmsg(fd, this.#pointer, DATAGRAMS, MSG_DONTWAIT, null);
    this.count = Math.max(0, got);
    this.errno = got < 0 ? errno() : 0;
  }

  /** Undefined when it was larger than any node sends. */
  datagram(i: number): Uint8Array | undefined {
    const header = i * HEADER.size;
    if (this.#view.getUint32(header + HEADER.flags, true) & MSG_TRUNC) return undefined;
    return this.#rooms[i].subarray(0, this.#view.getUint32(header + HEADER.length, true));
  }

  /** Did it come from this address, 4 or 16 octets? */
  isFrom(i: number, address: Uint8Array): boolean {
    const at = NAME_ADDRESS[address.length === 4 ? 4 : 6];
    const name = this.#names[i];
    for (let octet = 0; octet < address.length; octet++) {
      if (name[at + octet] !== address[octet]) return false;
    }
    return true;
  }
}

let batch: Batch | undefined;

/** What waits at this socket, up to 64 datagrams; the same object each time. */
export function receiveBatch(fd: number): Batch {
  batch ??= new Batch();
  batch.receive(fd);
  return batch;
}
