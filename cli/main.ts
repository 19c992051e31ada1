#!/usr/bin/env node
// splicectl: asks a running spliced over its control socket, and shows the answer.
// Exit status: 0 done, 1 it failed, 2 a wrong command line or no daemon to talk to.
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '@oclif/core/run';
import { ConfigError } from '../config/error.js';
import { type ControlCode, ControlError } from '../daemon/control/error.js';
import { COMMANDS } from './commands.js';
import { UsageError } from './error.js';
import { arrange } from './letters.js';
import { quietPipes } from './output.js';
import { plain } from './words.js';

/** Nobody could be asked, or the question was wrong: nothing has been tried. */
const NOT_TRIED: ReadonlySet<ControlCode> = new Set([
  'no_daemon',
  'not_permitted',
  'bad_path',
  'bad_version',
  'bad_verb',
  'bad_args',
]);

async function main(): Promise<void> {
  const argv = arrange(process.argv.slice(2), Object.keys(COMMANDS));
  await run(argv, {
    // Where commands.js is, in tsc's dist/cli as well as in the bundle's dist/bin.
    root: dirname(fileURLToPath(import.meta.url)),
    pjson: {
      name: 'splicectl',
      version: version(),
      oclif: {
        bin: 'splicectl',
        commands: { strategy: 'explicit', target: './commands.js', identifier: 'COMMANDS' },
        additionalHelpFlags: ['-h'],
        additionalVersionFlags: ['-V'],
      },
    },
  });
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

/** What oclif's parser throws, as far as it matters here. */
interface ParseError extends Error {
  readonly oclif?: { readonly exit?: number };
}

function status(error: unknown): number {
  if (error instanceof UsageError || error instanceof ConfigError) return 2;
  if (error instanceof ControlError) return NOT_TRIED.has(error.code) ? 2 : 1;
  return (error as ParseError).oclif?.exit ?? 1;
}

/** One sentence; oclif tells its errors over several lines. */
function sentence(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof ControlError) return plain(error.message);
  if ((error as ParseError).oclif === undefined) return error.message;
  const lines = error.message.split('\n').map((line) => line.trim());
  const told = lines.filter((line) => line !== '' && !/^(See more|The following)/.test(line));
  return `${told.join(' ')}; see splicectl --help`;
}

quietPipes();
try {
  await main();
} catch (error) {
  // oclif ends --help and --version by an exception of status 0.
  const exit = status(error);
  if (exit !== 0) process.stderr.write(`splicectl: ${sentence(error)}\n`);
  process.exitCode = exit;
}
