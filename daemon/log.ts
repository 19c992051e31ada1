// The log: one JSON object a line, on standard output or in a file.
import { closeSync, openSync } from 'node:fs';
import { destination, type Logger, pino } from 'pino';
import { DaemonError } from './error.js';

export type Log = Logger;

export interface OpenedLog {
  readonly log: Log;
  /** Opens the file anew, for whoever has moved it away. */
  readonly reopen: () => void;
}

/** `file` unset: standard output. Throws DaemonError. */
export function openLog(file: string | undefined, node: string): OpenedLog {
  if (file !== undefined) assertWritable(file);
  // Written at once: the last line before a death is the one that is wanted.
  const stream = destination(
    file === undefined ? { fd: 1, sync: true } : { dest: file, sync: true },
  );
  const log = pino(
    { base: { node }, timestamp: pino.stdTimeFunctions.isoTime, messageKey: 'message' },
    stream,
  );
  return { log, reopen: () => file !== undefined && stream.reopen() };
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
