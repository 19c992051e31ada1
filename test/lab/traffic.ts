import type { ChildProcess } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Lab } from './lab.js';
import { type FamilyChoice, USED } from './services.js';
import { FIRST_PORT, Transfer } from './transfer.js';
import type { Content } from './web.js';

export interface TrafficOptions {
  family: FamilyChoice;
  flows: number;
  bytesPerSecond: number;
  /** Transfers begin evenly over this time. */
  startsOverMs: number;
}

/** Begins transfers at an even pace, kinds and services in turn, and keeps count of them. */
export class Traffic {
  /** Those that have begun. */
  readonly transfers: Transfer[] = [];
  /** Called when bytes of any transfer have arrived. */
  onBytes: (() => void) | undefined;
  #ready: Transfer[] = [];
  #takeoverAt = Number.POSITIVE_INFINITY;

  constructor(
    readonly lab: Lab,
    readonly content: Content,
    readonly options: TrafficOptions,
  ) {}

  /** Makes the client processes, which then wait. */
  async prepare(): Promise<void> {
    const { samples } = this.content;
    const services = USED[this.options.family];
    for (let index = 0; index < this.options.flows; index++) {
      const kind = index % 2 === 0 ? 'download' : 'upload';
      const sample = samples[(index >> 1) % samples.length];
      const service = services[(index >> 1) % services.length];
      const { lab, content } = this;
      const { bytesPerSecond } = this.options;
      this.#ready.push(new Transfer(lab, kind, index, service, sample, content, bytesPerSecond));
      // A turn of the event loop for everybody else.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Begins them one after the other; resolves when all have ended. */
  async run(): Promise<void> {
    const { flows, startsOverMs } = this.options;
    const began = performance.now();
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        const due = Math.min(((performance.now() - began) / startsOverMs) * flows, flows);
        while (this.transfers.length < due) this.#begin(this.#ready[this.transfers.length]);
        if (this.transfers.length < flows) return;
        clearInterval(timer);
        resolve();
      }, 5);
    });
    await Promise.all(this.transfers.map((t) => t.done));
  }

  #begin(transfer: Transfer): void {
    transfer.takeover(this.#takeoverAt);
    transfer.onBytes = () => this.onBytes?.();
    transfer.begin();
    this.transfers.push(transfer);
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
  readonly #child: ChildProcess;
  readonly #pace: string;

  constructor(
    lab: Lab,
    readonly traffic: Traffic,
    everyMs: number,
  ) {
    this.#pace = lab.path('client', 'upload-watch-pace');
    this.every(everyMs);
    const ours = `sport ge :${FIRST_PORT.upload}`;
    const look = `while ss -tinOH ${ours}; do read -r pause <"$1"; sleep "$pause"; done`;
    this.#child = lab.spawn('client', ['/bin/sh', '-c', look, 'sh', this.#pace], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#child.on('error', () => {});
    if (this.#child.stdout) {
      createInterface(this.#child.stdout).on('line', (line) => this.#see(line));
    }
  }

  /** Looks this often from now on. A new process at the moment that counts would disturb it. */
  every(ms: number): void {
    writeFileSync(`${this.#pace}.new`, `${ms / 1000}\n`);
    renameSync(`${this.#pace}.new`, this.#pace);
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }

  #see(line: string): void {
    const port = /:(\d+)\s+\S+:8[01]\s/.exec(line)?.[1];
    const acked = /bytes_acked:(\d+)/.exec(line)?.[1];
    if (port === undefined || acked === undefined) return;
    this.traffic.transfers[Number(port) - FIRST_PORT.upload]?.progress(Number(acked));
  }
}
