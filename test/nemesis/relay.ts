// SPDX-License-Identifier: MIT
/**
 * relay.ts FROM=TO...: keeps every frame that comes in on the interface FROM for a while, for each another
 * one, and sends it out of TO. So frames overtake each other. Packet sockets: packet(7).
 */
import { errnoName } from '../../kernel/error.js';
import { errno, libc } from '../../kernel/native.js';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const ETH_P_IP = 0x0800;
const FRAME_BYTES_MAX = 65_536;
const LOOK_MS = 2;
const HELD_MS_MAX = 40;
/** More than that are on their way: then they pass at once. */
const HELD_MAX = 4096;

function link(device: string): Buffer {
  const address = Buffer.alloc(20); // struct sockaddr_ll
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(ETH_P_IP, 2);
  address.writeUInt32LE(libc.ifNameToIndex(device), 4);
  return address;
}

let held = 0;
const sending = libc.socket(AF_PACKET, SOCK_RAW, 0);
const into = Buffer.alloc(FRAME_BYTES_MAX);

/** The device is looked up anew each time: a node that boots has new ones. What cannot be sent is lost. */
function send(frame: Buffer, to: string): void {
  libc.sendto(sending, frame, frame.length, 0, link(to), 20);
}

function take(fd: number, to: string): void {
  for (;;) {
    const length = Number(libc.recv(fd, into, into.length, 0));
    if (length < 0) return;
    const frame = Buffer.from(into.subarray(0, length));
    if (held >= HELD_MAX) {
      send(frame, to);
      continue;
    }
    held++;
    setTimeout(
      () => {
        held--;
        send(frame, to);
      },
      1 + Math.random() * HELD_MS_MAX,
    );
  }
}

for (const route of process.argv.slice(2)) {
  const [from, to] = route.split('=');
  const fd = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  if (fd < 0 || libc.bind(fd, link(from), 20)) {
    throw new Error(`packet socket on ${from}: ${errnoName(errno())}`);
  }
  setInterval(() => take(fd, to), LOOK_MS);
}
