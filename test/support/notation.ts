// SPDX-License-Identifier: MIT
/**
 * A segment written as a line, so that an incoming and an expected packet can stand one above the
 * other and be compared by eye:
 *
 *   client > virtual  PA  seq 1000   ack 907000  win 512  ttl 64  <nop,nop,ts 100 20500>  "GET /"
 *   proxy  > server   PA  seq 51000  ack 7000    win 256  ttl 63  <nop,nop,ts 10100 500>  "GET /"
 *
 * First the two ends, by name or as address:port; then the flags, of SFRPAU; then in any order numbers
 * by name (seq ack win urg ttl tos id frag offset length type protocol; 0x… allowed), the Ethernet
 * destination (`mac 02:…`), options in < >, and the payload in quotation marks or as `data N` for N
 * bytes of filling. What is not said has packet.ts's default.
 */
import type { Segment, TcpOption } from './packet.js';

/** Names of ends, to address:port. */
export type Ends = Record<string, string>;

const NUMBERS = {
  seq: 'seq',
  ack: 'ack',
  win: 'window',
  urg: 'urgent',
  ttl: 'ttl',
  tos: 'tos',
  id: 'id',
  frag: 'fragment',
  offset: 'dataOffset',
  length: 'totalLength',
  type: 'etherType',
  protocol: 'protocol',
} as const;

/** Reads one line; throws on a word that it does not know. */
export function segment(line: string, ends: Ends): Segment {
  const words: string[] = line.match(/<[^>]*>|"[^"]*"|[^\s<"]+/g) ?? [];
  const [from, arrow, to, flags, ...rest] = words;
  if (arrow !== '>' || words.length < 4) throw new Error(`no segment: ${line}`);
  const s: Segment = { from: end(from, ends), to: end(to, ends), flags, seq: 0 };
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word.startsWith('<')) s.options = options(word.slice(1, -1));
    else if (word.startsWith('"')) s.payload = word.slice(1, -1);
    else if (word === 'data') s.payload = filling(Number(rest.shift()));
    else if (word === 'mac') s.mac = rest.shift() ?? '';
    else if (word in NUMBERS) s[NUMBERS[word as keyof typeof NUMBERS]] = Number(rest.shift());
    else throw new Error(`'${word}' means nothing in: ${line}`);
  }
  return s;
}

function end(name: string, ends: Ends): string {
  const known = ends[name] ?? name;
  if (!known.includes(':')) throw new Error(`no end is called '${name}'`);
  return known;
}

/** `nop,ts 100 200,sack 1-2 3-4,mss 1460,wscale 7,sackok,end,raw 254 2`. */
function options(text: string): TcpOption[] {
  return text.split(',').map((part): TcpOption => {
    const [kind, ...values] = part.trim().split(/ +/);
    const numbers = values.map(Number);
    switch (kind) {
      case 'nop':
        return { nop: true };
      case 'end':
        return { end: true };
      case 'sackok':
        return { sackPermitted: true };
      case 'mss':
        return { mss: numbers[0] };
      case 'wscale':
        return { windowScale: numbers[0] };
      case 'ts':
        return { timestamp: [numbers[0], numbers[1]] };
      case 'sack':
        return { sack: values.map((block) => block.split('-').map(Number) as [number, number]) };
      case 'raw':
        return { raw: numbers };
    }
    throw new Error(`no option is called '${kind}'`);
  });
}

function filling(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + 7) & 0xff);
}
