// SPDX-License-Identifier: MIT
/**
 * The outside of a node, in its namespace: gives it an address, and is the rest of the network meanwhile. As a
 * switch would, it sends the packets of a live flow to the node from when that has announced the address.
 */
import { spawn } from 'node:child_process';
import { libc } from '../../kernel/native.js';
import { testLibc } from '../../test/kernel/path/libc.js';
import { frame } from '../../test/support/packet.js';
import { monotonicMs } from '../clock.js';
import { offer } from '../helper.js';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const ETH_P_ALL = 3;
const SOCKADDR_LL = 20;
const PACKET_OUTGOING = 4;
const ETH_P_ARP = 0x0806;
const ETH_P_IP = 0x0800;
const SENDER_IN_ARP = 28;
const DESTINATION_IN_IP = 30;
const SNAP = 128;
/** Between two packets of the flow. */
const PERIOD_MS = 1;
const LIMIT_MS = 30_000;

interface Watched {
  /** The device at the other end of the node's. */
  readonly device: string;
  readonly mac: string;
  /** The line for `ip -batch` by which the address comes. */
  readonly line: string;
  readonly virtual: string;
  readonly flow: { readonly from: string; readonly to: string };
  /** To whom its packets are translated. */
  readonly server: string;
}

/** Times in milliseconds, from when the address was set. */
export interface Seen {
  readonly announced: number;
  readonly firstPacket: number;
  /** The longest time between two packets that came through. */
  readonly longestGap: number;
  readonly packets: number;
}

function open(device: string): number {
  const fd: number = libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  const address = Buffer.alloc(SOCKADDR_LL);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(ETH_P_ALL, 2);
  address.writeUInt32LE(libc.ifNameToIndex(device), 4);
  if (fd < 0 || libc.bind(fd, address, address.length)) throw new Error(`no socket on ${device}`);
  return fd;
}

function octets(address: string): string {
  return address.split('.').join();
}

/** The next frame that has come, or undefined. */
function* received(fd: number): Generator<Buffer> {
  const bytes = Buffer.alloc(SNAP);
  const from = Buffer.alloc(SOCKADDR_LL);
  while (Number(testLibc.recvfrom(fd, bytes, SNAP, 0, from, [SOCKADDR_LL])) > 0) {
    if (from[10] !== PACKET_OUTGOING) yield bytes;
  }
}

const ipAt = (bytes: Buffer, at: number): string => bytes.subarray(at, at + 4).join();
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

let ended = false;

const functions = {
  /** Resolves when `end` was called, and the flow has gone on until then. */
  async watch({ device, mac, line, virtual, flow, server }: Watched): Promise<Seen> {
    const fd = open(device);
    const packet = frame({ ...flow, mac, seq: 1000, ack: 1000, window: 512, payload: 'x' });
    const [here, there] = [octets(virtual), octets(server)];
    const ip = spawn('ip', ['-batch', '-'], { stdio: ['pipe', 'inherit', 'inherit'] });
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (const _ of received(fd));
    let [announced, firstPacket, longestGap, last, sent, packets] = [NaN, NaN, 0, NaN, 0, 0];
    const began = monotonicMs();
    ip.stdin.end(`${line}\n`);
    while (!ended && monotonicMs() < began + LIMIT_MS) {
      await turn();
      const now = monotonicMs();
      for (const bytes of received(fd)) {
        const type = bytes.readUInt16BE(12);
        if (type === ETH_P_ARP && ipAt(bytes, SENDER_IN_ARP) === here) announced ||= now - began;
        if (type !== ETH_P_IP || ipAt(bytes, DESTINATION_IN_IP) !== there) continue;
        firstPacket ||= now - began;
        if (packets++ > 0) longestGap = Math.max(longestGap, now - last);
        last = now;
      }
      if (Number.isNaN(announced) || now - sent < PERIOD_MS) continue;
      testLibc.send(fd, packet, packet.length, 0);
      sent = now;
    }
    libc.close(fd);
    return { announced, firstPacket, longestGap, packets };
  },
  end(): void {
    ended = true;
  },
};

export type WireFunctions = typeof functions;
offer(functions);
