// The key file of the link: what it may hold, whose it may be, and where it says that an error is.
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError } from '../../config/index.js';
import { loadKeys, readKeys } from '../../daemon/key-file.js';

const MAIN = fileURLToPath(new URL('../../daemon/main.ts', import.meta.url));
const KEY = '00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF';
const OTHER = KEY.replace('00', '01');
const GRAMMAR = 'ID KEY: a number from 1 to 255, and 64 hexadecimal digits';

const directory = mkdtempSync(join(tmpdir(), 'spliced-keys-'));
const file = join(directory, 'sync.key');

function refusal(act: () => unknown): string[] {
  try {
    act();
  } catch (error) {
    assert.instance(error, ConfigError);
    return (error as ConfigError).message.split('\n').map((line) => line.replaceAll(file, 'F'));
  }
  return [];
}

const problems = (text: string): string[] => refusal(() => readKeys('F', text));

const keys = suite('key file');
keys.after(() => rmSync(directory, { recursive: true, force: true }));

keys('gives its keys in their order, the first one first', () => {
  const read = readKeys('F', `# old\n\n  7 ${KEY}  # seals\r\n\t255\t${OTHER}`);
  assert.equal(
    read.map(({ id, secret }) => [id, secret.export().toString('hex')]),
    [
      [7, KEY.toLowerCase()],
      [255, OTHER.toLowerCase()],
    ],
  );
});

const digits = 'expected 64 hexadecimal digits (openssl rand -hex 32)';
const BAD: readonly [string, string, string[]][] = [
  ['nothing', '', [`F:1:1: there is no key: expected a line ${GRAMMAR}`]],
  ['comments alone', '# 1\n', [`F:1:1: there is no key: expected a line ${GRAMMAR}`]],
  ['an id of 0', `0 ${KEY}`, [`F:1:1: this is no key id: expected ${GRAMMAR}`]],
  ['an id of 256', `\n 256 ${KEY}`, [`F:2:2: this is no key id: expected ${GRAMMAR}`]],
  [
    'a key without its id',
    KEY,
    [
      `F:1:1: this is no key id: expected ${GRAMMAR}`,
      `F:1:1: the key is missing: expected ${GRAMMAR}`,
    ],
  ],
  ['an id without its key', '1', [`F:1:1: the key is missing: expected ${GRAMMAR}`]],
  ['a key that is cut', `1 ${KEY.slice(1)}`, [`F:1:3: this is no key (63 characters): ${digits}`]],
  ['other digits', `1 ${KEY.slice(1)}g`, [`F:1:3: this is no key (64 characters): ${digits}`]],
  ['three words', `1 ${KEY} x`, [`F:1:68: unexpected word after the key: expected ${GRAMMAR}`]],
  [
    'an id twice',
    `1 ${KEY}\n1 ${OTHER}`,
    ['F:2:1: line 1 has this id already: expected another one'],
  ],
  [
    'a key twice',
    `1 ${KEY}\n2 ${KEY.toLowerCase()}`,
    ['F:2:3: line 1 has this key already: expected another one'],
  ],
];
for (const [name, text, expected] of BAD) {
  keys(`${name}: refused with its place`, () => assert.equal(problems(text), expected));
}

keys('of more than 16 keys, or of another kind of file, is refused', () => {
  const line = (_: unknown, i: number): string => `${i + 1} ${String(i + 10).padStart(64, '0')}`;
  const many = Array.from({ length: 17 }, line).join('\n');
  assert.equal(problems(many), ['F:17:1: too many keys: expected at most 16']);
  writeFileSync(file, 'x'.repeat(70_000), { mode: 0o600 });
  assert.match(refusal(() => loadKeys(file))[0], /^F:1:1: 70000 bytes are too many/);
});

keys('never shows a word of it', () => {
  for (const text of [`${KEY} 1`, `1 ${KEY}z`, `1${KEY}`, `1 ${KEY} ${KEY}`, `key=${KEY}`]) {
    const said = problems(text).join('\n');
    assert.ok(said.length > 0);
    assert.not(said.includes(KEY.slice(0, 12)), said);
  }
});

keys("that others may use, or another user's, is refused, and the remedy named", () => {
  writeFileSync(file, `1 ${KEY}\n`, { mode: 0o600 });
  assert.is(loadKeys(file).length, 1);
  for (const mode of [0o640, 0o604, 0o620, 0o601]) {
    chmodSync(file, mode);
    assert.equal(
      refusal(() => loadKeys(file)),
      [
        `F:1:1: group or others may use this file (mode 0${mode.toString(8)}): expected 0600 (chmod 0600 F)`,
      ],
    );
  }
  chmodSync(file, 0o400);
  assert.is(loadKeys(file).length, 1);
  if (process.getuid?.() !== 0) return;
  chownSync(file, 12345, 0);
  assert.equal(
    refusal(() => loadKeys(file)),
    [
      "F:1:1: this file is another user's (uid 12345): expected one of root or of spliced (chown root F)",
    ],
  );
});

keys('that is not there, or no file, is refused', () => {
  rmSync(file, { force: true });
  assert.equal(
    refusal(() => loadKeys(file)),
    ['F:1:1: the key file cannot be read (ENOENT): expected one that spliced may read'],
  );
  mkdirSync(file, { mode: 0o700 });
  assert.match(refusal(() => loadKeys(file))[0], /^F:1:1: this is no regular file/);
  rmSync(file, { recursive: true });
  spawnSync('mkfifo', ['-m', '600', file]);
  assert.match(refusal(() => loadKeys(file))[0], /^F:1:1: this is no regular file/);
  rmSync(file, { force: true });
});

keys('is checked with the configuration', () => {
  const config = join(directory, 'spliced.conf');
  writeFileSync(file, `1 ${KEY.slice(2)}\n`, { mode: 0o600 });
  writeFileSync(
    config,
    `Sync { Multicast { Interface eth2 } Authentication { KeyFile ${file} } }\nKernel { Interface eth0 Cgroup /c }\n`,
  );
  const argv = ['--import', 'tsx', MAIN, '-t', '-C', config];
  const { status, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  assert.is(stderr, `${file}:1:3: this is no key (62 characters): ${digits}\n`);
  assert.is(status, 2);
});

keys.run();
