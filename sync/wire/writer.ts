import { checksum } from './checksum.js';
import { bothIpv4, CONTEXT_SIZE, Contexts, pack } from './compact.js';
import {
  HEADER_SIZE,
  HELLO_VERSION,
  type Header,
  MAGIC,
  NONCE_AT,
  Type,
  WIRE_VERSION,
  writeHeader,
} from './header.js';
import { RULES, SEGMENT_SIZE, Segment } from './segments.js';

/** What the header can say of the length. */
const LENGTH_MAX = 0xffff;

/** One datagram being written. The buffer is used again for the next one. */
export class Writer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #checksums: boolean;
  readonly #contexts = new Contexts();
  #at = HEADER_SIZE;
  #segment = 0;

  /** @param checksums whether a datagram gets its CRC-32 */
  constructor(mtu: number, checksums = true) {
    this.bytes = new Uint8Array(Math.min(mtu, HEADER_SIZE + LENGTH_MAX));
    this.view = new DataView(this.bytes.buffer);
    this.#checksums = checksums;
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

  /**
   * One more record in the compact form, which must be able to say it (`compressible`). False: it, or
   * the context that it would need, does not fit.
   * @param words a record begins at word `at`
   * @param elapsed ms since its times were right
   */
  compact(words: Uint32Array, at: number, elapsed: number): boolean {
    const short = bothIpv4(words, at);
    const type = short ? Segment.RECORD4 : Segment.RECORD6;
    let context = this.#contexts.find(words, at);
    if (context < 0) {
      const needed = CONTEXT_SIZE + SEGMENT_SIZE + RULES[type].size;
      if (this.#contexts.full || this.left < needed) return false;
      context = this.#contexts.add(words, at, this.view, this.item(Segment.CONTEXT));
    } else if (!this.fits(type)) {
      return false;
    }
    pack(words, at, this.view, this.item(type), short, context, elapsed);
    return true;
  }

  /** The finished datagram, valid until the next item is written. */
  finish(fields: Partial<Header> & { type: number; sender: number }): Uint8Array {
    writeHeader(this.view, {
      magic: MAGIC,
      version: fields.version ?? (fields.type === Type.HELLO ? HELLO_VERSION : WIRE_VERSION),
      type: fields.type,
      flags: fields.flags ?? 0,
      key: fields.key ?? 0,
      sender: fields.sender,
      receiver: fields.receiver ?? 0,
      incarnation: fields.incarnation ?? 0,
      receiverIncarnation: fields.receiverIncarnation ?? 0,
      sequence: fields.sequence ?? 0,
      oldest: fields.oldest ?? 0,
      ack: fields.ack ?? 0,
      epoch: fields.epoch ?? 0,
      length: this.#at - HEADER_SIZE,
      reserved: fields.reserved ?? 0,
      nonce: fields.nonce ?? 0,
    });
    const datagram = this.bytes.subarray(0, this.#at);
    if (this.#checksums) this.view.setUint32(NONCE_AT, checksum(datagram), true);
    this.#at = HEADER_SIZE;
    this.#segment = 0;
    this.#contexts.clear();
    return datagram;
  }

  #grows(type: number): boolean {
    return this.bytes[this.#segment] === type && this.bytes[this.#segment + 1] < 255;
  }
}
