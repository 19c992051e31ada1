// SPDX-License-Identifier: MIT
/** What arrives at an interface, TCP only, by a packet socket: packet(7). */
import { errnoName } from '../../kernel/error.js';
import { errno, libc } from '../../kernel/native.js';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const ETH_P_IP = 0x0800;
const FRAME_BYTES_MAX = 65_536;

export class Tap {
  readonly #fd: number;

  constructor(device: string) {
    this.#fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
    const address = Buffer.alloc(20); // struct sockaddr_ll
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16BE(ETH_P_IP, 2);
    address.writeUInt32LE(libc.ifNameToIndex(device), 4);
    if (this.#fd < 0 || libc.bind(this.#fd, address, address.length)) {
      throw new Error(`packet socket on ${device}: ${errnoName(errno())}`);
    }
  }

  /** The frames that have come since the last call. */
  frames(): Buffer[] {
    const found: Buffer[] = [];
    for (;;) {
      const frame = Buffer.alloc(FRAME_BYTES_MAX);
      const length = Number(libc.recv(this.#fd, frame, frame.length, 0));
      if (length < 0) return found;
      if (frame[23] === 6) found.push(frame.subarray(0, length));
    }
  }

  close(): void {
    libc.close(this.#fd);
  }
}
