// SPDX-License-Identifier: MIT
/** What a machine has said on its serial console, and what that means. */

export interface Account {
  passed: number;
  failed: number;
  /** Undefined when the tests came to their end. */
  problem?: string;
}

/** Lines end in CR LF, and the kernel's own messages come in between. */
export function consoleLines(text: string): string[] {
  return text.split(/\r*\n/).filter((line) => !/^\[ *\d+\.\d+\] /.test(line));
}

/** The line that says that the machine is up and begins with its task. */
export function isUp(line: string): boolean {
  return line.startsWith('machine: up');
}

/** Reads what inside.sh and test/run.ts have printed. */
export function account(lines: string[]): Account {
  const summary = lines
    .map((line) => /^(\d+) passed, (\d+) failed/.exec(line))
    .filter((match) => match !== null)
    .at(-1);
  const passed = Number(summary?.[1] ?? 0);
  const failed = Number(summary?.[2] ?? 0);
  if (!lines.some(isUp)) {
    const said = lines.findLast((line) => line.startsWith('machine: '));
    return { passed, failed: failed + 1, problem: said?.slice(9) ?? 'did not start' };
  }
  const status = lines.map((line) => /^machine: done, status (\d+)/.exec(line)?.[1]).find(Boolean);
  if (status === undefined) {
    return { passed, failed: failed + 1, problem: 'stopped in the middle of its tests' };
  }
  if (failed === 0 && status !== '0') {
    return { passed, failed: 1, problem: `it ended with status ${status}` };
  }
  return { passed, failed };
}
