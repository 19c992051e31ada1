// What is wrong with a configuration, always with the place where it stands.

export interface Position {
  readonly file: string;
  readonly line: number; // from 1
  readonly column: number; // from 1, in UTF-16 code units
}

export interface Problem {
  readonly at: Position;
  readonly message: string;
}

/** Problems told at once; a binary file given by mistake must not fill the terminal. */
export const PROBLEMS_SHOWN_MAX = 20;

export function positionText(at: Position): string {
  return `${at.file}:${at.line}:${at.column}`;
}

/** A piece of the file inside a message: short, and harmless to a terminal. */
export function shown(text: string): string {
  const cut = text.length > 64 ? `${text.slice(0, 64)}...` : text;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  return `"${cut.replace(/[\x00-\x1f\x7f-\x9f]/g, '?')}"`;
}

/** The one error of this layer. Its message is `FILE:LINE:COLUMN: …` per problem, a line each. */
export class ConfigError extends Error {
  readonly exitCode = 2;
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const lines = problems
      .slice(0, PROBLEMS_SHOWN_MAX)
      .map((problem) => `${positionText(problem.at)}: ${problem.message}`);
    if (problems.length > PROBLEMS_SHOWN_MAX) {
      lines.push(`... and ${problems.length - PROBLEMS_SHOWN_MAX} more`);
    }
    super(lines.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Gathers problems, so that one run of the check tells them all. */
export class Problems {
  readonly list: Problem[] = [];

  add(at: Position, message: string): void {
    this.list.push({ at, message });
  }

  /** Throws when there is anything to tell, in the order of the file. */
  throwIfAny(): void {
    if (this.list.length === 0) return;
    const sorted = [...this.list].sort(
      (a, b) => a.at.line - b.at.line || a.at.column - b.at.column,
    );
    throw new ConfigError(sorted);
  }
}
