/**
 * The two datagrams by which a session shows that it lives. Neither goes beyond the seal.
 *
 *   CHALLENGE  to one node: | salt of its session, 16 | challenge, 16 |
 *   PROOF      to the one who asked: | challenge, 16 |; to all (receiver 0): zeros, an offer
 */
import { HEADER, HEADER_SIZE, HELLO_VERSION, MAGIC, Type } from '../wire/header.js';
import { SALT_SIZE } from './box.js';
import { same } from './octets.js';

const CHALLENGE_SIZE = 16;
const PLAIN_SIZE_MAX = HEADER_SIZE + SALT_SIZE + CHALLENGE_SIZE;
const NO_CHALLENGE = new Uint8Array(CHALLENGE_SIZE);

export function isHandshake(type: number): boolean {
  return type === Type.CHALLENGE || type === Type.PROOF;
}

/** Writes them, in a buffer that is used again for the next one. */
export class Handshake {
  readonly #node: number;
  readonly #bytes = new Uint8Array(PLAIN_SIZE_MAX);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(node: number) {
    this.#node = node;
  }

  challenge(to: number, salt: Uint8Array, challenge: Uint8Array): Uint8Array {
    this.#bytes.set(salt, HEADER_SIZE);
    this.#bytes.set(challenge, HEADER_SIZE + SALT_SIZE);
    return this.#finish(Type.CHALLENGE, to, SALT_SIZE + CHALLENGE_SIZE);
  }

  proof(to: number, challenge: Uint8Array): Uint8Array {
    this.#bytes.set(challenge, HEADER_SIZE);
    return this.#finish(Type.PROOF, to, CHALLENGE_SIZE);
  }

  offer(): Uint8Array {
    return this.proof(0, NO_CHALLENGE);
  }

  #finish(type: number, receiver: number, length: number): Uint8Array {
    const fields = {
      magic: MAGIC,
      version: HELLO_VERSION,
      type,
      sender: this.#node,
      receiver,
      length,
    };
    for (const [name, value] of Object.entries(fields)) {
      const field = HEADER[name as keyof typeof fields];
      field.write(this.#view, field.at, value);
    }
    return this.#bytes.subarray(0, HEADER_SIZE + length);
  }
}

/** The parts of an opened CHALLENGE, or undefined where it is not as long as one. */
export function challengeIn(
  plain: Uint8Array,
): { salt: Uint8Array; challenge: Uint8Array } | undefined {
  if (plain.length !== PLAIN_SIZE_MAX) return undefined;
  const challengeAt = HEADER_SIZE + SALT_SIZE;
  return { salt: plain.subarray(HEADER_SIZE, challengeAt), challenge: plain.subarray(challengeAt) };
}

/** Is this opened PROOF the answer to that challenge? */
export function proves(plain: Uint8Array, challenge: Uint8Array): boolean {
  return plain.length === HEADER_SIZE + CHALLENGE_SIZE && same(challenge, plain, HEADER_SIZE);
}
