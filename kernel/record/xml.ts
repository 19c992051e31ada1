/**
 * Records in conntrack's XML vocabulary, plus what a splice has (docs/spliced.xsd). Written by hand:
 * every library tried is 6 to 80 times slower over a million entries.
 */
import type { Counters } from './counted.js';
import { Option, RecordOffset, TUPLE_SIZE, TupleOffset } from './layout.js';
import { type Page, Piece } from './page.js';
import { formatAddress, isMapped, type Leg, type RecordView } from './record.js';
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

type Field = (page: Page, record: RecordView, names: NodeNames, counters?: Counters) => void;

/** What stands as it is between the fields is encoded once. */
function template(texts: TemplateStringsArray, ...fields: Field[]): Field {
  const [first, ...others] = texts.map((text) => new Piece(text));
  return (page, record, names, counters) => {
    page.piece(first);
    for (let i = 0; i < fields.length; i++) {
      fields[i](page, record, names, counters);
      page.piece(others[i]);
    }
  };
}

const number =
  (of: (record: RecordView) => number): Field =>
  (page, record) =>
    page.decimal(of(record));

const word =
  (of: (record: RecordView) => string): Field =>
  (page, record) =>
    page.text(of(record));

/** 64 bits: beyond what a number holds they are rare, and slow. */
const long =
  (of: (record: RecordView) => bigint): Field =>
  (page, record) => {
    const value = of(record);
    const short = Number(value);
    if (short <= Number.MAX_SAFE_INTEGER) page.decimal(short);
    else page.text(String(value));
  };

const name =
  (of: (record: RecordView) => number): Field =>
  (page, record, names) =>
    page.text(escapeXml(nodeName(of(record), names)));

const has = (option: number): Field =>
  word((record) => (record.options & option ? 'true' : 'false'));

const tupleOf = (record: RecordView, leg: Leg): number =>
  record.offset + RecordOffset.tuple + TUPLE_SIZE * leg;

/** @param at in the tuple */
const address =
  (leg: Leg, at: number): Field =>
  (page, record) => {
    const { bytes } = record;
    const from = tupleOf(record, leg) + at;
    if (!isMapped(bytes, from)) {
      page.text(formatAddress(bytes, from));
      return;
    }
    for (let i = from + 12; i < from + 16; i++) {
      if (i > from + 12) page.text('.');
      page.decimal(bytes[i]);
    }
  };

/** A tuple as conntrack shows it: from the far end of the leg to this node. */
const meta = (leg: Leg): Field => template`<meta ${word(() =>
  leg === 0 ? 'direction="original" leg="client"' : 'direction="reply" leg="server"',
)}><layer3 ${word((record) =>
  isMapped(record.bytes, tupleOf(record, leg))
    ? 'protonum="2" protoname="ipv4"'
    : 'protonum="10" protoname="ipv6"',
)}><src>${address(leg, TupleOffset.saddr)}</src><dst>${address(leg, TupleOffset.daddr)}</dst></layer3>\
<layer4 protonum="6" protoname="tcp"><sport>${number((record) => record.tuple(leg).sourcePort)}</sport>\
<dport>${number((record) => record.tuple(leg).destinationPort)}</dport></layer4>${counted(leg)}</meta>`;

const counted =
  (direction: Leg): Field =>
  (page, _record, _names, counters) => {
    if (!counters) return;
    const [packets, bytes] = [counters.packets(direction), counters.bytes(direction)];
    page.text(`<counters><packets>${packets}</packets><bytes>${bytes}</bytes></counters>`);
  };

const independent = template`<meta direction="independent"><state>${word(overallState)}</state>\
<timeout>${number(expires)}</timeout><id>${long((record) => record.id)}</id>\
<origin>${name((record) => record.origin)}</origin><generation>${number((record) => record.generation)}</generation>\
<incarnation>${long((record) => record.incarnation)}</incarnation>\
<owner>${name((record) => record.owner)}</owner><epoch>${number((record) => record.epoch)}</epoch></meta>`;

const state = (leg: Leg): Field => word((record) => legState(record, leg));

const flags: Field = (page, record) => {
  const names = flagNames(record);
  for (let i = 0; i < names.length; i++) {
    if (i > 0) page.text(' ');
    page.text(names[i]);
  }
};

/** A number for each leg, or direction. */
const both = (of: (record: RecordView, leg: Leg) => number): [Field, Field] => [
  number((record) => of(record, 0)),
  number((record) => of(record, 1)),
];
const seq = both((record, direction) => record.seqDelta(direction));
const base = both((record, leg) => record.base(leg));
const tsval = both((record, direction) => record.tsvalDelta(direction));
const wscaleIn = both((record, leg) => record.wscaleIn(leg));
const wscaleOut = both((record, leg) => record.wscaleOut(leg));
const mss = both((record, leg) => record.mss(leg));

/** Directions are called original and reply, legs client and server. */
const splice = template`<splice client="${state(0)}" server="${state(1)}" flags="${flags}">\
<seq original="${seq[0]}" reply="${seq[1]}" client-base="${base[0]}" server-base="${base[1]}"/>\
<timestamp original="${tsval[0]}" reply="${tsval[1]}" client="${has(Option.TS0)}" server="${has(Option.TS1)}"/>\
<window client-in="${wscaleIn[0]}" client-out="${wscaleOut[0]}" \
server-in="${wscaleIn[1]}" server-out="${wscaleOut[1]}"/>\
<sack client="${has(Option.SACK0)}" server="${has(Option.SACK1)}"/>\
<ecn client="${has(Option.ECN0)}" server="${has(Option.ECN1)}"/>\
<mss client="${mss[0]}" server="${mss[1]}"/></splice>`;

export const xml: Rendering = {
  head: () => '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n',
  record: template`<flow>${meta(0)}${meta(1)}${independent}${splice}</flow>\n`,
  tail: '</conntrack>\n',
};
