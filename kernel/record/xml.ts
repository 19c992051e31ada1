/**
 * Records in conntrack's XML vocabulary, plus what a splice has (docs/spliced.xsd). Written by hand:
 * every library tried is 6 to 80 times slower over a million entries.
 */
import type { Counters } from './counted.js';
import { Option } from './layout.js';
import { isMapped, type Leg, type RecordView } from './record.js';
import {
  expires,
  flagNames,
  legState,
  type NodeNames,
  nodeName,
  overallState,
  type Rendering,
} from './rendering.js';

/** Everything that XML 1.0 section 2.2 does not count as a character, lone surrogates included. */
const FORBIDDEN = /[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu;
const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

export function escapeXml(value: string): string {
  // Nearly every name: the two passes below would cost a sixth of a dump's time.
  if (/^[\w.-]*$/.test(value)) return value;
  return value.replace(FORBIDDEN, '').replace(/[&<>"']/g, (c) => ESCAPES[c]);
}

/** A tuple as conntrack shows it: from the far end of the leg to this node. */
function meta(record: RecordView, leg: Leg, counters: Counters | undefined): string {
  const tuple = record.tuple(leg);
  const names = leg === 0 ? 'direction="original" leg="client"' : 'direction="reply" leg="server"';
  const layer3 = isMapped(record.bytes, tuple.offset)
    ? 'protonum="2" protoname="ipv4"'
    : 'protonum="10" protoname="ipv6"';
  return (
    `<meta ${names}><layer3 ${layer3}>` +
    `<src>${tuple.source}</src><dst>${tuple.destination}</dst></layer3>` +
    `<layer4 protonum="6" protoname="tcp"><sport>${tuple.sourcePort}</sport>` +
    `<dport>${tuple.destinationPort}</dport></layer4>${counters ? counts(counters, leg) : ''}</meta>`
  );
}

function counts(counters: Counters, direction: Leg): string {
  const [packets, bytes] = [counters.packets(direction), counters.bytes(direction)];
  return `<counters><packets>${packets}</packets><bytes>${bytes}</bytes></counters>`;
}

function independent(record: RecordView, names: NodeNames): string {
  return (
    `<meta direction="independent"><state>${overallState(record)}</state>` +
    `<timeout>${expires(record)}</timeout><id>${record.id}</id>` +
    `<origin>${escapeXml(nodeName(record.origin, names))}</origin>` +
    `<generation>${record.generation}</generation>` +
    `<incarnation>${record.incarnation}</incarnation>` +
    `<owner>${escapeXml(nodeName(record.owner, names))}</owner>` +
    `<epoch>${record.epoch}</epoch></meta>`
  );
}

/** Directions are called original and reply, legs client and server. */
function splice(record: RecordView): string {
  const { options } = record;
  const has = (option: number): string => (options & option ? 'true' : 'false');
  return (
    `<splice client="${legState(record, 0)}" server="${legState(record, 1)}" ` +
    `flags="${flagNames(record).join(' ')}">` +
    `<seq original="${record.seqDelta(0)}" reply="${record.seqDelta(1)}" ` +
    `client-base="${record.base(0)}" server-base="${record.base(1)}"/>` +
    `<timestamp original="${record.tsvalDelta(0)}" reply="${record.tsvalDelta(1)}" ` +
    `client="${has(Option.TS0)}" server="${has(Option.TS1)}"/>` +
    `<window client-in="${record.wscaleIn(0)}" client-out="${record.wscaleOut(0)}" ` +
    `server-in="${record.wscaleIn(1)}" server-out="${record.wscaleOut(1)}"/>` +
    `<sack client="${has(Option.SACK0)}" server="${has(Option.SACK1)}"/>` +
    `<ecn client="${has(Option.ECN0)}" server="${has(Option.ECN1)}"/>` +
    `<mss client="${record.mss(0)}" server="${record.mss(1)}"/></splice>`
  );
}

export const xml: Rendering = {
  head: () => '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n',
  record: (record, names, counters) =>
    `<flow>${meta(record, 0, counters)}${meta(record, 1, counters)}${independent(record, names)}${splice(record)}</flow>\n`,
  tail: '</conntrack>\n',
};
