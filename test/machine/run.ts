// SPDX-License-Identifier: MIT
/**
 * `npm run kernels [-- KERNEL...]`: the kernel's tests on other kernels than the running one, each in an
 * emulated machine. One line for each, and `N passed, N failed` at the end. See docs/kernels.md.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { account } from './console.js';
import { MachineError } from './error.js';
import { makeInitramfs } from './initramfs.js';
import { fetchKernel, SUITES } from './kernels.js';
import { runMachine, switchOff } from './machine.js';

const USAGE = `usage: npm run kernels [-- KERNEL...] [options]
  KERNEL        ${Object.keys(SUITES).join(', ')}; all of them without
  --tests LIST  test files with one of these words in their path, commas between them
  --run COMMAND this shell command inside instead of tests
  --renew       fetch the newest of each kernel again
  --verbose     everything that the machine says`;

/** PROGRAM=PACKAGE, for setup/install.sh. */
const NEEDS = [
  'qemu-system-x86_64=qemu-system-x86',
  'busybox=busybox-static',
  'depmod=kmod',
  'xz=xz-utils',
];
/** Those that take long by themselves, whatever the kernel. */
const LEFT_OUT = ['soak'];
/** Random packets where a test on the host takes ten times as many (test/kernel/differential.test.ts). */
const RANDOM_PACKETS = 2000;
const CPUS = 2;
const MEMORY_MIB = 3072;
const DEADLINE_SECONDS = 3600;
/** The emulated machine is slower than the one that the tests' deadlines were set for by about this. */
const PATIENCE = 10;

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

interface Options {
  kernels: string[];
  command: string;
  renew: boolean;
  verbose: boolean;
}

function kernelTests(): string[] {
  return readdirSync(join(root, 'test/kernel'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts') && !LEFT_OUT.some((word) => path.includes(word)))
    .map((path) => `test/kernel/${path}`);
}

function options(args: string[]): Options {
  const flag = { type: 'boolean', default: false } as const;
  const text = { type: 'string' } as const;
  const parsed = () => {
    try {
      return parseArgs({
        args,
        allowPositionals: true,
        options: { tests: text, run: text, renew: flag, verbose: flag },
      });
    } catch (error) {
      throw new MachineError(`${(error as Error).message}\n${USAGE}`);
    }
  };
  const { values, positionals } = parsed();
  const unknown = positionals.find((name) => !(name in SUITES));
  if (unknown !== undefined) throw new MachineError(`there is no kernel ${unknown}.\n${USAGE}`);
  const tests = values.tests?.split(',') ?? kernelTests();
  return {
    kernels: positionals.length > 0 ? positionals : Object.keys(SUITES),
    command:
      values.run ??
      `node --import tsx test/machine/load.ts &&
      COUNT=${RANDOM_PACKETS} node --import tsx test/run.ts ${tests.join(' ')}`,
    renew: values.renew,
    verbose: values.verbose,
  };
}

function install(): void {
  const script = join(root, 'setup/install.sh');
  const done = spawnSync('bash', [script, ...NEEDS], { stdio: ['ignore', 2, 2] });
  if (done.status !== 0) throw new MachineError('what the machines need could not be installed');
}

/** Lines that are worth showing: all, or what has failed and why. */
function isNews(line: string): boolean {
  return /^(FAIL| {5}|machine: (?!up|done))/.test(line);
}

async function tryKernel(name: string, { command, renew, verbose }: Options) {
  const directory = join(root, 'dist/machine', name);
  const kernel = fetchKernel(SUITES[name], directory, renew);
  const initramfs = join(directory, 'initramfs');
  const job = {
    ROOT: root,
    MACHINE: join(root, 'test/machine'),
    COMMAND: command,
    SPLICED_PATIENCE: `${PATIENCE}`,
  };
  makeInitramfs(kernel, job, initramfs);
  console.error(`kernels: ${kernel.release}, in an emulated machine`);
  const log = join(directory, 'console.log');
  writeFileSync(log, '');
  const run = await runMachine(kernel, {
    initramfs,
    cpus: CPUS,
    memoryMib: MEMORY_MIB,
    deadlineSeconds: DEADLINE_SECONDS,
    onLine: (text) => {
      appendFileSync(log, `${text}\n`);
      if (verbose || isNews(text)) console.log(`     ${text}`);
    },
  });
  const result = account(run.lines);
  const boot =
    run.bootSeconds === undefined ? 'not booted' : `boot ${run.bootSeconds.toFixed(0)} s`;
  const problem = run.problem ?? result.problem;
  console.log(
    `${kernel.release}: ${result.passed} passed, ${result.failed} failed, ${boot}, ` +
      `total ${run.seconds.toFixed(0)} s${problem ? `; ${problem}` : ''}`,
  );
  return result;
}

async function main(args: string[]): Promise<number> {
  const wanted = options(args);
  if (process.arch !== 'x64') {
    throw new MachineError(
      `the machines are x86-64, and run this machine's own programs, which are ${process.arch}; ` +
        'other kernels can be tried on an x86-64 machine only',
    );
  }
  mkdirSync(join(root, 'dist/machine'), { recursive: true });
  install();
  let passed = 0;
  let failed = 0;
  for (const name of wanted.kernels) {
    const result = await tryKernel(name, wanted);
    passed += result.passed;
    failed += result.failed;
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    switchOff();
    process.exit(130);
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof MachineError)) throw error;
  console.error(`kernels: ${error.message}`);
  process.exitCode = 2;
}
