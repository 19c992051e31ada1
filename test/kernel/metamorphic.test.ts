// SPDX-License-Identifier: MIT
// deadline: 120
/**
 * What must hold of the translation whatever it does: there and back is the identity, damage stays
 * damage, cutting a packet up and translating the pieces is translating it and cutting it up. No second
 * implementation is asked; the datapath is compared with itself.
 *
 *   SEED=123 COUNT=10000 node --import tsx test/kernel/metamorphic.test.ts
 *
 *   far end ── leg 0 ── splice ── leg 1 ── far end       a packet out of leg 1 is one for leg 0 of the
 *   far end ── leg 0 ── mirror ── leg 1 ── far end       mirror, which knows both ends the other way round
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isolateOrSkip } from '../support/isolate.js';
import { ownIp } from './reference/answer.js';
import { Dice, plan } from './reference/dice.js';
import { type Entry, type Leg, other, type Pair } from './reference/entry.js';
import { type Family, fragmentHeader, liveEntry, plainFrame } from './reference/generate.js';
import { OptionKind } from './reference/options.js';
import {
  ETHERNET,
  type Ipv4,
  type Ipv6,
  ipHeaderLength,
  type Packet,
  serialise,
  serialiseIp,
} from './reference/packet.js';
import { type Datagram, parse } from './reference/parse.js';
import { Rig, text } from './reference/rig.js';
import { add, subtract } from './reference/serial.js';

await isolateOrSkip(import.meta.url);

const PACKETS = 400;
const SAME: Pair<Family>[] = [
  [4, 4],
  [6, 6],
];
const ALL: Pair<Family>[] = [...SAME, [4, 6], [6, 4]];

const test = suite('the translation');
const rig = await Rig.open();
const { seed, count } = plan(PACKETS);
const dice = new Dice(seed);
const where = `SEED=${seed}`;

/** No address of the node's own, so that there is a way back to it. */
const NEAR = [
  { 4: text('10.1.0.77'), 6: text('fd00:1::77') },
  { 4: text('10.2.0.77'), 6: text('fd00:2::77') },
];
const FAR = [
  { 4: text('10.1.0.2'), 6: text('fd00:1::2') },
  { 4: text('10.2.0.11'), 6: text('fd00:2::11') },
];

const negative = (n: number): number => subtract(0, n);
const pair = <T>(draw: (leg: Leg) => T): Pair<T> => [draw(0), draw(1)];

/** A splice that stands alone, with nothing known of its ends, and the same shifts on both legs. */
function splice(families: Pair<Family>): Entry {
  const e = liveEntry(dice, process.hrtime.bigint(), families);
  const shift = dice.below(15);
  return {
    ...e,
    state: ['SPLICED', 'SPLICED'],
    open: [false, false],
    fin: [false, false],
    finAcked: [false, false],
    copied: [true, true],
    seen: [false, false],
    mss: [0, 0],
    timestamps: [true, true],
    sack: [true, true],
    ecn: [true, true],
    wscaleIn: [shift, shift],
    wscaleOut: [shift, shift],
    tuple: pair((leg) => ({
      ...e.tuple[leg],
      far: FAR[leg][families[leg]],
      near: NEAR[leg][families[leg]],
    })),
  };
}

/** Who sends to one of these receives from the other. */
function mirror(e: Entry): Entry {
  const turned = ({ far, near, farPort, nearPort }: Entry['tuple'][0]): Entry['tuple'][0] => ({
    far: near,
    near: far,
    farPort: nearPort,
    nearPort: farPort,
  });
  return {
    ...e,
    tuple: [turned(e.tuple[1]), turned(e.tuple[0])],
    seqDelta: [negative(e.seqDelta[0]), negative(e.seqDelta[1])],
    tsvalDelta: [negative(e.tsvalDelta[0]), negative(e.tsvalDelta[1])],
  };
}

/** The same splice, with the names of its legs exchanged. */
function renamed(e: Entry): Entry {
  const copy = { ...e } as Record<keyof Entry, unknown>;
  for (const name of Object.keys(e) as (keyof Entry)[]) {
    const value = e[name];
    if (Array.isArray(value)) copy[name] = [value[1], value[0]];
  }
  return copy as unknown as Entry;
}

/** A segment with timestamps, SACK and data. */
function segment(e: Entry, leg: Leg): Packet {
  const parsed = parse(plainFrame(dice, e, leg, rig.nodeMac));
  if (parsed.kind !== 'tcp') throw new Error('a plain frame is no segment');
  const { packet } = parsed;
  const sack = dice.bytes(2 + 8 * (1 + dice.below(3)));
  sack[0] = OptionKind.SACK;
  sack[1] = sack.length;
  const timestamps = Buffer.concat([Buffer.from([1, 1, OptionKind.TIMESTAMP, 10]), dice.bytes(8)]);
  const options = Buffer.concat([timestamps, Buffer.from([1, 1]), sack]);
  const trafficClass = dice.below(256);
  return {
    ...packet,
    ip: { ...packet.ip, trafficClass },
    tcp: { ...packet.tcp, seq: dice.u32(), ack: dice.u32(), options, urgent: dice.below(65536) },
    payload: dice.bytes(dice.below(300)),
  };
}

/** What becomes of a frame that must go out. */
function translated(leg: Leg, frame: Buffer, gsoSize = 0): Buffer {
  const { verdict, frame: out } = rig.run('ingress', leg, frame, 0, gsoSize);
  assert.is(verdict, 'send', `${where}: ${frame.toString('hex')}`);
  // the neighbour layer writes the Ethernet header
  out.writeUInt16BE(out[ETHERNET] >> 4 === 4 ? 0x0800 : 0x86dd, 12);
  return out;
}

function read(frame: Buffer): Packet {
  const parsed = parse(frame);
  if (parsed.kind !== 'tcp') throw new Error(`no segment: ${frame.toString('hex')}`);
  return parsed.packet;
}

function same(got: Buffer, expected: Buffer): void {
  assert.is(got.toString('hex'), expected.toString('hex'), where);
}

test('there and back is the identity, but for two hops', () => {
  for (let i = 0; i < count; i++) {
    const e = splice(dice.pick(ALL));
    rig.place(e);
    const sent = segment(e, 0);
    const there = translated(0, serialise(sent));
    rig.place(mirror(e));
    const back = translated(0, there);
    same(back, serialise({ ...sent, ip: { ...sent.ip, hopLimit: sent.ip.hopLimit - 2 } }));
  }
});

test('it does not matter which leg is called which', () => {
  for (let i = 0; i < count; i++) {
    const e = splice(dice.pick(ALL));
    const leg = dice.below(2) as Leg;
    const frame = serialise(segment(e, leg));
    rig.place(e);
    const one = translated(leg, frame);
    rig.place(renamed(e));
    same(translated(other(leg), frame), one);
  }
});

test('every sum of what goes out is right where that of what came in was', () => {
  for (let i = 0; i < count; i++) {
    const e = splice(dice.pick(ALL));
    rig.place(e);
    const sent = segment(e, 1);
    const out = read(translated(1, serialise(sent)));
    assert.is(out.tcp.sumError, 0, where);
    if (out.ip.version === 4) assert.is(out.ip.sumError, 0, where);
    assert.ok(out.payload.equals(sent.payload), where);
  }
});

test('damaged data stay damaged, and leave the same sum', () => {
  for (let i = 0; i < count; i++) {
    const e = splice(dice.pick(ALL));
    rig.place(e);
    const sent = segment(e, 0);
    const payload = dice.bytes(1 + dice.below(300));
    const sound = serialise({ ...sent, payload });
    const damaged = Buffer.from(sound);
    const at = 1 + dice.below(payload.length);
    damaged[damaged.length - at] ^= 1 << dice.below(8);
    const out = translated(0, sound);
    out[out.length - at] ^= sound[sound.length - at] ^ damaged[damaged.length - at];
    same(translated(0, damaged), out);
    assert.is.not(read(out).tcp.sumError, 0, where);
  }
});

test('numbers that are moved before they come in are moved as much when they go out', () => {
  for (let i = 0; i < count; i++) {
    const e = splice(dice.pick(ALL));
    rig.place(e);
    const sent = segment(e, 0);
    const by = dice.u32();
    const moved = {
      ...sent,
      tcp: { ...sent.tcp, seq: add(sent.tcp.seq, by), ack: add(sent.tcp.ack, by) },
    };
    const one = read(translated(0, serialise(sent)));
    const two = read(translated(0, serialise(moved)));
    assert.is(two.tcp.seq, add(one.tcp.seq, by), where);
    assert.is(two.tcp.ack, add(one.tcp.ack, by), where);
  }
});

/** Octets of payload: BPF_PROG_TEST_RUN takes packets of a page. */
const BUNDLE_MAX = 3000;

test('a bundle that is translated and cut up is what its segments are when translated', () => {
  for (let i = 0; i < count / 4; i++) {
    const e = splice(dice.pick(SAME));
    rig.place(e);
    const size = 200 + dice.below(900);
    const sent = {
      ...segment(e, 0),
      payload: dice.bytes(size + 1 + dice.below(BUNDLE_MAX - size)),
    };
    const bundle = read(translated(0, serialise(sent), size));
    for (const [at, piece] of cutUp(sent, size).entries()) {
      same(translated(0, serialise(piece)), serialise(cutUp(bundle, size)[at]));
    }
  }
});

/** As a card cuts a bundle into segments. */
function cutUp(bundle: Packet, size: number): Packet[] {
  const pieces: Packet[] = [];
  for (let at = 0; at < bundle.payload.length; at += size) {
    const tcp = { ...bundle.tcp, seq: add(bundle.tcp.seq, at) };
    pieces.push({ ...bundle, tcp, payload: bundle.payload.subarray(at, at + size) });
  }
  return pieces;
}

test('fragments that are translated and put together are the packet, translated', () => {
  for (let i = 0; i < count; i++) {
    const e = splice(dice.pick(SAME));
    rig.place(e);
    const leg = dice.below(2) as Leg;
    const sent = { ...segment(e, leg), payload: dice.bytes(100 + dice.below(900)) };
    if (sent.ip.version === 4) sent.ip = { ...sent.ip, dontFragment: false };
    const pieces = fragments(sent, i + 1).map((frame) => translated(leg, frame));
    same(joined(pieces), translated(leg, serialise(sent)));
  }
});

/** Cut at a random place behind the options, the first piece first. */
function fragments({ ethernet, ip, ...rest }: Packet, id: number): Buffer[] {
  const whole = serialise({ ethernet, ip, ...rest });
  const body = whole.subarray(ETHERNET + ipHeaderLength(ip));
  const at = 8 * (8 + dice.below((body.length - 64) >> 3));
  const piece = (offset: number, more: boolean): Ipv4 | Ipv6 =>
    ip.version === 4
      ? { ...ip, id, moreFragments: more, fragmentOffset: offset }
      : { ...ip, extensions: [fragmentHeader(id, offset, more)] };
  return [
    Buffer.concat([ethernet, serialiseIp(piece(0, true), body.subarray(0, at))]),
    Buffer.concat([ethernet, serialiseIp(piece(at, false), body.subarray(at))]),
  ];
}

/** What the receiver makes of two fragments: a packet with an id of 0. */
function joined(pieces: Buffer[]): Buffer {
  const [first, later] = pieces.map((frame): Datagram => {
    const parsed = parse(frame);
    if (parsed.kind === 'later') return parsed.datagram;
    if (parsed.kind !== 'tcp') throw new Error(`no fragment: ${frame.toString('hex')}`);
    const { ethernet, ip, padding } = parsed.packet;
    return { ethernet, ip, padding, body: frame.subarray(ETHERNET + ipHeaderLength(ip)) };
  });
  const { source, destination, trafficClass, hopLimit } = first.ip;
  const ip = { ...ownIp(source, destination), trafficClass, hopLimit };
  if (ip.version === 4) ip.dontFragment = false;
  return Buffer.concat([first.ethernet, serialiseIp(ip, Buffer.concat([first.body, later.body]))]);
}

test.after(() => rig.close());
test.run();
