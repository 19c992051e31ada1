// A program declares its directives as tables; this layer holds a parsed file to them and gives
// back checked values. A line may hold several directives (`weight 2 check http /healthz`): each
// takes as many words as its table entry says, and the next one begins after them.
import { type Position, type Problems, shown } from './error.js';
import type { Block, Statement, Word } from './parser.js';
import { suggest } from './suggest.js';
import type { ValueType } from './types.js';

export interface Directive {
  /** Arguments, one word each. */
  readonly args?: readonly ValueType<unknown>[];
  /** Takes one further word at least, up to the line's end or the name of the next directive. */
  readonly rest?: ValueType<unknown>;
  /** Optional groups after the arguments, each begun by its keyword: `dev eth0`. */
  readonly options?: Readonly<Record<string, readonly ValueType<unknown>[]>>;
  /** Directives of its block. */
  readonly block?: Schema;
  /** The block may be left out. */
  readonly blockOptional?: boolean;
  /** May stand more than once. */
  readonly repeat?: boolean;
  /** Must be there. */
  readonly required?: boolean;
  /** Known, but refused with this reason. Nothing else of it is looked at. */
  readonly refused?: string;
}

export type Schema = Readonly<Record<string, Directive>>;

/** One directive as it stands in the file, its values checked. */
export interface Entry {
  readonly name: string;
  readonly at: Position;
  /** Of args, then of rest. */
  readonly values: readonly unknown[];
  readonly valuesAt: readonly Position[];
  readonly options: Readonly<Record<string, readonly unknown[]>>;
  readonly block: Section;
}

/** The entries of a block, or none. */
export class Section {
  private readonly entries = new Map<string, Entry[]>();

  constructor(
    readonly at: Position,
    readonly present: boolean,
  ) {}

  add(entry: Entry): void {
    const list = this.entries.get(entry.name);
    if (list) list.push(entry);
    else this.entries.set(entry.name, [entry]);
  }

  all(name: string): readonly Entry[] {
    return this.entries.get(name) ?? [];
  }

  one(name: string): Entry | undefined {
    return this.entries.get(name)?.[0];
  }

  has(name: string): boolean {
    return this.entries.has(name);
  }

  /** The block of a directive that may be missing: then an empty one. */
  section(name: string): Section {
    return this.one(name)?.block ?? new Section(this.at, false);
  }

  /** First argument of a directive of one argument. T is what its table entry parses to. */
  value<T>(name: string): T | undefined;
  value<T>(name: string, otherwise: T): T;
  value<T>(name: string, otherwise?: T): T | undefined {
    const entry = this.one(name);
    return entry ? (entry.values[0] as T) : otherwise;
  }
}

export function check(block: Block, schema: Schema, problems: Problems): Section {
  return new Checker(problems).section(block, schema, '');
}

class Checker {
  constructor(private readonly problems: Problems) {}

  section(block: Block, schema: Schema, inside: string): Section {
    const section = new Section(block.at, true);
    const seen = new Map<string, Position>();
    for (const statement of block.statements) {
      let rest: Statement | undefined = statement;
      while (rest) rest = this.directive(rest, schema, inside, section, seen);
    }
    for (const [name, directive] of Object.entries(schema)) {
      if (directive.required && !seen.has(name)) {
        const where = inside === '' ? 'the file' : `the block of ${inside}`;
        this.problems.add(block.end, `${name} is missing: ${where} needs one`);
      }
    }
    return section;
  }

  /** Takes one directive off the statement and returns what is left of its line. */
  private directive(
    statement: Statement,
    schema: Schema,
    inside: string,
    section: Section,
    seen: Map<string, Position>,
  ): Statement | undefined {
    const [head, ...words] = statement.words as [Word, ...Word[]];
    const name = head.text;
    const directive = Object.hasOwn(schema, name) ? schema[name] : undefined;
    if (!directive || head.quoted) {
      this.unknown(head, schema, inside);
      return undefined;
    }
    if (directive.refused !== undefined) {
      this.problems.add(head.at, `${name}: ${directive.refused}`);
      seen.set(name, head.at);
      return undefined;
    }
    const before = seen.get(name);
    if (before && !directive.repeat) {
      this.problems.add(head.at, `${name} stands here twice: the first is in line ${before.line}`);
    }
    if (!before) seen.set(name, head.at);

    const taken = this.takeArguments(head, directive, words, schema);
    if (!taken) return undefined;
    const left = words.slice(taken.used);
    const block = left.length === 0 ? statement.block : undefined;
    const children = this.children(head, directive, block);
    if (!before || directive.repeat) {
      const { values, valuesAt, options } = taken;
      section.add({ name, at: head.at, values, valuesAt, options, block: children });
    }
    if (left.length === 0) return undefined;
    const extra = left[0] as Word;
    if (!begins(extra, schema)) {
      this.problems.add(
        extra.at,
        `unexpected ${shown(extra.text)} after ${usage(name, directive)}`,
      );
      return undefined;
    }
    return statement.block ? { words: left, block: statement.block } : { words: left };
  }

  private takeArguments(
    head: Word,
    directive: Directive,
    words: readonly Word[],
    schema: Schema,
  ):
    | {
        used: number;
        values: unknown[];
        valuesAt: Position[];
        options: Record<string, unknown[]>;
      }
    | undefined {
    const values: unknown[] = [];
    const valuesAt: Position[] = [];
    const options: Record<string, unknown[]> = {};
    let used = 0;
    const take = (type: ValueType<unknown>): unknown => {
      const given = words[used++] as Word;
      const value = type.parse(given.text);
      if (value === undefined) {
        const reason = type.refused?.(given.text);
        this.problems.add(
          given.at,
          reason === undefined
            ? `${shown(given.text)} is not what ${head.text} takes: expected ${type.expected}`
            : `${head.text} ${given.text}: ${reason}`,
        );
      }
      valuesAt.push(given.at);
      return value;
    };
    const lacking = (type: ValueType<unknown>): undefined => {
      const last = words[words.length - 1] ?? head;
      this.problems.add(
        last.at,
        `an argument of ${head.text} is missing: expected ${type.expected}`,
      );
      return undefined;
    };

    for (const type of directive.args ?? []) {
      if (used === words.length) return lacking(type);
      values.push(take(type));
    }
    if (directive.rest) {
      if (used === words.length) return lacking(directive.rest);
      do values.push(take(directive.rest));
      while (used < words.length && !begins(words[used] as Word, schema));
    }
    for (;;) {
      const key = words[used]?.text;
      if (key === undefined || !directive.options || !Object.hasOwn(directive.options, key)) break;
      if (Object.hasOwn(options, key)) {
        this.problems.add((words[used] as Word).at, `${key} stands here twice`);
      }
      used++;
      const group: unknown[] = [];
      for (const type of directive.options[key] as readonly ValueType<unknown>[]) {
        if (used === words.length) return lacking(type);
        group.push(take(type));
      }
      options[key] = group;
    }
    return { used, values, valuesAt, options };
  }

  private children(head: Word, directive: Directive, block: Block | undefined): Section {
    if (!directive.block) {
      if (block) this.problems.add(block.at, `unexpected {: ${head.text} takes no block`);
      return new Section(head.at, false);
    }
    if (block) return this.section(block, directive.block, head.text);
    if (!directive.blockOptional) {
      this.problems.add(head.at, `${head.text} needs a block: expected { after it`);
    }
    return new Section(head.at, false);
  }

  private unknown(head: Word, schema: Schema, inside: string): void {
    const where = inside === '' ? 'at the top of the file' : `in the block of ${inside}`;
    const meant = suggest(head.text, Object.keys(schema));
    const expected = meant
      ? `did you mean ${meant}?`
      : `expected one of ${Object.keys(schema)
          .filter((name) => schema[name]?.refused === undefined)
          .join(', ')}`;
    this.problems.add(head.at, `unknown directive ${shown(head.text)} ${where}: ${expected}`);
  }
}

/** A quoted word is never a directive, so that an argument may have any text. */
function begins(word: Word, schema: Schema): boolean {
  return !word.quoted && Object.hasOwn(schema, word.text);
}

function usage(name: string, directive: Directive): string {
  const count = directive.args?.length ?? 0;
  if (count === 0) return `${name}, which takes no argument`;
  return `${name}, which takes ${count} argument${count === 1 ? '' : 's'}`;
}
