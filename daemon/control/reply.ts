// What a handler writes to its client before its result: frames, never faster than they are read.
import type { Socket } from 'node:net';
import { ControlError } from './error.js';
import {
  FRAME_PAYLOAD_MAX,
  frameHeader,
  type JsonObject,
  jsonFrame,
  KIND_COUNTED,
  KIND_RECORDS,
  RECORD_SIZES,
  type RecordsKind,
} from './frame.js';

export class Reply {
  private readonly abort = new AbortController();
  private readonly onGone = (): void => this.abort.abort();

  constructor(
    private readonly socket: Socket,
    private readonly stallMs: number,
  ) {
    if (socket.destroyed) this.abort.abort();
    // A client has nothing more to say; reading on is how its leaving is noticed.
    socket.on('close', this.onGone).on('end', this.onGone).on('data', this.onExtra).resume();
  }

  /** Fires when the client is gone, for handlers that wait for something. */
  get signal(): AbortSignal {
    return this.abort.signal;
  }

  async json(object: JsonObject): Promise<void> {
    await this.write(jsonFrame(object));
  }

  /**
   * n * RECORD_SIZE bytes, in frames within their bound. Resolves when more may be written, and by
   * then the bytes are no longer needed. Throws `closed` or `slow_reader`, which ends the handler.
   */
  async records(bytes: Uint8Array): Promise<void> {
    await this.frames(KIND_RECORDS, bytes);
  }

  /** The same of n * COUNTED_SIZE bytes. */
  async counted(bytes: Uint8Array): Promise<void> {
    await this.frames(KIND_COUNTED, bytes);
  }

  private async frames(kind: RecordsKind, bytes: Uint8Array): Promise<void> {
    const step = Math.floor(FRAME_PAYLOAD_MAX / RECORD_SIZES[kind]) * RECORD_SIZES[kind];
    for (let offset = 0; offset < bytes.length; offset += step) {
      const payload = bytes.subarray(offset, offset + step);
      this.socket.cork();
      this.socket.write(frameHeader(kind, payload.length));
      await this.write(payload);
    }
  }

  dispose(): void {
    this.socket.off('close', this.onGone).off('end', this.onGone).off('data', this.onExtra);
  }

  private readonly onExtra = (): void => {
    this.socket.destroy();
  };

  /** Resolves when the kernel has all of it: the bytes may be written over. */
  private write(bytes: Uint8Array): Promise<void> {
    if (this.socket.destroyed) return Promise.reject(gone());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const message = `the client has read nothing for ${this.stallMs} ms`;
        reject(new ControlError('slow_reader', message));
      }, this.stallMs);
      this.socket.write(bytes, (error) => {
        clearTimeout(timer);
        if (error) reject(gone());
        else resolve();
      });
      while (this.socket.writableCorked > 0) this.socket.uncork();
    });
  }
}

function gone(): ControlError {
  return new ControlError('closed', 'the client is gone');
}
