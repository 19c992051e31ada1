/**
 * The keys that seal the link: a line for each, `ID KEY`, the first one seals (docs/security.md).
 * No message shows a word of the file: it may be the key, in the wrong place.
 */
import { createSecretKey } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { ConfigError, type Position, Problems } from '../config/index.js';
import { SECRET_SIZE, type SealKey } from '../sync/seal/box.js';

const FILE_BYTES_MAX = 65_536;
const KEYS_MAX = 16;
const ID_MAX = 255;
const DIGITS = 2 * SECRET_SIZE;
/** What group and others must not have. */
const NOT_FOR_OTHERS = 0o077;
const GRAMMAR = `ID KEY: a number from 1 to ${ID_MAX}, and ${DIGITS} hexadecimal digits`;

interface Word {
  readonly text: string;
  readonly at: Position;
}

interface KeyLine {
  readonly key: SealKey;
  readonly line: number;
}

/** @throws ConfigError with every problem of the file */
export function loadKeys(file: string): SealKey[] {
  return readKeys(file, readPrivate(file));
}

/** The same of a text. */
export function readKeys(file: string, text: string): SealKey[] {
  const problems = new Problems();
  const lines: KeyLine[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const words = split(file, line, index + 1);
    if (words.length === 0) continue;
    const key = parseLine(words, problems);
    if (!key) continue;
    again(key, lines, words, problems);
    if (lines.length === KEYS_MAX) {
      problems.add(words[0].at, `too many keys: expected at most ${KEYS_MAX}`);
    }
    lines.push({ key, line: index + 1 });
  }
  if (lines.length === 0 && problems.list.length === 0) {
    problems.add({ file, line: 1, column: 1 }, `there is no key: expected a line ${GRAMMAR}`);
  }
  problems.throwIfAny();
  return lines.map(({ key }) => key);
}

function split(file: string, text: string, line: number): Word[] {
  const [before] = text.split('#');
  return [...before.matchAll(/[^ \t\r\v\f\uFEFF]+/g)].map((found) => ({
    text: found[0],
    at: { file, line, column: found.index + 1 },
  }));
}

function parseLine(words: readonly Word[], problems: Problems): SealKey | undefined {
  const before = problems.list.length;
  const [first, second, extra] = words;
  const id = /^[0-9]{1,3}$/.test(first.text) ? Number(first.text) : 0;
  if (id < 1 || id > ID_MAX) {
    problems.add(first.at, `this is no key id: expected ${GRAMMAR}`);
  }
  if (!second) {
    problems.add(first.at, `the key is missing: expected ${GRAMMAR}`);
  } else if (second.text.length !== DIGITS || !/^[0-9a-fA-F]+$/.test(second.text)) {
    problems.add(
      second.at,
      `this is no key (${second.text.length} characters): expected ${DIGITS} hexadecimal digits (openssl rand -hex ${SECRET_SIZE})`,
    );
  }
  if (extra) problems.add(extra.at, `unexpected word after the key: expected ${GRAMMAR}`);
  if (problems.list.length > before) return undefined;
  return { id, secret: createSecretKey(Buffer.from(second.text, 'hex')) };
}

/** Two lines of one id, or of one key, are a rotation gone wrong. */
function again(
  { id, secret }: SealKey,
  lines: readonly KeyLine[],
  words: readonly Word[],
  problems: Problems,
): void {
  const sameId = lines.find(({ key }) => key.id === id);
  if (sameId) {
    problems.add(words[0].at, `line ${sameId.line} has this id already: expected another one`);
  }
  const sameKey = lines.find(({ key }) => key.secret.equals(secret));
  if (sameKey) {
    problems.add(words[1].at, `line ${sameKey.line} has this key already: expected another one`);
  }
}

/** Looked at and read through one descriptor, so that both are of the same file. */
function readPrivate(file: string): string {
  const fail = (message: string): never => {
    throw new ConfigError([{ at: { file, line: 1, column: 1 }, message }]);
  };
  let descriptor: number | undefined;
  try {
    // O_NONBLOCK: a pipe without a writer must not hold the daemon up
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const wrong = unfit(file, fstatSync(descriptor));
    return wrong === undefined ? readFileSync(descriptor, 'utf8') : fail(wrong);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    return fail(`the key file cannot be read (${code}): expected one that spliced may read`);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function unfit(file: string, stat: Stats): string | undefined {
  if (!stat.isFile()) return 'this is no regular file: expected a key file';
  if (stat.size > FILE_BYTES_MAX) {
    return `${stat.size} bytes are too many for a key file: expected at most ${FILE_BYTES_MAX}`;
  }
  const mode = stat.mode & 0o777;
  if (mode & NOT_FOR_OTHERS) {
    const octal = mode.toString(8).padStart(4, '0');
    return `group or others may use this file (mode ${octal}): expected 0600 (chmod 0600 ${file})`;
  }
  const own = process.getuid?.() ?? 0;
  if (stat.uid !== own && stat.uid !== 0) {
    return `this file is another user's (uid ${stat.uid}): expected one of root or of spliced (chown root ${file})`;
  }
  return undefined;
}
