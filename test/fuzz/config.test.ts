// The three files that an operator writes, spliced.conf, switchd.conf and the key file: whatever is in
// them is taken, or refused with places that are in the file and words that help.
//
//   FUZZ_INPUTS=1000000 FUZZ_SEED=7 npm test -- fuzz/config       longer, otherwise
//   node --import tsx test/fuzz/config.test.ts golden             writes the places of errors anew
import { readFileSync, writeFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, type Problem } from '../../config/index.js';
import { readSettings } from '../../daemon/config.js';
import { readKeys } from '../../daemon/key-file.js';
import { readSwitchConfig } from '../../proxy/config.js';
import { corpus } from './corpus.js';
import { fuzzRun } from './dice.js';
import { mutatedText } from './text.js';

const FILE = 'etc/x.conf';
const INPUTS = 15_000;
const UPDATE = process.argv[2] === 'golden';
/** Of processor time: the longest of the samples takes a hundredth of it. */
const SLOW_MS = 1000;

interface Kind {
  readonly directory: string;
  readonly ending: string;
  /** Where to look for words to put in, and for samples. */
  readonly documents: readonly string[];
  /** Their blocks of code are samples too; none of those about keys is a file of keys. */
  readonly blocks: boolean;
  readonly share: number;
  read(text: string): unknown;
  /** What holds for whatever is taken. */
  sound(taken: unknown): boolean;
}

const KINDS: readonly Kind[] = [
  {
    directory: 'spliced',
    ending: '.conf',
    documents: ['docs/configuration.md', 'docs/security.md', 'etc/spliced.conf'],
    blocks: true,
    share: 0.5,
    read: (text) => readSettings(FILE, text),
    sound: (taken) => soundSettings(taken as ReturnType<typeof readSettings>),
  },
  {
    directory: 'switchd',
    ending: '.conf',
    documents: ['docs/switchd.md', 'etc/switchd.conf'],
    blocks: true,
    share: 0.3,
    read: (text) => readSwitchConfig(FILE, text),
    sound: (taken) => soundSwitch(taken as ReturnType<typeof readSwitchConfig>),
  },
  {
    directory: 'keys',
    ending: '.key',
    documents: ['docs/security.md'],
    blocks: false,
    share: 0.2,
    read: (text) => readKeys(FILE, text).map(({ id, secret }) => [id, secret.export()]),
    sound: (taken) => soundKeys(taken as [number, Buffer][]),
  },
];

const whole = (value: number, from: number, to: number): boolean =>
  Number.isInteger(value) && value >= from && value <= to;

function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function soundSettings({ links, sync, kernel, ...rest }: ReturnType<typeof readSettings>): boolean {
  return (
    links.length > 0 &&
    links.filter(({ preferred }) => preferred).length <= 1 &&
    links.every(({ port }) => whole(port, 1, 65535)) &&
    ['FTFW', 'NOTRACK', 'ALARM'].includes(sync.mode) &&
    Object.values(sync).every((value) => typeof value !== 'number' || value >= 0) &&
    kernel.interfaces.length > 0 &&
    whole(kernel.tableSize, 64, 1 << 23) &&
    /^[A-Za-z0-9._-]{1,63}$/.test(rest.nodeName) &&
    whole(rest.nice, -20, 19)
  );
}

function soundSwitch({ virtual }: ReturnType<typeof readSwitchConfig>): boolean {
  return (
    virtual.length > 0 &&
    virtual.every(
      ({ port, real, ports }) =>
        whole(port, 1, 65535) &&
        real.length > 0 &&
        real.every((one) => whole(one.port, 1, 65535) && whole(one.weight, 0, 65535)) &&
        (ports === undefined || ports[0] <= ports[1]),
    )
  );
}

function soundKeys(keys: [number, Buffer][]): boolean {
  const ids = keys.map(([id]) => id);
  return (
    whole(keys.length, 1, 16) &&
    ids.every((id) => whole(id, 1, 255)) &&
    new Set(ids).size === ids.length &&
    keys.every(([, secret]) => secret.length === 32)
  );
}

/** What comes of a text: what was taken, or its problems; any other error goes on. */
function outcome(kind: Kind, text: string): { taken: unknown } | { problems: readonly Problem[] } {
  try {
    return { taken: kind.read(text) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const shown = error.message.split('\n');
    assert.ok(shown.length <= 21 && shown.every((line) => line.length < 600), 'a flood');
    return { problems: error.problems };
  }
}

/** A problem's place is in the file, and its sentence is for a terminal and says what to do. */
function judge(kind: Kind, text: string, problems: readonly Problem[]): void {
  const lines = text.split('\n');
  assert.ok(problems.length > 0, 'an error without a problem');
  for (const { at, message } of problems) {
    const line = lines[at.line - 1];
    assert.is(at.file, FILE);
    assert.ok(line !== undefined, `line ${at.line} of ${lines.length}: ${message}`);
    assert.ok(whole(at.column, 1, line.length + 1), `column ${at.column}: ${message}`);
    assert.ok(HELPS.test(message) && !UNFIT.test(message), `not a helpful sentence: ${message}`);
  }
  if (kind.directory === 'keys') keepsSecret(text, problems);
}

/** What is expected; or what is wrong where nothing else is: too much of it, or too early for it. */
const HELPS =
  /expected|did you mean|needs|missing|twice|at two links|no option of|not supported|not there yet|leave it out|deeper than/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNFIT = /[\x00-\x1f\x7f-\x9f]/;

function keepsSecret(text: string, problems: readonly Problem[]): void {
  for (const [word] of text.matchAll(/[0-9a-fA-F]{16,}/g)) {
    for (const { message } of problems) assert.not(message.includes(word.slice(0, 16)), message);
  }
}

/** An empty line or a comment in front of a line changes nothing of what is taken. */
function commented(text: string, line: number): string {
  const lines = text.split('\n');
  lines.splice(line, 0, line % 2 ? '' : '  # } a comment {');
  return lines.join('\n');
}

const golden = suite('golden configurations');

for (const kind of KINDS) {
  for (const { name, octets } of corpus(`config/${kind.directory}`, kind.ending)) {
    golden(`${kind.directory}/${name}`, () => {
      const text = Buffer.from(octets).toString();
      const result = outcome(kind, text);
      const file = new URL(`corpus/config/${kind.directory}/${name}.places`, import.meta.url);
      const places =
        'taken' in result
          ? ''
          : result.problems.map(({ at }) => `${at.line}:${at.column}\n`).join('');
      if (UPDATE && places !== '') writeFileSync(file, places);
      assert.is('taken' in result, !name.startsWith('bad-'), places);
      if ('taken' in result) assert.ok(kind.sound(result.taken));
      else {
        judge(kind, text, result.problems);
        assert.is(places, readFileSync(file, 'utf8'));
      }
    });
  }
}

golden('the samples in etc/ are taken', () => {
  for (const kind of KINDS) {
    for (const path of kind.documents.filter((name) => name.startsWith('etc/'))) {
      const text = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
      assert.ok('taken' in outcome(kind, text), path);
    }
  }
});

const fuzz = suite('mutated configurations');

function textsOf(kind: Kind): { samples: string[]; words: string[] } {
  const read = (path: string): string =>
    readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
  const documents = kind.documents.map(read);
  const texts = kind.blocks ? documents : [];
  const blocks = texts.flatMap((text) => text.split(/^```\n/m).filter((_, i) => i % 2 === 1));
  const files = corpus(`config/${kind.directory}`, kind.ending).map(({ octets }) =>
    Buffer.from(octets).toString(),
  );
  const etc = kind.documents.filter((path) => path.startsWith('etc/')).map(read);
  const samples = [...files, ...etc, ...blocks];
  const found = [...documents, ...files].join('\n').match(/[A-Za-z0-9_./:"\\-]+/g) ?? [];
  const more = ['-1', '1e9', '99999999999999999999', '0x10', '__proto__', 'constructor'];
  return { samples, words: [...new Set([...found, ...more])] };
}

const { inputs, dice } = fuzzRun('configurations', INPUTS);
for (const kind of KINDS) {
  fuzz(`${kind.directory}: taken or refused, never anything else`, () => {
    const { samples, words } = textsOf(kind);
    const count = UPDATE ? 0 : inputs * kind.share;
    let taken = 0;
    for (let i = 0; i < count; i++) {
      const text = mutatedText(samples[i % samples.length], dice, { texts: samples, words });
      const began = processorMs();
      try {
        const result = outcome(kind, text);
        if ('problems' in result) judge(kind, text, result.problems);
        else {
          taken++;
          assert.ok(kind.sound(result.taken), 'what was taken is not sound');
          const line = dice.below(text.split('\n').length + 1);
          assert.equal(outcome(kind, commented(text, line)), result, `a comment in line ${line}`);
        }
        assert.ok(processorMs() - began < SLOW_MS, 'it took too long');
      } catch (error) {
        (error as Error).message += `\nseed ${dice.seed}, input ${i}:\n${JSON.stringify(text)}`;
        throw error;
      }
    }
    assert.ok(count < 1000 || taken > count / 50, `only ${taken} were taken: too wild`);
  });
}

fuzz('large files of one thing end soon too', () => {
  const things = [
    'a',
    '{',
    '}',
    '"',
    '\n',
    'a\n',
    'a ',
    '{\n}\n',
    '\\',
    '#',
    '\0',
    'a{',
    '"\n',
    '1 ',
  ];
  for (const kind of KINDS) {
    for (const thing of things) {
      const text = thing.repeat(Math.floor(65_536 / thing.length));
      const began = processorMs();
      const result = outcome(kind, text);
      assert.ok('problems' in result);
      assert.ok(processorMs() - began < SLOW_MS, `${kind.directory} ${JSON.stringify(thing)}`);
    }
  }
});

golden.run();
fuzz.run();
