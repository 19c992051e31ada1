/**
 * Output in the making: octets rather than strings, which would have to be put together, made flat and
 * encoded again for each record.
 */

/** What a page has at first; it grows where that is too little. */
const PAGE_SIZE = 1 << 18;
/** By number below 100: its two digits, one after the other. */
const PAIRS = Uint8Array.from(
  Array.from({ length: 100 }, (_, n) => [48 + Math.floor(n / 10), 48 + (n % 10)]).flat(),
);
const HEX = ascii('0123456789ABCDEF');
const BILLION = 1_000_000_000;
const BILLION_DIGITS = 9;
/** Digits of a number below 2^53, and some more. */
const DIGITS_MAX = 18;

/** ASCII that is written again and again: pieces are short, and word by word they are copied fastest. */
export class Piece {
  readonly words: Uint32Array;
  /** Octets; what the last word has beyond them is written over. */
  readonly length: number;

  constructor(text: string) {
    const octets = ascii(text);
    this.length = octets.length;
    this.words = new Uint32Array(Math.ceil(octets.length / 4));
    new Uint8Array(this.words.buffer).set(octets);
  }
}

export class Page {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor() {
    this.#bytes = new Uint8Array(PAGE_SIZE);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** What has been written, which is the caller's to keep; the page is empty again. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#use(new Uint8Array(PAGE_SIZE));
    this.#length = 0;
    return taken;
  }

  piece({ words, length }: Piece): void {
    this.#room(4 * words.length);
    const view = this.#view;
    let at = this.#length;
    this.#length = at + length;
    for (let i = 0; i < words.length; i++, at += 4) view.setUint32(at, words[i], true);
  }

  text(text: string): void {
    const { length } = text;
    this.#room(3 * length); // octets of UTF-8 at most
    const bytes = this.#bytes;
    const at = this.#length;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) {
        this.#unicode(text);
        return;
      }
      bytes[at + i] = code;
    }
    this.#length = at + length;
  }

  /** UTF-8 (RFC 3629), of which half a surrogate pair is none. */
  #unicode(text: string): void {
    for (const character of text) {
      let code = character.codePointAt(0) ?? 0;
      if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
      const following = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x1_0000 ? 2 : 3;
      const mark = following === 0 ? 0 : ~(0x7f >> following) & 0xff;
      this.#bytes[this.#length++] = mark | (code >> (6 * following));
      for (let left = following - 1; left >= 0; left--) {
        this.#bytes[this.#length++] = 0x80 | ((code >> (6 * left)) & 0x3f);
      }
    }
  }

  /** Octets as hexadecimal digits. */
  hex(octets: Uint8Array, from: number, to: number): void {
    this.#room(2 * (to - from));
    const bytes = this.#bytes;
    let at = this.#length;
    for (let i = from; i < to; i++) {
      bytes[at++] = HEX[octets[i] >> 4];
      bytes[at++] = HEX[octets[i] & 0xf];
    }
    this.#length = at;
  }

  /** A whole number, 0 or above, up to 2^53. */
  decimal(number: number): void {
    this.#room(DIGITS_MAX);
    if (number < BILLION) {
      this.#digits(number, digitsOf(number));
      return;
    }
    const billions = Math.floor(number / BILLION);
    this.#digits(billions, digitsOf(billions));
    this.#digits(number - BILLION * billions, BILLION_DIGITS);
  }

  /** The last so many digits of a number below 2^31. */
  #digits(number: number, digits: number): void {
    const bytes = this.#bytes;
    let rest = number | 0;
    let at = this.#length + digits;
    const first = this.#length;
    this.#length = at;
    while (at - first >= 2) {
      const above = (rest / 100) | 0;
      const pair = 2 * (rest - 100 * above);
      bytes[--at] = PAIRS[pair + 1];
      bytes[--at] = PAIRS[pair];
      rest = above;
    }
    if (at > first) bytes[first] = 48 + rest;
  }

  #room(octets: number): void {
    if (this.#length + octets <= this.#bytes.length) return;
    const larger = new Uint8Array(2 * this.#bytes.length + octets);
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#use(larger);
  }

  #use(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/** Of a number below 2^31. */
function digitsOf(number: number): number {
  if (number < 100_000) {
    if (number < 100) return number < 10 ? 1 : 2;
    if (number < 10_000) return number < 1000 ? 3 : 4;
    return 5;
  }
  if (number < 10_000_000) return number < 1_000_000 ? 6 : 7;
  if (number < BILLION) return number < 100_000_000 ? 8 : 9;
  return 10;
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
