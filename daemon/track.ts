// The file by which keepalived (track_file) knows whether this node may be the active one.
import { renameSync, writeFileSync } from 'node:fs';
import { DaemonError } from './error.js';

/**
 * What keepalived reads. With `weight 1`, its default, the number is added to the priority; below
 * -253, or with `weight 0` when it is not zero, the instance goes to FAULT and sends priority 0.
 */
export const TRACK = { inSync: 0, outOfSync: -100, handover: -254 } as const;
export type TrackState = keyof typeof TRACK;

export class TrackFile {
  private written: TrackState | undefined;

  constructor(private readonly path: string | undefined) {}

  get configured(): boolean {
    return this.path !== undefined;
  }

  get state(): TrackState | undefined {
    return this.written;
  }

  /** Replaces the file in one step, since keepalived may read it at any moment. */
  write(state: TrackState): void {
    if (this.written === state) return;
    if (this.path !== undefined) {
      const temporary = `${this.path}.${process.pid}`;
      try {
        writeFileSync(temporary, `${TRACK[state]}\n`);
        renameSync(temporary, this.path);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        throw new DaemonError(
          'TRACK_FILE',
          `the track file ${this.path} cannot be written (${code}): create its directory or change TrackFile`,
        );
      }
    }
    this.written = state;
  }
}
