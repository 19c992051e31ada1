import { HEADER_FIELDS, HEADER_SIZE, type Header, MAGIC, WIRE_VERSION } from './header.js';
import { RULES, SEGMENT_SIZE } from './segments.js';

/** One datagram being written. The buffer is used again for the next one. */
export class Writer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  #at = HEADER_SIZE;
  #segment = 0;

  constructor(mtu: number) {
    this.bytes = new Uint8Array(mtu);
    this.view = new DataView(this.bytes.buffer);
  }

  get empty(): boolean {
    return this.#at === HEADER_SIZE;
  }

  /** Octets left, if a new segment has to begin. */
  get left(): number {
    return this.bytes.length - this.#at - SEGMENT_SIZE;
  }

  /** Room for one more item of this type? */
  fits(type: number): boolean {
    const size = RULES[type].size;
    const grows = this.#segment > 0 && this.#grows(type);
    return this.bytes.length - this.#at >= size + (grows ? 0 : SEGMENT_SIZE);
  }

  /** Where to write one more item of this type, which must fit. */
  item(type: number): number {
    if (this.#segment === 0 || !this.#grows(type)) {
      this.#segment = this.#at;
      this.bytes[this.#at] = type;
      this.bytes[this.#at + 1] = 0;
      this.#at += SEGMENT_SIZE;
    }
    const at = this.#at;
    this.#at += RULES[type].size;
    this.bytes[this.#segment + 1]++;
    this.view.setUint16(this.#segment + 2, this.#at - this.#segment - SEGMENT_SIZE, true);
    return at;
  }

  /** The finished datagram, valid until the next item is written. */
  finish(fields: Partial<Header> & { type: number; sender: number }): Uint8Array {
    const header = {
      ...fields,
      magic: MAGIC,
      version: WIRE_VERSION,
      length: this.#at - HEADER_SIZE,
    };
    for (const [name, field] of HEADER_FIELDS) {
      field.write(this.view, field.at, (header as Partial<Header>)[name] ?? 0);
    }
    const datagram = this.bytes.subarray(0, this.#at);
    this.#at = HEADER_SIZE;
    this.#segment = 0;
    return datagram;
  }

  #grows(type: number): boolean {
    return this.bytes[this.#segment] === type && this.bytes[this.#segment + 1] < 255;
  }
}
