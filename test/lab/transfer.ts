import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import type { Lab } from './lab.js';
import { type Service, urlOf } from './services.js';
import type { Content, Sample } from './web.js';

export type Kind = 'download' | 'upload';

/** Client ports tell the two kinds apart, so that a table's rows can be matched with transfers. */
export const FIRST_PORT: Record<Kind, number> = { download: 20_000, upload: 40_000 };

/** Seconds without a byte: far more than any takeover takes, on a starved machine too. */
const GIVE_UP_S = 20;

/** How a transfer came to its end. */
export type Outcome = { ok: true } | Failure;

export interface Failure {
  ok: false;
  why: 'reset' | 'refused' | 'timeout' | 'cut short' | 'wrong bytes' | 'other';
  said: string;
}

/** curl's exit status (man curl, EXIT CODES) for what a connection can die of. */
function reasonOf(status: number, said: string): Failure['why'] {
  if (/reset by peer/i.test(said)) return 'reset';
  if (status === 7) return 'refused';
  if (status === 28) return 'timeout';
  if (status === 18 || status === 52) return 'cut short';
  return 'other';
}

/**
 * One curl, one TCP connection, no retry, no resume. A download is hashed as it streams by, an
 * upload is hashed from what the server has stored.
 *
 * The process is made ahead of its time and waits: spawning blocks this thread until the child has
 * been scheduled, and on a busy machine that would show up as pauses of the other transfers.
 */
export class Transfer {
  begun = Number.POSITIVE_INFINITY;
  readonly port: number;
  ended: number | undefined;
  outcome: Outcome | undefined;
  bytes = 0;
  /** When the last byte was seen to arrive; for uploads kept by the watcher of acknowledgements. */
  lastByteAt = 0;
  firstByteAt: number | undefined;
  /** The longest pause that ended after the takeover began, in ms. */
  stall = 0;
  readonly done: Promise<void>;
  /** Called when bytes have arrived. */
  onBytes: (() => void) | undefined;
  #takeoverAt = Number.POSITIVE_INFINITY;
  readonly #child: ChildProcess;

  constructor(
    lab: Lab,
    readonly kind: Kind,
    readonly index: number,
    readonly service: Service,
    sample: Sample,
    content: Content,
    bytesPerSecond: number,
  ) {
    this.port = FIRST_PORT[kind] + index;
    const upload = `upload-${index}`;
    const argv = ['curl', '-sS', '-q', '--http1.1', '--local-port', String(this.port)];
    // No --retry, and num_connects proves that there was one connection. A client that only waits is
    // never told that nobody is left to answer: such a transfer counts as broken after a while.
    argv.push('--max-time', '90', '--speed-limit', '1', '--speed-time', String(GIVE_UP_S));
    argv.push('-w', '%{stderr}\n%{http_code} %{num_connects}');
    if (kind === 'download') {
      argv.push(`${urlOf(service)}/get/${sample.name}`);
    } else {
      // Without Expect the body follows its head at once, and streams through the splicing.
      argv.push('-H', 'Expect:', '-T', sample.path, '--limit-rate', String(bytesPerSecond));
      argv.push(`${urlOf(service)}/put/${upload}`);
    }
    const wait = ['/bin/sh', '-c', 'read go && exec "$@"', 'sh'];
    const child = lab.spawn('client', [...wait, ...argv], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    child.stdin?.on('error', () => {}); // it may have been killed with the lab
    const hash = createHash('sha256');
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      if (kind === 'download') {
        hash.update(chunk);
        this.progress(this.bytes + chunk.length);
      }
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    this.done = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', async (status) => {
        try {
          this.ended = performance.now();
          const [code, connects] = (said.trimEnd().split('\n').pop() ?? '').split(' ');
          const found = kind === 'download' ? hash.digest('hex') : await content.takeUpload(upload);
          const right = kind === 'download' ? code === '200' : code === '201' || code === '204';
          if (status !== 0 || !right || connects !== '1') {
            this.outcome = { ok: false, why: reasonOf(status ?? -1, said), said: said.trim() };
          } else if (found !== sample.sha256) {
            this.outcome = { ok: false, why: 'wrong bytes', said: `sha256 ${found}` };
          } else {
            this.outcome = { ok: true };
            this.bytes = sample.bytes;
          }
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  begin(): void {
    this.begun = performance.now();
    this.lastByteAt = this.begun;
    this.#child.stdin?.end('go\n');
  }

  get live(): boolean {
    return this.begun !== Number.POSITIVE_INFINITY && this.ended === undefined;
  }

  /** Pauses that end after this count as the takeover's; Infinity: they do no longer. */
  takeover(at: number): void {
    this.#takeoverAt = at;
  }

  /** So many bytes have arrived by now. */
  progress(bytes: number): void {
    if (bytes <= this.bytes || this.ended !== undefined) return;
    const now = performance.now();
    if (now > this.#takeoverAt) this.stall = Math.max(this.stall, now - this.lastByteAt);
    this.bytes = bytes;
    this.lastByteAt = now;
    this.firstByteAt ??= now;
    this.onBytes?.();
  }
}
