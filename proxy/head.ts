/**
 * The head of an HTTP/1.x request (RFC 9112), read only as far as a load balancer must: is it
 * complete, and is it a request at all? What was read goes to the real server unchanged.
 *
 * Accepted as RFC 9112 allows: empty lines before the request line, a bare LF as the end of a line.
 * Refused as it demands: white space before a colon, folded lines, a lone CR, control characters.
 */
import type { Socket } from 'node:net';

export const HEAD_SIZE_MAX = 16 * 1024;
export const HEAD_TIMEOUT_MS = 10_000;
const METHOD_LENGTH_MAX = 32;

export type HeadErrorCode = 'MALFORMED' | 'VERSION' | 'TOO_LARGE' | 'TIMEOUT' | 'CLIENT_GONE';

export class HeadError extends Error {
  override readonly name = 'HeadError';
  constructor(
    readonly code: HeadErrorCode,
    message: string,
  ) {
    super(message);
  }
}

export interface RequestHead {
  method: string;
  /** The head and whatever came after it, as it was read. */
  bytes: Buffer;
  headLength: number;
}

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SP = 0x20;
const COLON = 0x3a;
const DEL = 0x7f;
const VERSION_FORM = Buffer.from('HTTP/1.1');
const VERSION_LENGTH = VERSION_FORM.length;

/** tchar of RFC 9110 section 5.6.2, by byte. */
const isToken = new Uint8Array(256);
for (const c of Buffer.from(
  "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
)) {
  isToken[c] = 1;
}

const isText = (c: number) => (c >= SP && c !== DEL) || c === TAB;
const isDigit = (c: number) => c >= 0x30 && c <= 0x39;

type Part = 'start' | 'method' | 'target' | 'version' | 'line' | 'name' | 'value' | 'lf' | 'done';

/** Looks at every byte once, however the request was cut into segments. */
export class HeadScanner {
  method = '';
  /** Bytes of the head, once feed() has answered true. */
  length = 0;
  #part: Part = 'start';
  #partLength = 0;
  #afterLf: Part = 'start';
  #major = 0;

  /** True when the head ends in this chunk; throws HeadError when it is none. */
  feed(chunk: Uint8Array): boolean {
    for (const c of chunk) {
      const next = this.#take(c);
      this.#partLength = next === this.#part ? this.#partLength + 1 : 0;
      this.#part = next;
      this.length++;
      if (next === 'done') return true;
      if (this.length >= HEAD_SIZE_MAX) {
        throw new HeadError('TOO_LARGE', `the request head is longer than ${HEAD_SIZE_MAX} bytes`);
      }
    }
    return false;
  }

  /** The part that the next byte belongs to. */
  #take(c: number): Part {
    switch (this.#part) {
      case 'start':
        return this.#lineEnd(c, 'start') ?? this.#takeMethod(c);
      case 'method':
        return c === SP ? 'target' : this.#takeMethod(c);
      case 'target':
        if (c === SP && this.#partLength > 0) return 'version';
        if (c <= SP || c === DEL) throw malformed('the request target');
        return 'target';
      case 'version':
        return this.#takeVersion(c);
      case 'line': {
        const ended = this.#lineEnd(c, 'done');
        if (!ended && !isToken[c]) throw malformed('the start of a header field');
        return ended ?? 'name';
      }
      case 'name':
        if (c === COLON) return 'value';
        if (!isToken[c]) throw malformed('a header field name');
        return 'name';
      case 'value': {
        const ended = this.#lineEnd(c, 'line');
        if (!ended && !isText(c)) throw malformed('a header field value');
        return ended ?? 'value';
      }
      case 'lf':
        if (c !== LF) throw malformed('the end of a line');
        return this.#afterLf;
      case 'done':
        throw new Error('a head that is complete takes no further byte');
    }
  }

  #takeMethod(c: number): Part {
    if (!isToken[c] || this.method.length >= METHOD_LENGTH_MAX) throw malformed('the method');
    this.method += String.fromCharCode(c);
    return 'method';
  }

  #takeVersion(c: number): Part {
    const at = this.#partLength;
    if (at === VERSION_LENGTH) {
      const ended = this.#lineEnd(c, 'line');
      if (!ended) throw malformed('the protocol version');
      return ended;
    }
    const digit = at === 5 || at === 7;
    if (digit ? !isDigit(c) : c !== VERSION_FORM[at]) throw malformed('the protocol version');
    if (at === 5) this.#major = c - 0x30;
    if (at === 7 && this.#major !== 1) {
      throw new HeadError('VERSION', `HTTP/${this.#major} is not HTTP/1.x`);
    }
    return 'version';
  }

  /** Where a line may end: the part after its end, by way of the LF when this is the CR. */
  #lineEnd(c: number, next: Part): Part | undefined {
    if (c === LF) return next;
    if (c !== CR) return undefined;
    this.#afterLf = next;
    return 'lf';
  }
}

function malformed(where: string): HeadError {
  return new HeadError('MALFORMED', `${where} is not what HTTP/1.x allows there`);
}

/**
 * Reads one request head, and not more than comes along with it. The socket is left in paused mode
 * with no listener of this function on it; its 'error' event is the caller's.
 */
export function readHead(socket: Socket, timeoutMs = HEAD_TIMEOUT_MS): Promise<RequestHead> {
  return new Promise((resolve, reject) => {
    const scanner = new HeadScanner();
    const chunks: Buffer[] = [];

    const finish = (settle: () => void) => {
      clearTimeout(timer);
      socket.off('readable', onReadable).off('end', onGone).off('close', onGone);
      settle();
    };
    const fail = (error: unknown) => finish(() => reject(error));
    const onGone = () =>
      fail(new HeadError('CLIENT_GONE', 'the client closed before its request was complete'));
    const onReadable = () => {
      for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
        chunks.push(chunk as Buffer);
        try {
          if (!scanner.feed(chunk)) continue;
        } catch (error) {
          return fail(error);
        }
        const head = { method: scanner.method, headLength: scanner.length };
        return finish(() => resolve({ ...head, bytes: Buffer.concat(chunks) }));
      }
    };
    const timer = setTimeout(
      () => fail(new HeadError('TIMEOUT', `no complete request within ${timeoutMs} ms`)),
      timeoutMs,
    );
    socket.on('readable', onReadable).on('end', onGone).on('close', onGone);
    if (socket.destroyed || socket.readableEnded) onGone();
  });
}
