// SPDX-License-Identifier: MIT
/** The documents follow the code: no counter without a line, no link into the void. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const read = (path: string): string => readFileSync(`${root}/${path}`, 'utf8');
const documents = [
  'README.md',
  'LICENSES/README.md',
  ...readdirSync(`${root}/docs`)
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];
const docs = suite('documents');

docs('every counter of the datapath has a row that says what to do', () => {
  const text = read('docs/datapath.md');
  const counters = [...read('kernel/record/record.h').matchAll(/^\tSPLICE_CNT_(\w+?)(?: = 0)?,/gm)]
    .map((found) => found[1].toLowerCase())
    .filter((name) => name !== 'count');
  assert.ok(counters.length > 30, 'the counters were not found in record.h');
  const rows = [...text.matchAll(/^\| `(\w+)` \| [^|]+ \| [^|]+ \|$/gm)].map((found) => found[1]);
  assert.equal(
    counters.filter((name) => !rows.includes(name)),
    [],
  );
});

docs('every state and timeout of the datapath is explained', () => {
  const text = read('docs/datapath.md');
  const header = read('kernel/record/record.h');
  const states = /enum splice_state \{([^}]+)\}/.exec(header)?.[1] ?? '';
  const timeouts = /enum splice_timeout \{([^}]+)\}/.exec(header)?.[1] ?? '';
  const names = [
    ...[...states.matchAll(/SPLICE_(\w+) =/g)].map((found) => `| ${found[1]} |`),
    ...[...timeouts.matchAll(/SPLICE_TIMEOUT_(\w+) =/g)]
      .filter((found) => found[1] !== 'COUNT')
      .map((found) => `\`${found[1].toLowerCase()}\``),
  ];
  assert.is(names.length, 15);
  assert.equal(
    names.filter((name) => !text.includes(name)),
    [],
  );
});

docs('every link to a file of the project leads somewhere', () => {
  const broken = documents.flatMap((document) =>
    [...read(document).matchAll(/\]\((?!https?:)([^)#\s]+)/g)]
      .map((found) => found[1])
      .filter((target) => !existsSync(resolve(root, dirname(document), target)))
      .map((target) => `${document} -> ${target}`),
  );
  assert.equal(broken, []);
});

docs('every document is named in the README', () => {
  const readme = read('README.md');
  assert.equal(
    documents.filter((document) => document.startsWith('docs/') && !readme.includes(document)),
    [],
  );
});

docs.run();
