/**
 * One sealed datagram, AES-256-GCM (NIST SP 800-38D):
 *
 *   0                    72            88                          -16
 *   +--------------------+-------------+----------------------------+-----+
 *   | header             | salt        | what followed the header,  | tag |
 *   | key id, counter    |             | encrypted                  |     |
 *   +--------------------+-------------+----------------------------+-----+
 *   |<---- additional data, in clear ->|
 *
 * Nonce: 4 zero octets, then the counter of the header. Key: HKDF-SHA256 (RFC 5869) of the pre-shared
 * key, with the salt, and with the sender's node id in the label. A salt is drawn for each session of
 * a sender, so no two of them share a key, and a counter is never used twice with one key.
 */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';
import { writeU64 } from '../wire/fields.js';
import { HEADER, HEADER_SIZE } from '../wire/header.js';

export const SALT_SIZE = 16;
export const TAG_SIZE = 16;
/** Octets that sealing adds to a datagram. */
export const OVERHEAD = SALT_SIZE + TAG_SIZE;
export const BODY = HEADER_SIZE + SALT_SIZE;
export const SECRET_SIZE = 32;
const ALGORITHM = 'aes-256-gcm';
const LABEL = 'spliced seal 1';
const NONCE_SIZE = 12;
const OPTIONS = { authTagLength: TAG_SIZE };

export interface SealKey {
  /** 1 to 255: names it in the header. */
  readonly id: number;
  /** SECRET_SIZE octets. An object that does not show them, wherever it is printed. */
  readonly secret: KeyObject;
}

/** The key of one session and its nonce: seals or opens, in buffers that are used again. */
export class Box {
  readonly keyId: number;
  readonly #key: KeyObject;
  readonly #nonce = new Uint8Array(NONCE_SIZE);
  readonly #nonceView = new DataView(this.#nonce.buffer);

  constructor(key: SealKey, sender: number, salt: Uint8Array) {
    this.keyId = key.id;
    const label = Buffer.alloc(LABEL.length + 4);
    label.write(LABEL, 'latin1');
    label.writeUInt32LE(sender, LABEL.length);
    this.#key = createSecretKey(
      Buffer.from(hkdfSync('sha256', key.secret, salt, label, SECRET_SIZE)),
    );
  }

  /** Seals `plain` into `into`; returns how many octets it takes there. */
  seal(plain: Uint8Array, salt: Uint8Array, counter: number, into: Uint8Array): number {
    const size = plain.length + OVERHEAD;
    into.set(plain.subarray(0, HEADER_SIZE));
    into.set(salt, HEADER_SIZE);
    const view = new DataView(into.buffer, into.byteOffset, size);
    HEADER.key.write(view, HEADER.key.at, this.keyId);
    HEADER.length.write(view, HEADER.length.at, size - HEADER_SIZE);
    HEADER.nonce.write(view, HEADER.nonce.at, counter);
    const cipher = createCipheriv(ALGORITHM, this.#key, this.#nonceOf(counter), OPTIONS);
    cipher.setAAD(into.subarray(0, BODY));
    into.set(cipher.update(plain.subarray(HEADER_SIZE)), BODY);
    cipher.final();
    into.set(cipher.getAuthTag(), size - TAG_SIZE);
    return size;
  }

  /**
   * Opens `sealed` (OVERHEAD octets of body at least) into `into`, as it was before; returns how many
   * octets it takes there. Undefined: this key has not sealed it, or not so; `into` is as it was.
   */
  open(sealed: Uint8Array, counter: number, into: Uint8Array): number | undefined {
    const size = sealed.length - OVERHEAD;
    const decipher = createDecipheriv(ALGORITHM, this.#key, this.#nonceOf(counter), OPTIONS);
    decipher.setAAD(sealed.subarray(0, BODY));
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_SIZE));
    const body = decipher.update(sealed.subarray(BODY, sealed.length - TAG_SIZE));
    try {
      decipher.final();
    } catch {
      return undefined;
    }
    into.set(sealed.subarray(0, HEADER_SIZE));
    into.set(body, HEADER_SIZE);
    const view = new DataView(into.buffer, into.byteOffset, size);
    HEADER.key.write(view, HEADER.key.at, 0);
    HEADER.length.write(view, HEADER.length.at, size - HEADER_SIZE);
    HEADER.nonce.write(view, HEADER.nonce.at, 0);
    return size;
  }

  #nonceOf(counter: number): Uint8Array {
    writeU64(this.#nonceView, NONCE_SIZE - 8, counter);
    return this.#nonce;
  }
}
