// SPDX-License-Identifier: MIT
/** Packets that no stack would send: cut, lying about their lengths, or made of nothing but noise. */
import type { Dice } from './dice.js';
import { ETHERNET } from './packet.js';

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
/** TCP's data offset, from the start of its header. */
const DATA_OFFSET = 12;

const isIpv4 = (frame: Buffer): boolean => frame[ETHERNET] >> 4 === 4;
const tcpAt = (frame: Buffer): number => ETHERNET + (isIpv4(frame) ? IPV4_HEADER : IPV6_HEADER);

/** The least that BPF_PROG_TEST_RUN takes (Linux 6.18): an IP header without options. */
const leastLength = (frame: Buffer): number => tcpAt(frame);

/** Cut at every length. */
export function* truncated(frame: Buffer): Generator<Buffer> {
  for (let length = leastLength(frame); length < frame.length; length++) {
    yield frame.subarray(0, length);
  }
}

/** With every length that IP may name, from none to too much. */
export function* lyingLengths(frame: Buffer): Generator<Buffer> {
  const at = ETHERNET + (isIpv4(frame) ? 2 : 4);
  for (let length = 0; length < frame.length + 20; length++) yield changed(frame, at, length, 2);
  yield changed(frame, at, 0xffff, 2);
}

/** With every pair of header lengths that IP and TCP may name. */
export function* lyingHeaders(frame: Buffer): Generator<Buffer> {
  for (let version = 0; version < 256; version++) {
    const lying = changed(frame, ETHERNET, version, 1);
    for (let offset = 0; offset < 16; offset++) {
      yield changed(lying, tcpAt(frame) + DATA_OFFSET, offset << 4, 1);
    }
  }
}

/** With options of which one at least has a length that cannot be. */
export function brokenOptions(dice: Dice, frame: Buffer): Buffer {
  const at = tcpAt(frame);
  const header = (frame[at + DATA_OFFSET] >> 4) * 4;
  const copy = Buffer.from(frame);
  const options = copy.subarray(at + 20, at + header);
  for (let i = 0; i < options.length; i++) options[i] = dice.pick([1, 5, 8, 4, 2, dice.below(256)]);
  if (options.length > 0) {
    const kind = dice.below(options.length);
    options[kind] = dice.pick([2, 3, 5, 8, 30, 253]);
    if (kind + 1 < options.length) options[kind + 1] = dice.pick([0, 1, 41, 255]);
  }
  return copy;
}

/** An IPv6 packet whose headers form a chain of nonsense. */
export function brokenChain(dice: Dice, frame: Buffer): Buffer {
  const chain = dice.bytes(8 * (1 + dice.below(12)));
  const kinds = [0, 6, 43, 44, 50, 51, 58, 59, 60, 60, 0, dice.below(256)];
  for (let at = 0; at < chain.length; at += 8) {
    chain[at] = dice.pick(kinds);
    chain[at + 1] = dice.pick([0, 0, 0, 1, 2, 31, 255]);
  }
  const header = Buffer.from(frame.subarray(0, ETHERNET + IPV6_HEADER));
  header[ETHERNET + 6] = dice.pick(kinds);
  const rest = frame.subarray(ETHERNET + IPV6_HEADER);
  header.writeUInt16BE(dice.once(4) ? dice.below(2000) : chain.length + rest.length, ETHERNET + 4);
  return Buffer.concat([header, chain, rest]);
}

/** Some bits of it turned over. */
export function noisy(dice: Dice, frame: Buffer): Buffer {
  const copy = Buffer.from(frame);
  for (let flips = 1 + dice.below(8); flips > 0; flips--) {
    copy[ETHERNET + dice.below(copy.length - ETHERNET)] ^= 1 << dice.below(8);
  }
  const least = leastLength(frame);
  return dice.once(4) ? copy.subarray(0, least + dice.below(copy.length - least)) : copy;
}

/** Noise behind an Ethernet header that says IP. */
export function noise(dice: Dice, frame: Buffer): Buffer {
  const length = leastLength(frame) - ETHERNET + dice.below(120);
  const bytes = Buffer.concat([frame.subarray(0, ETHERNET), dice.bytes(length)]);
  if (dice.once(2)) bytes[ETHERNET] = dice.pick([0x45, 0x46, 0x60]);
  if (dice.once(2)) bytes[ETHERNET + 9] = dice.pick([1, 6]);
  return bytes;
}

function changed(frame: Buffer, at: number, value: number, octets: number): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUIntBE(value, at, octets);
  return copy;
}
