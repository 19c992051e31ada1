// `spliced -d`: Node cannot fork, so a second process is started, and waited for until it is ready.
import { spawn } from 'node:child_process';
import { DaemonError } from './error.js';

/** What the started process tells the waiting one. */
type Report = { ready: true } | { ready: false; message: string };

const READY_TIMEOUT_MS = 60_000;

/** Starts this program again with the arguments, detached, and resolves when it serves. */
export function startDetached(script: string, args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, script, ...args], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    const fail = (message: string): void => reject(new DaemonError('START', message));
    const timer = setTimeout(() => {
      child.kill();
      fail(
        `the daemon was not ready within ${READY_TIMEOUT_MS / 1000} s: start it without -d to see why`,
      );
    }, READY_TIMEOUT_MS);
    child.once('error', (error) => fail(`the daemon could not be started: ${error.message}`));
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      fail(
        `the daemon ended at its start (${signal ?? `exit ${code}`}): start it without -d to see why`,
      );
    });
    child.once('message', (report: Report) => {
      clearTimeout(timer);
      child.removeAllListeners('exit');
      child.disconnect();
      child.unref();
      if (report.ready) resolve();
      else fail(report.message);
    });
  });
}

/** Called by the started process; does nothing when nobody waits for it. */
export function reportReady(): void {
  report({ ready: true });
}

export function reportFailure(message: string): void {
  report({ ready: false, message });
}

function report(what: Report): void {
  if (!process.connected) return;
  process.send?.(what, undefined, undefined, () => process.disconnect());
}
