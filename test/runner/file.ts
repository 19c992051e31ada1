// SPDX-License-Identifier: MIT
/**
 * Runs one test file in a process of its own, and says what became of it.
 *
 * uvu itself has no deadline, an open handle keeps it hanging after its summary, and a forgotten
 * `.run()` is no test at all and exit status 0, as is a `before()` that throws. So the verdict here rests on the summary that uvu
 * prints, on the exit status, on the clock, and on what is still running afterwards.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { PATIENCE } from '../support/patience.js';
import { killAll, processesMarked, RUN_MARK } from './processes.js';

export interface FileOptions {
  deadlineSeconds: number;
  /** Must have the machine to itself. */
  serial: boolean;
}

export interface FileResult {
  file: string;
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  /** What is wrong with the file as a whole; each counts as one failure. */
  problems: string[];
  output: string;
}

const DEADLINE_DEFAULT_SECONDS = 60;
/** Between uvu's summary and the end of the process. */
const EXIT_GRACE_MS = 5000 * PATIENCE;
/** Between SIGTERM, on which a test may clean up, and SIGKILL. */
const KILL_GRACE_MS = 2000 * PATIENCE;
const OUTPUT_BYTES_MAX = 512 * 1024;

/**
 * Reads the options in a file's leading comment lines: `// serial`, `// deadline: 120` (seconds), or
 * both in one line, `// serial, deadline: 120`.
 */
export function fileOptions(source: string): FileOptions {
  const options = { deadlineSeconds: DEADLINE_DEFAULT_SECONDS, serial: false };
  for (const line of source.split('\n')) {
    if (!line.startsWith('//')) break;
    for (const word of line.slice(2).split(',')) {
      if (word.trim() === 'serial') options.serial = true;
      const deadline = /^\s*deadline:\s*(\d+)\s*$/.exec(word);
      if (deadline?.[1] !== undefined) options.deadlineSeconds = Number(deadline[1]);
    }
  }
  return options;
}

/** uvu's summary; undefined when the file never came to it. */
export function parseSummary(
  output: string,
): { total: number; passed: number; skipped: number } | undefined {
  const found = [
    ...output.matchAll(/^ {2}Total: +(\d+)\n {2}Passed: +(\d+)\n {2}Skipped: +(\d+)$/gm),
  ];
  const last = found.at(-1);
  if (last === undefined) return undefined;
  return { total: Number(last[1]), passed: Number(last[2]), skipped: Number(last[3]) };
}

/** Marks of the files that are running now. */
const running = new Set<string>();

/** Ends whatever the running files have started; for a runner that is itself interrupted. */
export async function stopAll(): Promise<void> {
  await Promise.all(
    [...running].map((mark) => killAll(() => processesMarked(mark), KILL_GRACE_MS)),
  );
}

/** Runs `file`, a path from `root`. Never throws for what the file does. */
export async function runFile(root: string, file: string): Promise<FileResult> {
  const options = fileOptions(readFileSync(`${root}/${file}`, 'utf8'));
  const mark = `${process.env[RUN_MARK] ?? ''}/${process.pid}.${Math.random().toString(36).slice(2)}`;
  const { FORCE_COLOR: _, ...environment } = process.env;
  const started = performance.now();
  running.add(mark);
  const child = spawn(process.execPath, ['--import', 'tsx', file], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...environment, NO_COLOR: '1', [RUN_MARK]: mark },
  });

  let output = '';
  const problems: string[] = [];
  let graceTimer: NodeJS.Timeout | undefined;
  const stop = (problem: string): void => {
    problems.push(problem);
    void killAll(() => processesMarked(mark), KILL_GRACE_MS);
  };
  const collect = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-OUTPUT_BYTES_MAX);
    if (graceTimer === undefined && parseSummary(output) !== undefined) {
      graceTimer = setTimeout(
        () => stop('did not exit after its summary: a handle, a timer or a child is still open'),
        EXIT_GRACE_MS,
      );
    }
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const deadlineTimer = setTimeout(
    () => stop(`not done after its deadline of ${options.deadlineSeconds} s`),
    options.deadlineSeconds * 1000 * PATIENCE,
  );

  const ended = await new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('error', (error) => {
      problems.push(`could not be started: ${error.message}`);
      resolve({ code: null, signal: null });
    });
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  clearTimeout(deadlineTimer);
  clearTimeout(graceTimer);

  const survivors = await killAll(() => processesMarked(mark), KILL_GRACE_MS, 500 * PATIENCE);
  running.delete(mark);
  if (survivors.length > 0 && problems.length === 0) {
    problems.push(
      `left processes behind: ${survivors.map((p) => `${p.name} (${p.pid})`).join(', ')}`,
    );
  }
  // With every writer gone the pipes have ended; what they still held arrives now.
  await Promise.all([drained(child.stdout), drained(child.stderr)]);

  const summary = parseSummary(output) ?? { total: 0, passed: 0, skipped: 0 };
  const failed = summary.total - summary.passed;
  if (problems.length === 0) {
    if (ended.signal !== null) problems.push(`was killed by ${ended.signal}`);
    else if (parseSummary(output) === undefined && ended.code !== 0)
      problems.push(`crashed before its summary, exit status ${ended.code}`);
    else if (summary.total + summary.skipped === 0)
      problems.push('has no tests; is a suite.run() missing at its end?');
    else if (ended.code !== 0 && failed === 0)
      problems.push(`its tests passed, but its exit status is ${ended.code}`);
    else if (ended.code === 0 && failed > 0)
      problems.push(`${failed} tests were never begun: has a before() or an after.each() thrown?`);
  }
  return {
    file,
    passed: summary.passed,
    failed: failed + problems.length,
    skipped: summary.skipped,
    seconds: (performance.now() - started) / 1000,
    problems,
    output,
  };
}

function drained(stream: NodeJS.ReadableStream & { closed?: boolean }): Promise<void> {
  if (stream.closed) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 1000);
    stream.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
