// serial
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { whatIsMissing } from '../lab/preflight.js';
import { cgroupRoot } from '../support/cgroup.js';

const program = suite('npm run demo, the program');

function demo(...args: string[]): {
  child: ChildProcess;
  said: () => string;
  ended: Promise<number>;
} {
  let said = '';
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/lab/demo.ts', ...args]);
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const ended = new Promise<number>((resolve) => {
    child.on('close', (status) => resolve(status ?? -1));
  });
  return { child, said: () => said, ended };
}

async function until(what: string, seconds: number, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

for (const [args, complaint] of [
  [['--flows', '5'], 'expected a whole number from 6 to 1000'],
  [['--bytes', '1e6'], 'expected a whole number'],
  [['--mode', 'reboot'], 'expected crash or switchover'],
  [['--family', '5'], 'expected 4, 6 or both'],
  [['--frob'], "Unknown option '--frob'"],
] as const) {
  program(`${args.join(' ')} is refused with exit status 2`, async () => {
    const run = demo(...args);
    assert.is(await run.ended, 2);
    assert.ok(run.said().includes(complaint), run.said());
  });
}

const missing = whatIsMissing();
if (missing) console.log(`skipped: ${missing}`);
const test = missing ? program.skip : program;

test('Ctrl-C in the middle of it removes the whole lab', async () => {
  const run = demo('--flows', '20');
  const id = run.child.pid?.toString(36);
  await until('the transfers', 30, () => run.said().includes('transfers begin'));
  const traces = () => [
    ...readdirSync('/run/netns').filter((name) => name.startsWith(`sp-${id}-`)),
    ...[`/tmp/spliced-lab-${id}`, `${cgroupRoot()}/spliced-lab-${id}`].filter(existsSync),
    ...(readFileSync('/proc/self/mounts', 'utf8').match(new RegExp(`spliced-lab-${id}/`, 'g')) ??
      []),
  ];
  assert.ok(traces().length > 5, 'the lab stands');
  run.child.kill('SIGINT');
  assert.is(await run.ended, 130);
  assert.equal(traces(), []);
});

program.run();
