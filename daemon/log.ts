// The log: one JSON object a line, on standard output or in a file.
import { type DestinationStream, destination, type Logger, pino } from 'pino';
import { DaemonError } from './error.js';

export type Log = Logger;

/** `file` unset: standard output. */
export function openLog(file: string | undefined, node: string): Log {
  return pino(
    { base: { node }, timestamp: pino.stdTimeFunctions.isoTime, messageKey: 'message' },
    open(file),
  );
}

function open(file: string | undefined): DestinationStream {
  try {
    // Written at once: the last line before a death is the one that is wanted.
    return destination(file === undefined ? { fd: 1, sync: true } : { dest: file, sync: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new DaemonError(
      'LOG_FILE',
      `the log file ${file} cannot be opened (${code}): create its directory or change LogFile`,
    );
  }
}
