// SPDX-License-Identifier: MIT
// What is read out of a machine's serial console.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { account, consoleLines } from './console.js';

const test = suite('the console of a machine');
const up = 'machine: up, 6.1.0-50-amd64';

test('the kernel’s own messages and carriage returns are no lines of it', () => {
  const text = `[    3.25] 9p: Installing\r\n${up}\r\r\nok   a.test.ts   3 passed\r\n`;
  assert.equal(consoleLines(text), [up, 'ok   a.test.ts   3 passed', '']);
});

test('the last summary counts', () => {
  const lines = [up, '1 passed, 1 failed', '23 passed, 0 failed', 'machine: done, status 0'];
  assert.equal(account(lines), { passed: 23, failed: 0 });
});

test('what is skipped is neither passed nor failed', () => {
  const lines = [up, '23 passed, 2 failed, 4 skipped', 'machine: done, status 1'];
  assert.equal(account(lines), { passed: 23, failed: 2 });
});

test('a machine that does not come up has failed, and says why if it can', () => {
  assert.equal(account(['']), { passed: 0, failed: 1, problem: 'did not start' });
  assert.equal(account(['machine: no overlay']), { passed: 0, failed: 1, problem: 'no overlay' });
});

test('one that stops before its tests are done has failed', () => {
  const lines = [up, 'ok   a.test.ts   3 passed'];
  assert.equal(account(lines), {
    passed: 0,
    failed: 1,
    problem: 'stopped in the middle of its tests',
  });
});

test('a command that is no test has neither passed nor failed', () => {
  assert.equal(account([up, 'machine: done, status 0']), { passed: 0, failed: 0 });
});

test('an exit status other than 0 is a failure even if no test has failed', () => {
  const problem = 'it ended with status 1';
  assert.equal(account([up, 'machine: done, status 1']), { passed: 0, failed: 1, problem });
  const lines = [up, '3 passed, 0 failed', 'machine: done, status 1'];
  assert.equal(account(lines), { passed: 3, failed: 1, problem });
});

test.run();
