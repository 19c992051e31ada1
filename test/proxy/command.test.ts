// The program itself: its command line, its exit statuses, its signals.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { exchange, freePort, until } from './backend.js';
import { Program } from './program.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const switchd = ['--import', 'tsx', join(root, 'proxy/main.ts')];
const files = mkdtempSync(join(tmpdir(), 'switchd-'));

function configure(port: number, real: number): string {
  const file = join(files, `${port}.conf`);
  writeFileSync(file, `virtual_server 127.0.0.1 ${port} {\nreal_server 127.0.0.2 ${real}\n}\n`);
  return file;
}

function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [...switchd, ...args], { encoding: 'utf8', timeout: 10_000 });
}

const test = suite('switchd, the program');
test.after(() => rmSync(files, { recursive: true }));

test('-t checks a configuration and changes nothing', () => {
  const right = run('-t', '-f', join(root, 'etc/switchd.conf'));
  assert.is(right.status, 0, right.stderr);
  assert.match(right.stdout, 'right (virtual servers: 1, real servers: 2)');

  const file = join(files, 'wrong.conf');
  writeFileSync(file, 'virtual_server 10.0.0.1 80 {\n  real_server 10.0.0.2 80 { wait 2 }\n}\n');
  const wrong = run('-t', '-f', file);
  assert.is(wrong.status, 2);
  assert.match(wrong.stderr, `${file}:2:29: unknown directive "wait"`);
  assert.is(wrong.stdout, '');
});

test('refuses an option that it does not have, with its usage', () => {
  const { status, stderr } = run('-x');
  assert.is(status, 2);
  assert.match(stderr, /Unknown option '-x'.*\nusage: switchd /);
});

test('ends with a sentence when its port is taken', async () => {
  const port = await freePort('127.0.0.1');
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve));
  const { status, stderr } = run('-f', configure(port, 9));
  other.close();
  assert.is(status, 1);
  assert.match(stderr, `127.0.0.1:${port} is in use`);
});

test('serves, says once that there is no datapath, obeys HUP, USR1 and TERM', async () => {
  const port = await freePort('127.0.0.1');
  const file = configure(port, await freePort('127.0.0.2'));
  const program = new Program(process.execPath, ...switchd, '-f', file);
  try {
    await program.says('"ready"');
    for (let i = 0; i < 2; i++) {
      const answer = await exchange('127.0.0.1', port, 'GET / HTTP/1.0\r\n\r\n');
      assert.match(answer.toString(), '503');
    }
    writeFileSync(file, 'virtual_server');
    program.signal('SIGHUP');
    await program.says(`nothing is changed: ${file}:1:1: `);
    configure(port, 9);
    program.signal('SIGHUP');
    await program.says('is in force');
    program.signal('SIGUSR1');
    await program.says('"no_server":2');
    assert.is(await program.end(), 0);
    await until(() => program.output.includes('SIGTERM: stopping'));
    const times = (text: string) => program.output.split(text).length - 1;
    assert.is(times('relaying everything in user space'), 1);
    assert.is(times('no connection to a real server'), 1);
    assert.is(times('"counters"'), 2);
  } finally {
    await program.end('SIGKILL');
  }
});

test.run();
