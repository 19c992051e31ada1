// Text into tokens. Line ends are tokens too, since a directive's arguments end with its line.
import type { Position, Problems } from './error.js';

export type TokenKind = 'word' | 'open' | 'close' | 'newline' | 'end';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string; // of a word, without its quotes
  readonly quoted: boolean;
  readonly at: Position;
}

export interface Grammar {
  /** Characters that begin a comment where a word could begin; '#' always is one. */
  readonly comments?: string;
}

const BLANK = ' \t\r\v\f\uFEFF';
const ENDS_WORD = `${BLANK}\n{}"`;

export function lex(file: string, text: string, grammar: Grammar, problems: Problems): Token[] {
  const comments = `#${grammar.comments ?? ''}`;
  const tokens: Token[] = [];
  let offset = 0;
  let line = 1;
  let lineStart = 0;

  const here = (): Position => ({ file, line, column: offset - lineStart + 1 });
  const push = (kind: TokenKind, at: Position, word = '', quoted = false): void => {
    tokens.push({ kind, text: word, quoted, at });
  };

  while (offset < text.length) {
    const c = text[offset] as string;
    if (c === '\n') {
      push('newline', here());
      offset++;
      line++;
      lineStart = offset;
    } else if (BLANK.includes(c)) {
      offset++;
    } else if (comments.includes(c)) {
      while (offset < text.length && text[offset] !== '\n') offset++;
    } else if (c === '{' || c === '}') {
      push(c === '{' ? 'open' : 'close', here());
      offset++;
    } else if (c === '"') {
      const at = here();
      const { value, next, closed } = quotedString(text, offset);
      if (!closed) {
        problems.add(at, 'this quoted string does not end on its line: expected a closing "');
      }
      push('word', at, value, true);
      offset = next;
    } else {
      const at = here();
      const start = offset;
      while (offset < text.length && !ENDS_WORD.includes(text[offset] as string)) offset++;
      const word = text.slice(start, offset);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      if (/[\x00-\x1f\x7f\ufffd]/.test(word)) {
        problems.add(at, 'a control character or invalid UTF-8: expected plain text');
      }
      push('word', at, word);
    }
  }
  push('end', here());
  return tokens;
}

/** From the opening quote on; \" and \\ stand for " and \. A line's end closes it, unhappily. */
function quotedString(
  text: string,
  start: number,
): { value: string; next: number; closed: boolean } {
  let value = '';
  let offset = start + 1;
  while (offset < text.length && text[offset] !== '\n') {
    const c = text[offset] as string;
    if (c === '"') return { value, next: offset + 1, closed: true };
    const escaped = text[offset + 1];
    if (c === '\\' && (escaped === '"' || escaped === '\\')) {
      value += escaped;
      offset += 2;
    } else {
      value += c;
      offset++;
    }
  }
  return { value, next: offset, closed: false };
}
