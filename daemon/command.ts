// A program of the operator's that is run to its end, or for so long. No shell is between: what the
// configuration says are the words of its command line, as they stand.
import { spawn } from 'node:child_process';

/** Of what it writes so much is kept for the log. */
const OUTPUT_MAX = 4096;
/** What it had written may still have to be read when it has ended. */
const OUTPUT_MS = 100;
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface CommandResult {
  readonly outcome: 'done' | 'failed' | 'timeout';
  /** How it ended: "exit status 1", "SIGSEGV", why it could not be started. */
  readonly how: string;
  /** Standard output and standard error, the beginning of it. */
  readonly output: string;
  readonly took_ms: number;
}

export interface Command {
  /** Absolute path and arguments. */
  readonly argv: readonly string[];
  /** All that it finds in its environment besides PATH. */
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** It is killed when this is aborted. */
  readonly signal?: AbortSignal;
}

/**
 * Standard input is empty, the working directory is /, and the process group its own: when the time is
 * over, all of it is killed. Never rejects.
 */
export function runCommand({ argv, env, timeoutMs, signal }: Command): Promise<CommandResult> {
  const began = performance.now();
  const [file, ...args] = argv;
  const child = spawn(file, args, {
    cwd: '/',
    env: { PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      output = (output + text).slice(0, OUTPUT_MAX);
    });
  }
  return new Promise((resolve) => {
    const kill = (): void => killGroup(child.pid);
    const end = (outcome: CommandResult['outcome'], how: string): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stopped);
      const took_ms = Math.round(performance.now() - began);
      resolve({ outcome, how, output: output.trim(), took_ms });
    };
    const timer = setTimeout(() => {
      kill();
      end('timeout', `killed after ${timeoutMs} ms`);
    }, timeoutMs);
    const stopped = (): void => {
      kill();
      end('failed', 'killed: the daemon stops');
    };
    signal?.addEventListener('abort', stopped, { once: true });
    child.once('error', (error) => end('failed', error.message));
    child.once('exit', (status, by) => {
      const outcome = status === 0 ? 'done' : 'failed';
      const how = by ?? `exit status ${status}`;
      // what it has left running may keep its output open
      const late = setTimeout(() => end(outcome, how), OUTPUT_MS);
      child.once('close', () => {
        clearTimeout(late);
        end(outcome, how);
      });
    });
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it has just ended
  }
}
