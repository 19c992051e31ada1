// SPDX-License-Identifier: MIT
/**
 * `npm test [-- PART...]`: every test file, or those whose path contains one of the parts, and the
 * linter. Each file is a process of its own (test/runner/file.ts). The last line is
 * `N passed, N failed`, and the exit status is 0 only if nothing failed.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FileResult, fileOptions, runFile, stopAll } from './runner/file.js';
import { inventory, leftovers, usersOfCgroups } from './runner/leftovers.js';

/** Files at a time. The machine that this is meant for has two cores. */
const PARALLEL = 2;

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function testFiles(parts: string[]): string[] {
  return readdirSync(`${root}/test`, { recursive: true, encoding: 'utf8' })
    .map((path) => `test/${path.split(sep).join('/')}`)
    .filter((path) => path.endsWith('.test.ts'))
    .filter((path) => parts.length === 0 || parts.some((part) => path.includes(part)))
    .sort();
}

function lint(): FileResult {
  const started = performance.now();
  const run = spawnSync('node_modules/.bin/biome', ['check', '--colors=off', '.'], {
    cwd: root,
    encoding: 'utf8',
  });
  const clean = run.status === 0;
  return {
    file: 'lint (biome check)',
    passed: clean ? 1 : 0,
    failed: clean ? 0 : 1,
    skipped: 0,
    seconds: (performance.now() - started) / 1000,
    problems: [],
    output: `${run.stdout}${run.stderr}${run.error?.message ?? ''}`,
  };
}

function report(result: FileResult): void {
  const { failed, passed, skipped } = result;
  const counts = [`${passed} passed`];
  if (failed > 0) counts.push(`${failed} failed`);
  if (skipped > 0) counts.push(`${skipped} skipped`);
  const verdict = failed > 0 ? 'FAIL' : 'ok  ';
  console.log(
    `${verdict} ${result.file.padEnd(44)} ${counts.join(', ').padEnd(20)} ${result.seconds.toFixed(1)} s`,
  );
  if (failed === 0) return;
  console.log(result.output.replace(/^/gm, '     | '));
  for (const problem of result.problems) console.log(`     ${result.file}: ${problem}`);
}

async function main(parts: string[]): Promise<number> {
  const files = testFiles(parts.map((part) => relative(root, part) || part));
  if (files.length === 0) {
    console.error(`test: no test file's path contains ${parts.map((p) => `'${p}'`).join(' or ')}.`);
    return 2;
  }
  const started = performance.now();
  const before = inventory();
  const results: FileResult[] = [];
  const finish = (result: FileResult): void => {
    results.push(result);
    report(result);
  };

  if (parts.length === 0) finish(lint());
  const serial = (file: string): boolean =>
    fileOptions(readFileSync(`${root}/${file}`, 'utf8')).serial;
  const shared = files.filter((file) => !serial(file));
  const worker = async (): Promise<void> => {
    for (let file = shared.shift(); file !== undefined; file = shared.shift()) {
      finish(await runFile(root, file));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  for (const file of files.filter(serial)) finish(await runFile(root, file));

  const left = leftovers(before, inventory(), usersOfCgroups());
  const sum = (pick: (result: FileResult) => number): number =>
    results.reduce((total, result) => total + pick(result), 0);
  const failed = sum((result) => result.failed) + (left.length > 0 ? 1 : 0);
  const skipped = sum((result) => result.skipped);
  if (left.length > 0) {
    console.log(
      `FAIL the tests left these behind:\n${left.map((item) => `     ${item}`).join('\n')}`,
    );
  }
  console.log(`${files.length} files in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  console.log(
    `${sum((result) => result.passed)} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`,
  );
  return failed === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    console.error('test: interrupted');
    void stopAll().then(() => process.exit(130));
  });
}

process.exitCode = await main(process.argv.slice(2));
