// SPDX-License-Identifier: MIT
/** The runner itself: each way in which a test file can go wrong must come out as a failure. */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fileOptions, parseSummary, runFile } from '../runner/file.js';
import { leftovers } from '../runner/leftovers.js';
import { processesMarked } from '../runner/processes.js';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const runner = suite('test runner');

/** Fixtures are started together: they are slow to start and idle for the rest. */
const names = [
  'passes',
  'fails',
  'forgets-run',
  'throws-before',
  'hangs',
  'crashes',
  'rejects',
  'orphans',
] as const;
const results = new Map(
  names.map((name) => [name, runFile(root, `test/self/fixtures/${name}.ts`)] as const),
);
const result = (name: (typeof names)[number]) => {
  const found = results.get(name);
  if (found === undefined) throw new Error(`no fixture ${name}`);
  return found;
};

/** Empty for a process that is gone, or that nobody has waited for yet. */
function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

runner('counts what passes and what is skipped', async () => {
  const { passed, failed, skipped, problems } = await result('passes');
  assert.equal(
    { passed, failed, skipped, problems },
    { passed: 1, failed: 0, skipped: 1, problems: [] },
  );
});

runner('counts a failed test once, and keeps its output', async () => {
  const { passed, failed, problems, output } = await result('fails');
  assert.equal({ passed, failed, problems }, { passed: 1, failed: 1, problems: [] });
  assert.match(output, 'FAIL');
});

runner('fails a file whose run() was forgotten', async () => {
  const { passed, failed, problems } = await result('forgets-run');
  assert.equal({ passed, failed }, { passed: 0, failed: 1 });
  assert.match(problems.join(), 'has no tests');
});

runner('fails a file whose before() throws, of which uvu says nothing', async () => {
  const { passed, failed, problems, output } = await result('throws-before');
  assert.equal({ passed, failed }, { passed: 0, failed: 3 });
  assert.match(problems.join(), '2 tests were never begun');
  assert.not.match(output, 'FAIL');
});

runner('ends a file at its deadline, with the child that left its group', async () => {
  const { failed, problems, seconds } = await result('hangs');
  assert.is(failed, 1);
  assert.match(problems.join(), 'not done after its deadline of 1 s');
  assert.ok(seconds < 10, `took ${seconds} s`);
});

runner('fails a file that dies of a signal', async () => {
  const { failed, problems } = await result('crashes');
  assert.is(failed, 1);
  assert.match(problems.join(), 'SIGSEGV');
});

runner('fails a file with an unhandled rejection', async () => {
  const { failed, problems, output } = await result('rejects');
  assert.is(failed, 1);
  assert.match(problems.join(), 'crashed before its summary');
  assert.match(output, 'nobody waited for this');
});

runner('fails a file that leaves a daemon behind, and ends the daemon', async () => {
  const { passed, failed, problems } = await result('orphans');
  assert.equal({ passed, failed }, { passed: 1, failed: 1 });
  assert.match(problems.join(), /left processes behind: sleep \(\d+\)/);
  const pid = Number(/\((\d+)\)/.exec(problems.join())?.[1]);
  assert.is(commandLine(pid), '');
});

runner('reads a file\u2019s options from its leading comments only', () => {
  assert.equal(fileOptions('import x;\n// serial\n'), { deadlineSeconds: 60, serial: false });
  assert.equal(fileOptions('// SPDX-License-Identifier: MIT\n// serial, deadline: 120\n'), {
    deadlineSeconds: 120,
    serial: true,
  });
});

runner('takes the last summary of an output', () => {
  assert.is(parseSummary('Total: 3'), undefined);
  const text = '\n  Total:     3\n  Passed:    2\n  Skipped:   1\n  Duration:  1ms\n';
  assert.equal(parseSummary(`\n  Total:     9\n  Passed:    9\n  Skipped:   0\n${text}`), {
    total: 3,
    passed: 2,
    skipped: 1,
  });
});

runner('finds no process for a mark that nobody carries', () => {
  assert.equal(processesMarked('nobody'), []);
});

runner('calls a leftover what was not there before', () => {
  const after = new Set(['pin a', 'network namespace sp-abc-client', 'cgroup /c/spliced-golden-0']);
  assert.equal(leftovers(new Set(['pin a']), after, ''), [
    'cgroup /c/spliced-golden-0',
    'network namespace sp-abc-client',
  ]);
});

runner('leaves alone what somebody else is using at the same time', () => {
  const after = new Set([
    'network namespace sp-abc-client',
    'temporary file /tmp/spliced-lab-abc',
    `cgroup /c/spliced-golden-${process.pid}`,
  ]);
  assert.equal(leftovers(new Set(), after, '0::/spliced-lab-abc/lb-a\n'), []);
});

runner.run();
