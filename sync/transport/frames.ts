/** Datagrams in a stream: each after its length, 32 bits, little-endian. */

export const LENGTH_SIZE = 4;
/** More than that is no length: the stream is not what it should be, or has lost its place. */
export const FRAME_MAX = 65_535;

const NOTHING = new Uint8Array(0);

export class FrameReader {
  /** The beginning of a frame whose rest is still to come. */
  #rest: Uint8Array = NOTHING;

  /**
   * More of the stream has come. `take` is given each datagram that is complete, valid during the call.
   * False: a length is nonsense; nothing that follows can be understood.
   */
  push(chunk: Uint8Array, take: (datagram: Uint8Array) => void): boolean {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    while (bytes.length - at >= LENGTH_SIZE) {
      const length = view.getUint32(at, true);
      if (length === 0 || length > FRAME_MAX) return false;
      if (bytes.length - at < LENGTH_SIZE + length) break;
      take(bytes.subarray(at + LENGTH_SIZE, at + LENGTH_SIZE + length));
      at += LENGTH_SIZE + length;
    }
    this.#rest = at === bytes.length ? NOTHING : bytes.slice(at);
    return true;
  }
}
