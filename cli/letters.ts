// conntrackd's command line for those whose fingers know it: a letter stands for a verb, options
// may come before it, and its operand after it (`splicectl -C FILE -s network`). oclif wants the
// verb first, so the line is put in that order: verb, operands, options.
import { shown } from '../config/error.js';
import { suggest } from '../config/suggest.js';
import { UsageError } from './error.js';

export const LETTERS: Readonly<Record<string, readonly string[]>> = {
  '-c': ['commit'],
  '-f': ['flush'],
  '-F': ['flush-kernel'],
  '-i': ['dump', 'internal'],
  '-e': ['dump', 'external'],
  '-k': ['stop'],
  '-s': ['stats'],
  '-R': ['resync'],
  '-n': ['request'],
  '-B': ['bulk'],
  '-t': ['shorten'],
};

/** Options whose value is the next word, which therefore is no verb. */
const WITH_VALUE: ReadonlySet<string> = new Set([
  '-S',
  '--socket',
  '-C',
  '--config',
  '--node',
  '--src',
  '--dst',
  '--sport',
  '--dport',
  '--state',
  '--service',
]);

const ALONE = ['--help', '-h', '--version', '-V'];

export function arrange(argv: readonly string[], verbs: readonly string[]): string[] {
  const operands: string[] = [];
  const options: string[] = [];
  let verb: readonly string[] | undefined;
  let given = ''; // as it was typed

  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string;
    const letter = Object.hasOwn(LETTERS, word) ? LETTERS[word] : undefined;
    if (WITH_VALUE.has(word)) options.push(...argv.slice(i, ++i + 1));
    else if (!letter && word.startsWith('-')) options.push(word);
    else if (letter && verb) {
      throw new UsageError(`${given} and ${word} are two commands: give one of them`);
    } else if (letter || !verb) {
      verb = letter ?? [word];
      given = word;
    } else operands.push(word);
  }

  if (!verb) return alone(options);
  if (given === 'help') {
    return operands[0] === undefined ? ['--help'] : [known(operands[0], verbs), '--help'];
  }
  known(verb[0] as string, verbs);
  return [...verb, ...operands, ...options];
}

function alone(options: readonly string[]): string[] {
  const [first] = options;
  if (first !== undefined && ALONE.includes(first)) return [first];
  throw new UsageError('no command is given: see splicectl --help');
}

function known(verb: string, verbs: readonly string[]): string {
  if (verbs.includes(verb)) return verb;
  const meant = suggest(verb, verbs);
  const expected = meant ? `did you mean ${meant}?` : `expected one of ${verbs.join(', ')}`;
  throw new UsageError(`${shown(verb)} is no command of splicectl: ${expected}`);
}
