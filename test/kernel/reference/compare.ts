// SPDX-License-Identifier: MIT
/** What the reference says of a packet against what the datapath did, in words. */
import { icmpChecksum, QUOTED_TCP } from './answer.js';
import type { Entry } from './entry.js';
import { ETHERNET, ipHeaderLength, type Packet, serialise } from './packet.js';
import { parse } from './parse.js';
import type { Observed } from './rig.js';
import type { Outcome } from './world.js';

export interface Difference {
  what: string;
  expected: string;
  got: string;
}

/** Empty when they agree. `nowNs` is the clock that the reference was given. */
export function differences(expected: Outcome, got: Observed, nowNs: bigint): Difference[] {
  const found: Difference[] = [];
  const check = (what: string, a: string, b: string): void => {
    if (a !== b) found.push({ what, expected: a, got: b });
  };
  check('verdict', expected.verdict, got.verdict);
  if (expected.frame && expected.verdict === got.verdict) {
    const shown = [expected.frame, got.frame].map((frame) => readable(frame, expected));
    const [a, b] = settled(shown[0], shown[1]);
    const from = expected.read.ethernet ? 0 : 14;
    const to = expected.read.padding ? undefined : a.length;
    check('packet', a.toString('hex', from), b.toString('hex', from, to));
  }
  check('copies sent', String(expected.copies.length), String(got.copies.length));
  for (const [i, copy] of expected.copies.entries()) {
    const [a, b] = settled(copy, got.copies[i] ?? Buffer.alloc(0));
    check(`copy ${i + 1}`, a.toString('hex'), b.toString('hex'));
  }
  check('counters', counters(expected.counts), counters(got.counts));
  check('live splices of the server', String(expected.live), String(got.live));
  compareEntries(expected.entry, got, nowNs, check);
  return found;
}

function compareEntries(
  expected: Entry | undefined,
  got: Observed,
  nowNs: bigint,
  check: (what: string, a: string, b: string) => void,
): void {
  check('entry', expected ? 'there' : 'gone', got.entry ? 'there' : 'gone');
  if (!expected || !got.entry) return;
  const [start, end] = got.ns;
  for (const name of Object.keys(expected) as (keyof Entry)[]) {
    if (name === 'lastSeenNs' && expected.lastSeenNs === nowNs) {
      const stamped = got.entry.lastSeenNs;
      check('entry: lastSeenNs', 'now', stamped >= start && stamped <= end ? 'now' : `${stamped}`);
    } else {
      const [a, b] = [expected[name], got.entry[name]];
      if (!same(a, b)) check(`entry: ${name}`, value(a), value(b));
    }
  }
}

/**
 * In one's complement 0 and 0xffff are one number. A right sum is never written as 0xffff, so it must
 * come out to the bit; one that was wrong already may come out as either.
 */
function settled(expected: Buffer, got: Buffer): [Buffer, Buffer] {
  const [a, b] = [expected, got].map((bytes) => Buffer.from(bytes));
  const parsed = parse(a);
  if (parsed.kind !== 'tcp' || a.length > b.length) return [a, b];
  const { ip, tcp } = parsed.packet;
  const wrong: number[] = [];
  if (ip.version === 4 && ip.sumError !== 0) wrong.push(14 + 10);
  if (tcp.sumError !== 0) wrong.push(14 + ipHeaderLength(ip) + 16);
  for (const at of wrong) {
    for (const bytes of [a, b]) if (bytes.readUInt16BE(at) === 0xffff) bytes.writeUInt16BE(0, at);
  }
  return [a, b];
}

/** Without what nobody reads. */
function readable(frame: Buffer, { verdict, read }: Outcome): Buffer {
  if (verdict === 'send') return withoutQuotedSum(read.ethernet ? frame : retyped(frame));
  return read.options ? frame : withoutIpOptions(frame);
}

/** With the Ethernet type that the packet's version asks for. */
function retyped(frame: Buffer): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUInt16BE(frame[ETHERNET] >> 4 === 4 ? 0x0800 : 0x86dd, 12);
  return copy;
}

/** What stands in the checksum of a quoted segment does not matter, so long as the error's own is right. */
function withoutQuotedSum(frame: Buffer): Buffer {
  const parsed = parse(frame);
  if (parsed.kind !== 'icmp') return frame;
  const { ip, body } = parsed.datagram;
  const sum = body.readUInt16BE(2);
  body.writeUInt16BE(0, 2);
  const right = sum === icmpChecksum(ip, body);
  body.writeUInt16BE(0, body.length - QUOTED_TCP + 16);
  const header = frame.subarray(0, ETHERNET + ipHeaderLength(ip));
  return Buffer.concat([header, body, Buffer.from(right ? '' : 'ICMP sum wrong')]);
}

function withoutIpOptions(frame: Buffer): Buffer {
  const parsed = parse(frame);
  if (parsed.kind !== 'tcp' || parsed.packet.ip.version !== 4) return frame;
  const { packet } = parsed;
  const ip: Packet['ip'] = { ...parsed.packet.ip, options: Buffer.alloc(0) };
  return serialise({ ...packet, ip });
}

function counters(counts: Map<string, number>): string {
  return [...counts]
    .filter(([, by]) => by !== 0)
    .map(([name, by]) => `${name} ${by}`)
    .sort()
    .join(', ');
}

function same(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.every(
    (one, i) => one === b[i] || (typeof one === 'object' && value(one) === value(b[i])),
  );
}

function value(of: unknown): string {
  return JSON.stringify(of, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner));
}
