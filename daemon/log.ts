// The log: one JSON object a line, on standard output or in a file.
import { closeSync, openSync } from 'node:fs';
import { destination, type Logger, pino } from 'pino';
import { DaemonError } from './error.js';

export type Log = Logger;

/** What waits for room on a full disk; what comes after that is lost. */
const WAITING_OCTETS_MAX = 1 << 20;

export interface LogCounters {
  /** Writes that failed, and lines that were lost for it. */
  log_errors: number;
  log_lost: number;
}

export interface OpenedLog {
  readonly log: Log;
  readonly counters: LogCounters;
  /** Opens the file anew, for whoever has moved it away. */
  readonly reopen: () => void;
}

/** `file` unset: standard output. Throws DaemonError. */
export function openLog(file: string | undefined, node: string): OpenedLog {
  if (file !== undefined) assertWritable(file);
  // Written at once: the last line before a death is the one that is wanted.
  const stream = destination({
    ...(file === undefined ? { fd: 1 } : { dest: file }),
    sync: true,
    maxLength: WAITING_OCTETS_MAX,
  });
  const counters = { log_errors: 0, log_lost: 0 };
  // Without somebody who listens, the call that logs would throw: in the middle of a takeover, it may be.
  stream.on('error', () => counters.log_errors++);
  stream.on('drop', () => counters.log_lost++);
  const log = pino(
    { base: { node }, timestamp: pino.stdTimeFunctions.isoTime, messageKey: 'message' },
    stream,
  );
  return { log, counters, reopen: () => file !== undefined && stream.reopen() };
}

function assertWritable(file: string): void {
  try {
    closeSync(openSync(file, 'a'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new DaemonError(
      'LOG_FILE',
      `the log file ${file} cannot be opened (${code}): create its directory or change LogFile`,
    );
  }
}
