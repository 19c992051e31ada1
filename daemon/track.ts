// The file by which keepalived (track_file) knows whether this node may be the active one.
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { DaemonError } from './error.js';

/**
 * What keepalived reads. With `weight 1`, its default, the number is added to the priority; below
 * -253, or with `weight 0` when it is not zero, the instance goes to FAULT and sends priority 0.
 */
export const TRACK = { inSync: 0, outOfSync: -100, handover: -254 } as const;
export type TrackState = keyof typeof TRACK;

/** So soon what could not be written is tried again. */
const AGAIN_MS = 1000;
/** A disk without room is a passing thing; a directory that is not there is a mistake. */
const PASSING = new Set(['ENOSPC', 'EDQUOT', 'EIO']);

export class TrackFile {
  readonly counters = { track_file_errors: 0 };
  private written: TrackState | undefined;
  private again: NodeJS.Timeout | undefined;

  constructor(private readonly path: string | undefined) {}

  get configured(): boolean {
    return this.path !== undefined;
  }

  get state(): TrackState | undefined {
    return this.written;
  }

  /** Replaces the file in one step, since keepalived may read it at any moment. Throws DaemonError. */
  write(state: TrackState): void {
    clearTimeout(this.again);
    if (this.written === state) return;
    if (this.path !== undefined) replace(this.path, `${TRACK[state]}\n`);
    this.written = state;
  }

  /**
   * The same, and what a full disk has no room for is tried again until it has, or something else is to
   * be written. Returns what went wrong at first. Throws DaemonError if it will not pass by itself.
   */
  keep(state: TrackState): DaemonError | undefined {
    try {
      this.write(state);
      return undefined;
    } catch (error) {
      this.counters.track_file_errors++;
      const { code } = (error as DaemonError).cause as NodeJS.ErrnoException;
      if (!PASSING.has(code ?? '')) throw error;
      this.again = setTimeout(() => this.keep(state), AGAIN_MS);
      this.again.unref();
      return error as DaemonError;
    }
  }

  stop(): void {
    clearTimeout(this.again);
  }
}

function replace(path: string, text: string): void {
  const temporary = `${path}.${process.pid}`;
  try {
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    const { code } = cause as NodeJS.ErrnoException;
    const error = new DaemonError(
      'TRACK_FILE',
      `the track file ${path} cannot be written (${code}): create its directory or change TrackFile`,
    );
    error.cause = cause;
    throw error;
  }
}
