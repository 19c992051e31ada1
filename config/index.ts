// The block grammar of spliced.conf and switchd.conf: read a file, hold it to a table.
import { readFileSync, statSync } from 'node:fs';
import { ConfigError, Problems } from './error.js';
import type { Grammar } from './lexer.js';
import { type Block, parse } from './parser.js';
import { check, type Schema, type Section } from './schema.js';

export {
  ConfigError,
  type Position,
  type Problem,
  Problems,
  positionText,
  shown,
} from './error.js';
export type { Grammar } from './lexer.js';
export { type Directive, type Entry, type Schema, Section } from './schema.js';
export * as types from './types.js';

/** A configuration is written by hand; anything larger is another file given by mistake. */
const FILE_BYTES_MAX = 1 << 20;

/**
 * Checks text against a schema. `more` looks at what a table cannot say (one value against
 * another) and adds to the problems, so that all are told at once. Throws ConfigError.
 */
export function readConfig<T>(
  file: string,
  text: string,
  schema: Schema,
  grammar: Grammar,
  more: (root: Section, problems: Problems) => T,
): T {
  const problems = new Problems();
  const tree = parse(file, text, grammar, problems);
  const root = check(tree, schema, problems);
  // `more` may rely on every value's type and on every required directive.
  problems.throwIfAny();
  const result = more(root, problems);
  problems.throwIfAny();
  return result;
}

/** The same for a file. */
export function loadConfig<T>(
  file: string,
  schema: Schema,
  grammar: Grammar,
  more: (root: Section, problems: Problems) => T,
): T {
  return readConfig(file, readText(file), schema, grammar, more);
}

/** A file by its grammar alone, for a reader that looks for one directive of it. */
export function readTree(file: string, grammar: Grammar): Block {
  const problems = new Problems();
  const tree = parse(file, readText(file), grammar, problems);
  problems.throwIfAny();
  return tree;
}

function readText(file: string): string {
  const at = { file, line: 1, column: 1 };
  try {
    const { size } = statSync(file);
    if (size > FILE_BYTES_MAX) {
      const message = `${size} bytes are too many for a configuration: expected at most ${FILE_BYTES_MAX}`;
      throw new ConfigError([{ at, message }]);
    }
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const message = `the file cannot be read (${code}): expected a readable configuration file`;
    throw new ConfigError([{ at, message }]);
  }
}
