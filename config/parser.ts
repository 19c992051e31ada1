// Tokens into a tree of statements, with no knowledge of any directive:
//
//   file      = { statement }
//   statement = word { word } [ block ] line-end
//   block     = "{" { statement } "}"
//
// A block's brace may stand on the next line. What the words mean, and whether one line holds
// several directives, is for schema.ts, which knows how many arguments each of them takes.
import type { Position, Problems } from './error.js';
import { type Grammar, lex, type Token } from './lexer.js';

export interface Word {
  readonly text: string;
  readonly quoted: boolean;
  readonly at: Position;
}

export interface Block {
  readonly at: Position; // of its opening brace, or the file's beginning
  readonly end: Position; // of its closing brace, or the file's end
  readonly statements: readonly Statement[];
}

export interface Statement {
  readonly words: readonly Word[]; // one at least
  readonly block?: Block;
}

/** Deeper than any real file; bounds the recursion. */
const DEPTH_MAX = 16;

export function parse(file: string, text: string, grammar: Grammar, problems: Problems): Block {
  const parser = new Parser(lex(file, text, grammar, problems), problems);
  return parser.file({ file, line: 1, column: 1 });
}

class Parser {
  private next = 0;

  constructor(
    private readonly tokens: readonly Token[],
    private readonly problems: Problems,
  ) {}

  file(at: Position): Block {
    const statements: Statement[] = [];
    for (;;) {
      this.statements(statements, 0);
      const token = this.peek();
      if (token.kind === 'end') return { at, end: token.at, statements };
      this.problems.add(token.at, 'unexpected }: no block is open here');
      this.next++;
    }
  }

  private peek(): Token {
    return this.tokens[this.next] as Token;
  }

  /** Up to a closing brace or the end, which is left for the caller. */
  private statements(into: Statement[], depth: number): void {
    for (;;) {
      const token = this.peek();
      if (token.kind === 'end' || token.kind === 'close') return;
      if (token.kind === 'newline') this.next++;
      else if (token.kind === 'open') {
        this.problems.add(token.at, 'unexpected {: expected the name of a directive before it');
        this.block(depth);
      } else into.push(this.statement(depth));
    }
  }

  private statement(depth: number): Statement {
    const words: Word[] = [];
    while (this.peek().kind === 'word') {
      const { text, quoted, at } = this.peek();
      words.push({ text, quoted, at });
      this.next++;
    }
    let ahead = this.next;
    while (this.tokens[ahead]?.kind === 'newline') ahead++;
    if (this.tokens[ahead]?.kind !== 'open') return { words };
    this.next = ahead;
    return { words, block: this.block(depth) };
  }

  private block(depth: number): Block {
    const at = this.peek().at;
    this.next++;
    if (depth >= DEPTH_MAX) {
      this.problems.add(at, `blocks are nested deeper than ${DEPTH_MAX}`);
      this.next = this.tokens.length - 1;
      return { at, end: at, statements: [] };
    }
    const statements: Statement[] = [];
    this.statements(statements, depth + 1);
    const end = this.peek();
    if (end.kind === 'close') this.next++;
    else this.problems.add(at, 'this block is never closed: expected } before the end of the file');
    return { at, end: end.at, statements };
  }
}
