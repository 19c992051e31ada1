import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Lab } from './lab.js';
import { CLIENT_ADDRESS } from './topology.js';
import { FIRST_PORT, Transfer } from './transfer.js';
import type { Content } from './web.js';

export interface TrafficOptions {
  flows: number;
  bytesPerSecond: number;
  /** Transfers begin evenly over this time. */
  startsOverMs: number;
}

/** Begins transfers at an even pace, downloads and uploads in turn, and keeps count of them. */
export class Traffic {
  readonly transfers: Transfer[] = [];
  readonly finished: Promise<void>;
  #takeoverAt = Number.POSITIVE_INFINITY;
  #failed: unknown;

  constructor(lab: Lab, content: Content, options: TrafficOptions) {
    const began = performance.now();
    this.finished = new Promise((resolve, reject) => {
      const timer = setInterval(() => {
        const due = ((performance.now() - began) / options.startsOverMs) * options.flows;
        while (this.transfers.length < Math.min(due, options.flows)) {
          const index = this.transfers.length;
          const transfer = new Transfer(
            lab,
            index % 2 === 0 ? 'download' : 'upload',
            index,
            content.samples[(index >> 1) % content.samples.length],
            content,
            options.bytesPerSecond,
          );
          transfer.done.catch((error) => {
            this.#failed ??= error;
          });
          transfer.takeover(this.#takeoverAt);
          this.transfers.push(transfer);
        }
        if (this.transfers.length < options.flows) return;
        clearInterval(timer);
        Promise.all(this.transfers.map((t) => t.done)).then(() => resolve(), reject);
      }, 5);
    });
  }

  get live(): Transfer[] {
    return this.transfers.filter((t) => t.live);
  }

  get bytes(): number {
    return this.transfers.reduce((sum, t) => sum + t.bytes, 0);
  }

  takeover(at: number): void {
    this.#takeoverAt = at;
    for (const transfer of this.transfers) transfer.takeover(at);
  }
}

/**
 * Watches how far the uploads have got, by what the client's kernel says has been acknowledged:
 * what curl has written may still be waiting in a socket buffer.
 */
export class UploadWatch {
  #child: ChildProcess | undefined;

  constructor(
    readonly lab: Lab,
    readonly traffic: Traffic,
    everyMs: number,
  ) {
    this.every(everyMs);
  }

  /** Looks this often from now on. */
  every(ms: number): void {
    this.stop();
    const ours = `dst ${CLIENT_ADDRESS} and sport ge :${FIRST_PORT.upload}`;
    const look = `while ss -tinOH ${ours}; do sleep ${ms / 1000}; done`;
    const child = this.lab.spawn('client', ['/bin/sh', '-c', look], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    child.on('error', () => {});
    if (child.stdout) createInterface(child.stdout).on('line', (line) => this.#see(line));
    this.#child = child;
  }

  stop(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  #see(line: string): void {
    const port = /:(\d+)\s+\S+:80\s/.exec(line)?.[1];
    const acked = /bytes_acked:(\d+)/.exec(line)?.[1];
    if (port === undefined || acked === undefined) return;
    this.traffic.transfers[Number(port) - FIRST_PORT.upload]?.progress(Number(acked));
  }
}
