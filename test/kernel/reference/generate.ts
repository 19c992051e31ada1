// SPDX-License-Identifier: MIT
/**
 * Splices and packets for the differential test: random, but drawn towards the numbers at which
 * something changes, such as the edges of windows, of the proxy's own data and of 32 bits.
 */
import type { StateName } from '../../../kernel/record/layout.js';
import { ICMP_TYPES, type IcmpError, NO_FLAGS, ownIp } from './answer.js';
import type { Dice } from './dice.js';
import { type Entry, type Leg, other, type Pair, type Tuple } from './entry.js';
import { OptionKind } from './options.js';
import {
  type Flags,
  FRAGMENT,
  IPPROTO_TCP,
  type Ipv4,
  type Ipv6,
  ipHeaderLength,
  isMapped,
  type Packet,
  pseudoChecksum,
  serialise,
  serialiseIp,
  type Tcp,
} from './packet.js';
import { ADDRESSES, text } from './rig.js';
import { add, subtract } from './serial.js';

export type Family = 4 | 6;
const NS_PER_MS = 1_000_000n;
const PEER_MAC = Buffer.from('020000000001', 'hex');

/** No two entries of a run are the same splice. */
let nextId = 1n;

/** A number that tends to lie where arithmetic modulo 2^32 goes wrong. */
function awkward(dice: Dice): number {
  const edges = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff];
  return dice.once(3) ? add(dice.pick(edges), dice.below(3000) - 1500) : dice.u32();
}

/** Close to one of these. */
function near(dice: Dice, ...numbers: number[]): number {
  const jitter = [0, 0, 0, 1, -1, dice.below(3000) - 1500];
  return add(dice.pick(numbers), dice.pick(jitter));
}

const flip = (dice: Dice): boolean => dice.once(2);
const pairOf = <T>(draw: (leg: Leg) => T): Pair<T> => [draw(0), draw(1)];

function tupleOf(dice: Dice, leg: Leg, family: Family): Tuple {
  const addresses = ADDRESSES[leg][family];
  const far = dice.once(12)
    ? addresses.unresolved
    : dice.once(12)
      ? addresses.unrouted
      : addresses.far;
  return {
    far: text(far),
    near: text(addresses.near),
    farPort: 1 + dice.below(65535),
    nearPort: dice.once(10) ? ALIGNED_PORT : 1 + dice.below(65535),
  };
}

type Kind = 'reserved' | 'held' | 'open' | 'alone' | 'torn';
const KINDS: Kind[] = [
  'reserved',
  'held',
  'open',
  'open',
  'alone',
  'alone',
  'alone',
  'alone',
  'torn',
];

export function randomEntry(dice: Dice, nowNs: bigint, families: Pair<Family>): Entry {
  const kind = dice.pick(KINDS);
  const seqDelta = pairOf(() => awkward(dice));
  const tsvalDelta = pairOf(() => awkward(dice));
  // by direction: how far its sender is, and up to where the receiver has acknowledged
  const sent = pairOf(() => awkward(dice));
  const received = pairOf((d) => subtract(sent[d], dice.once(3) ? 0 : dice.below(9000)));
  const acks = pairOf((d) => add(received[other(d)], seqDelta[other(d)]));
  const fin = pairOf(() => dice.once(3));
  const finAcked = pairOf((d) => fin[d] && flip(dice));
  const anyOpen = 1 + dice.below(3);
  const open: Pair<boolean> =
    kind === 'open'
      ? [(anyOpen & 1) !== 0, (anyOpen & 2) !== 0]
      : kind === 'reserved' || kind === 'held'
        ? [true, true]
        : [false, false];
  const waiting = kind === 'alone' && !fin[0] && !fin[1] && dice.once(6) ? 1 + dice.below(2) : 0;
  const deferred: Pair<boolean> = [waiting === 1, waiting === 2];
  const acked = pairOf((leg) => (kind === 'open' ? !open[leg] || flip(dice) : true));
  const idleMs = dice.pick([0, dice.below(1000), dice.below(20_000)]);
  const base = pairOf((leg) => near(dice, received[leg], sent[leg]));
  return {
    id: nextId++,
    generation: awkward(dice),
    state: states(
      dice,
      kind,
      pairOf((leg) => open[leg] || deferred[leg]),
      fin,
      finAcked,
    ),
    fin,
    finAcked,
    acked,
    open,
    deferred,
    standby: kind === 'alone' && waiting === 0 && dice.once(4),
    tuple: pairOf((leg) => tupleOf(dice, leg, families[leg])),
    seqDelta,
    tsvalDelta,
    base,
    wscaleIn: pairOf(() => dice.below(15)),
    wscaleOut: pairOf(() => dice.below(15)),
    mss: pairOf(() => dice.pick([0, 100, 536, 1360, 1460, 9000, 1280 + dice.below(200)])),
    timestamps: pairOf(() => !dice.once(4)),
    sack: pairOf(() => !dice.once(4)),
    ecn: pairOf(() => flip(dice)),
    lastSeenNs: nowNs - BigInt(idleMs) * NS_PER_MS,
    timeoutMs: idleMs + 11_000 + dice.below(dice.pick([3_000, 60_000, 7_200_000])),
    shortened: flip(dice),
    copied: pairOf((leg) => !open[leg] || dice.once(3)),
    settled: dice.below(4),
    ownEnd: pairOf((leg) => near(dice, acks[leg])),
    localNext: pairOf((leg) => near(dice, base[leg])),
    seen: pairOf(() => !dice.once(4)),
    seenEnd: sent,
    seenAck: acks,
    seenWindow: pairOf(() => dice.pick([0, 1, 1000, dice.below(65536), 65535 * 2 ** 14])),
    finKnown: pairOf((d) => fin[d] && !dice.once(3)),
    finEnd: pairOf((d) => near(dice, sent[d])),
    tsSent: pairOf(() => awkward(dice)),
    unproven: dice.below(2),
    probes: dice.below(3),
    mark: dice.below(3),
    changed: flip(dice),
    packets: pairOf(() => BigInt(dice.u32())),
    bytes: pairOf(() => BigInt(dice.u32()) << 8n),
  };
}

function states(
  dice: Dice,
  kind: Kind,
  open: Pair<boolean>,
  fin: Pair<boolean>,
  finAcked: Pair<boolean>,
): Pair<StateName> {
  if (kind === 'reserved' || kind === 'torn') return ['CLOSE', 'CLOSE'];
  if (kind === 'held')
    return dice.once(3) ? ['ESTABLISHED', 'CLOSE'] : ['ESTABLISHED', 'ESTABLISHED'];
  if (!open[0] && !open[1] && finAcked[0] && finAcked[1]) return ['TIMEWAIT', 'TIMEWAIT'];
  return pairOf((leg) => {
    if (open[leg]) return 'PRE_SPLICED';
    if (finAcked[other(leg)]) return 'SHUTDOWN';
    return fin[other(leg)] ? 'FIN_RELAYED' : 'SPLICED';
  });
}

const COMMON_FLAGS = [
  'a',
  'a',
  'a',
  'a',
  'pa',
  'pa',
  'fa',
  'fa',
  'fpa',
  'r',
  'ra',
  's',
  'sa',
  'pau',
  'p',
  '',
];

function flagsOf(dice: Dice): Flags {
  const letters = dice.pick(COMMON_FLAGS);
  const any = dice.once(8);
  const set = (letter: string): boolean => (any ? flip(dice) : letters.includes(letter));
  return {
    cwr: dice.once(8),
    ece: dice.once(8),
    urg: set('u'),
    ack: set('a'),
    psh: set('p'),
    rst: set('r'),
    syn: set('s'),
    fin: set('f'),
  };
}

/** Of a listening address whose clients are not to negotiate everything. */
export const ALIGNED_PORT = 8000;

/** A splice that translates, or is about to stand alone. */
export function liveEntry(dice: Dice, nowNs: bigint, families: Pair<Family>): Entry {
  for (;;) {
    const entry = randomEntry(dice, nowNs, families);
    if (entry.state.every((state) => state !== 'CLOSE' && state !== 'ESTABLISHED')) return entry;
  }
}

/** A segment of a splice as it is sent most of the time, with a few options and some data. */
export function plainFrame(dice: Dice, e: Entry, leg: Leg, mac: Buffer): Buffer {
  const { far, near: ours, farPort, nearPort } = e.tuple[leg];
  const version = isMapped(far) ? 4 : 6;
  const ip = { ...ownIp(far, ours), hopLimit: 3 + dice.below(250) };
  const tcp: Tcp = {
    sourcePort: farPort,
    destinationPort: nearPort,
    seq: e.seenEnd[leg],
    ack: e.seenAck[leg],
    reserved: 0,
    flags: { ...NO_FLAGS, ack: true },
    window: dice.below(0x10000),
    urgent: 0,
    options: dice.bytes(4 * (1 + dice.below(10))),
    sumError: 0,
  };
  const nothing = Buffer.alloc(0);
  const payload = dice.bytes(dice.below(40));
  return serialise({ ethernet: ethernetOf(mac, version), ip, tcp, payload, padding: nothing });
}

/**
 * A frame from the far end of a leg; `local`: from the stack of the node, to that far end.
 * @param begun a first fragment has come by, so that later ones are of interest
 */
export function randomFrame(
  dice: Dice,
  e: Entry,
  leg: Leg,
  local: boolean,
  mac: Buffer,
  begun = false,
): Buffer {
  if (!local && dice.once(60)) return cutShort(dice, plainFrame(dice, e, leg, mac));
  if (!local && dice.once(12)) return icmpFrame(dice, e, leg, mac);
  const packet = randomPacket(dice, e, leg, local, mac);
  if (!local && (begun ? !dice.once(4) : dice.once(10))) return fragmentFrame(dice, packet, begun);
  return serialise(packet);
}

/** Its end is missing; more of such is in mangle.ts. */
function cutShort(dice: Dice, frame: Buffer): Buffer {
  return frame.subarray(0, frame.length - 1 - dice.below(20));
}

function randomPacket(dice: Dice, e: Entry, leg: Leg, local: boolean, mac: Buffer): Packet {
  const tuple = e.tuple[leg];
  const [source, destination] = local ? [tuple.near, tuple.far] : [tuple.far, tuple.near];
  const payload = payloadOf(dice);
  const tcp = local ? ownTcp(dice, e, leg) : farTcp(dice, e, leg, payload.length);
  const [sourcePort, destinationPort] = local
    ? [tuple.nearPort, tuple.farPort]
    : [tuple.farPort, tuple.nearPort];
  const stranger = dice.once(20);
  const ip = ipOf(dice, source, destination, local);
  return {
    ethernet: ethernetOf(mac, ip.version),
    ip,
    tcp: { ...tcp, sourcePort, destinationPort: stranger ? destinationPort ^ 1 : destinationPort },
    payload,
    padding: dice.once(6) ? dice.bytes(1 + dice.below(20)) : Buffer.alloc(0),
  };
}

function ethernetOf(mac: Buffer, version: 4 | 6): Buffer {
  return Buffer.concat([mac, PEER_MAC, Buffer.from(version === 4 ? [0x08, 0x00] : [0x86, 0xdd])]);
}

/** The first piece of a segment, or one of its later pieces, or one of a segment that never began. */
function fragmentFrame(dice: Dice, packet: Packet, begun: boolean): Buffer {
  const { ethernet, ip, padding } = packet;
  const first = begun ? dice.once(4) : !dice.once(4);
  const body = serialise({ ...packet, padding: Buffer.alloc(0) }).subarray(14 + ipHeaderLength(ip));
  const id = dice.once(6) ? 8 : 7;
  const more = first || flip(dice);
  const offset = first ? 0 : 8 * (1 + dice.below(100));
  const fragmented: Ipv4 | Ipv6 =
    ip.version === 4
      ? { ...ip, id, moreFragments: more, fragmentOffset: offset, dontFragment: dice.once(4) }
      : { ...ip, extensions: [...ip.extensions.slice(0, 3), fragmentHeader(id, offset, more)] };
  if (fragmented.version === 6) chain(fragmented.extensions);
  // the length is a lie in tiny ones; the sum of a piece is that of the whole, and so wrong for it
  const length = dice.once(10) ? dice.below(30) : body.length;
  // as on Ethernet, only what is short is padded
  const end = length < 40 ? padding : Buffer.alloc(0);
  return Buffer.concat([ethernet, serialiseIp(fragmented, body.subarray(0, length)), end]);
}

/** IPv6: which piece of which packet. */
export function fragmentHeader(id: number, offset: number, more: boolean): Ipv6['extensions'][0] {
  const bytes = Buffer.alloc(8);
  bytes[0] = IPPROTO_TCP;
  bytes.writeUInt16BE(offset | (more ? 1 : 0), 2);
  bytes.writeUInt32BE(id, 4);
  return { header: FRAGMENT, bytes };
}

/** Each header names the one that follows. */
function chain(extensions: Ipv6['extensions']): void {
  for (const [i, { bytes }] of extensions.entries()) {
    bytes[0] = extensions[i + 1]?.header ?? IPPROTO_TCP;
  }
}

function extensionsOf(dice: Dice): Ipv6['extensions'] {
  if (!dice.once(10)) return [];
  const extensions = Array.from({ length: 1 + dice.below(5) }, () => {
    const bytes = dice.bytes(8 * (1 + dice.below(3)));
    bytes[1] = bytes.length / 8 - 1;
    return { header: dice.once(20) ? 43 : dice.pick([0, 60]), bytes };
  });
  chain(extensions);
  return extensions;
}

/** An ICMP error about a packet that left on this leg, or something like one. */
export function icmpFrame(dice: Dice, e: Entry, leg: Leg, mac: Buffer): Buffer {
  const back = other(leg);
  const { far, near: ours, farPort, nearPort } = e.tuple[leg];
  const version = isMapped(far) ? 4 : 6;
  const receiver = e.seenAck[leg];
  const sent = add(e.seenEnd[back], e.seqDelta[back]);
  const seq = dice.once(8)
    ? dice.u32()
    : near(dice, receiver, sent, e.ownEnd[leg], add(receiver, 2 ** 30), subtract(sent, 2 ** 30));
  const kinds = Object.keys(ICMP_TYPES[version]) as IcmpError[];
  const [type, code] = ICMP_TYPES[version][dice.pick(kinds)];
  const quote = Buffer.alloc(8 + dice.pick([0, 0, 12, 40]));
  quote.writeUInt16BE(nearPort, 0);
  quote.writeUInt16BE(dice.once(20) ? farPort ^ 1 : farPort, 2);
  quote.writeUInt32BE(seq, 4);
  const inner = ipOf(dice, ours, far, true);
  if (inner.version === 6) inner.extensions = [];
  const whole = serialiseIp(
    inner,
    Buffer.concat([quote, Buffer.alloc(dice.below(1400))]),
    dice.once(20) ? 17 : IPPROTO_TCP,
  );
  const quoted = whole.subarray(0, ipHeaderLength(inner) + quote.length);
  const head = Buffer.from([type, dice.once(8) ? dice.below(16) : code, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(dice.pick([0, 68, 552, 1280, 1300, 1400, 1500, dice.u32()]), 4);
  const cut = dice.once(8) ? dice.below(quoted.length) : quoted.length;
  const body = Buffer.concat([head, quoted.subarray(0, cut)]);
  const outer = ipOf(
    dice,
    dice.pick([far, text(version === 4 ? '10.9.9.9' : 'fd00:9::1')]),
    ours,
    false,
  );
  const protocol = version === 4 ? 1 : 58;
  body.writeUInt16BE(pseudoChecksum(outer.source, outer.destination, body, protocol), 2);
  if (outer.version === 6) outer.extensions = [];
  const padding = dice.once(6) ? dice.bytes(1 + dice.below(20)) : Buffer.alloc(0);
  return Buffer.concat([ethernetOf(mac, version), serialiseIp(outer, body, protocol), padding]);
}

function payloadOf(dice: Dice): Buffer {
  switch (dice.below(6)) {
    case 0:
    case 1:
      return Buffer.alloc(0);
    case 2:
      return dice.bytes(1);
    case 3:
      return dice.bytes(dice.below(20));
    case 4:
      return dice.bytes(dice.below(200));
  }
  return Buffer.alloc(1290 + dice.below(200), dice.below(256)); // about the MTU
}

function ipOf(dice: Dice, source: string, destination: string, local: boolean): Ipv4 | Ipv6 {
  const common = {
    source,
    destination,
    trafficClass: dice.below(256),
    hopLimit: local ? 64 : dice.once(12) ? dice.below(3) : dice.pick([3, 64, 128, 255]),
  };
  if (isMapped(source)) {
    const options = dice.once(15) ? dice.bytes(4 * (1 + dice.below(10))) : Buffer.alloc(0);
    return {
      version: 4,
      ...common,
      id: dice.below(0x10000),
      reserved: dice.once(20),
      dontFragment: !dice.once(4),
      moreFragments: false,
      fragmentOffset: 0,
      options,
      sumError: options.length === 0 && dice.once(30) ? 1 + dice.below(0xfffe) : 0,
    };
  }
  return { version: 6, ...common, flowLabel: dice.below(0x100000), extensions: extensionsOf(dice) };
}

function farTcp(
  dice: Dice,
  e: Entry,
  leg: Leg,
  length: number,
): Omit<Tcp, 'sourcePort' | 'destinationPort'> {
  const back = other(leg);
  const receiver = subtract(e.seenAck[back], e.seqDelta[leg]);
  const seqs = [
    e.seenEnd[leg],
    e.seenEnd[leg],
    receiver,
    receiver,
    add(receiver, e.seenWindow[back]),
    subtract(receiver, 2 ** 30),
    e.base[leg],
    e.localNext[leg],
    subtract(e.localNext[leg], length),
    subtract(e.base[leg], length),
    subtract(e.finEnd[leg], 1),
  ];
  const acks = [
    e.seenAck[leg],
    e.ownEnd[leg],
    e.ownEnd[leg],
    add(e.finEnd[back], e.seqDelta[back]),
    add(e.seenEnd[back], e.seqDelta[back]),
    add(e.seenAck[leg], e.seenWindow[leg] + 16 * 2 ** 20),
  ];
  return {
    seq: dice.once(10) ? dice.u32() : near(dice, ...seqs),
    ack: dice.once(10) ? dice.u32() : near(dice, ...acks),
    reserved: dice.once(6) ? dice.below(16) : 0,
    flags: flagsOf(dice),
    window: dice.pick([0, 1, 65535, dice.below(65536), dice.below(2000)]),
    urgent: dice.once(4) ? dice.below(65536) : 0,
    options: optionsOf(dice, acks, awkward(dice)),
    sumError: dice.once(10) ? 1 + dice.below(0xfffe) : 0,
  };
}

/** What the node's own stack may send: less wild, since nobody forges it. */
function ownTcp(dice: Dice, e: Entry, leg: Leg): Omit<Tcp, 'sourcePort' | 'destinationPort'> {
  const letters = dice.pick(['a', 'a', 'pa', 'fa', 'fpa', 'r', 'ra', 's', 'sa']);
  const flags: Flags = {
    cwr: dice.once(8),
    ece: dice.once(8),
    urg: false,
    ack: letters.includes('a'),
    psh: letters.includes('p'),
    rst: letters.includes('r'),
    syn: letters.includes('s'),
    fin: letters.includes('f'),
  };
  return {
    seq: near(dice, e.ownEnd[leg]),
    ack: near(dice, e.base[leg], e.localNext[leg]),
    reserved: 0,
    flags,
    window: dice.below(65536),
    urgent: 0,
    options: optionsOf(dice, [e.base[leg]], near(dice, e.tsSent[leg]), false),
    sumError: 0,
  };
}

/** Any options, in any order; with `wild`, also such as make no sense. */
function optionsOf(dice: Dice, edges: number[], tsval: number, wild = true): Buffer {
  if (dice.once(3)) return Buffer.alloc(0);
  if (dice.once(3)) return Buffer.concat([Buffer.from([1, 1]), timestampOf(dice, tsval)]);
  const length = 4 * dice.below(11);
  const parts: Buffer[] = [];
  let left = length;
  while (left > 0) {
    const part = optionOf(dice, left, edges, tsval, wild);
    if (part.length > left) continue;
    parts.push(part);
    left -= part.length;
  }
  const area = Buffer.concat(parts);
  if (wild && dice.once(12) && area.length > 0) area[dice.below(area.length)] = dice.below(256);
  return area;
}

function timestampOf(dice: Dice, tsval: number): Buffer {
  const option = Buffer.alloc(10);
  option[0] = OptionKind.TIMESTAMP;
  option[1] = 10;
  option.writeUInt32BE(tsval, 2);
  option.writeUInt32BE(awkward(dice), 6);
  return option;
}

function optionOf(dice: Dice, left: number, edges: number[], tsval: number, wild: boolean): Buffer {
  switch (dice.below(wild ? 10 : 6)) {
    case 0:
      return timestampOf(dice, tsval);
    case 1: {
      const blocks = 1 + dice.below(4);
      const option = Buffer.alloc(2 + 8 * blocks);
      option[0] = OptionKind.SACK;
      option[1] = option.length;
      for (let at = 2; at < option.length; at += 4) option.writeUInt32BE(near(dice, ...edges), at);
      return option;
    }
    case 2:
      return Buffer.from([OptionKind.SACK_PERMITTED, 2]);
    case 3:
      return Buffer.from([2, 4, 5, dice.below(256)]);
    case 4:
      return Buffer.from([3, 3, dice.below(15)]);
    case 6: {
      // a SACK option of a length that is none
      const option = dice.bytes(2 + dice.below(Math.min(38, Math.max(1, left - 1))));
      option[0] = OptionKind.SACK;
      option[1] = option.length;
      return option;
    }
    case 7: {
      const option = dice.bytes(2 + dice.below(Math.min(38, Math.max(1, left - 1))));
      option[0] = dice.pick([8, 253, 30, 34, 19]);
      option[1] = option.length;
      return option;
    }
    case 8:
      return dice.once(4) ? Buffer.from([0, ...dice.bytes(left - 1)]) : Buffer.from([1]);
  }
  return Buffer.from([OptionKind.NOP]);
}
