import type { Result } from './account.js';
import { counts, draw, INTRODUCTION, summary, type View } from './picture.js';

/** Where the story goes. */
export interface Screen {
  begin(): void;
  /** Called a few times a second. */
  show(view: View): void;
  /** Something happened; told once. */
  tell(text: string): void;
  end(result: Result): void;
}

function stamp(from: number): string {
  return `${((performance.now() - from) / 1000).toFixed(1).padStart(5)} s`;
}

const COLOURS: [RegExp, number][] = [
  [/● ACTIVE/, 32],
  [/✗ DEAD|DEAD|BROKE/, 31],
  [/◐ taking over/, 33],
  [/█+/, 36],
];

function coloured(line: string): string {
  if (process.env.NO_COLOR) return line;
  return COLOURS.reduce(
    (text, [what, colour]) => text.replace(what, (found) => `\x1b[1;${colour}m${found}\x1b[0m`),
    line,
  );
}

/** A terminal: one picture, drawn over itself, with what happened above it. */
export class Terminal implements Screen {
  #height = 0;
  #last: string[] = [];
  readonly #began = performance.now();
  readonly #out = process.stdout;

  begin(): void {
    this.#out.write(`\x1b[?25l\n${INTRODUCTION.join('\n')}\n\n`);
    // Whatever way this ends, the cursor comes back.
    process.on('exit', () => this.#out.write('\x1b[?25h'));
  }

  show(view: View): void {
    this.#last = draw(view);
    this.#redraw([]);
  }

  tell(text: string): void {
    this.#redraw([`${stamp(this.#began)}  ${text}`]);
  }

  end(result: Result): void {
    this.#out.write(`${summary(result).join('\n')}\n`);
  }

  #redraw(above: string[]): void {
    const up = this.#height > 0 ? `\x1b[${this.#height}A` : '';
    // A gap between what happened and the picture, so that they do not run together.
    const picture = this.#last.length > 0 ? ['', ...this.#last] : [];
    const width = this.#out.columns || 100;
    const lines = [...above, ...picture].map(
      (line) => `\x1b[2K${coloured([...line].slice(0, width).join(''))}`,
    );
    this.#out.write(`${up}\r${lines.join('\n')}${lines.length > 0 ? '\n' : ''}\x1b[J`);
    this.#height = picture.length;
  }
}

/** Rows that the picture and some of what happened need; in fewer it would be drawn in the wrong place. */
export const TERMINAL_ROWS_MIN = 22;

/** No terminal: lines that make sense in a log, one of counts a second. */
export class Plain implements Screen {
  readonly #began = performance.now();
  #counted = 0;

  begin(): void {
    console.log(INTRODUCTION.join('\n'));
  }

  show(view: View): void {
    const now = performance.now();
    if (now - this.#counted < 1000) return;
    this.#counted = now;
    if (view.begun === 0) return;
    const [a, b] = view.nodes;
    const node = (n: typeof a) => `${n.name} ${n.role}, ${n.splices} splices, ${n.copies} copies`;
    console.log(`${stamp(this.#began)}  ${counts(view)}; ${node(a)}; ${node(b)}`);
  }

  tell(text: string): void {
    console.log(`${stamp(this.#began)}  ${text}`);
  }

  end(result: Result): void {
    console.log(summary(result).join('\n'));
  }
}

/** Standard output carries one JSON object and nothing else; the story is left out. */
export class Json implements Screen {
  begin(): void {}
  show(): void {}
  tell(): void {}

  end(result: Result): void {
    console.log(JSON.stringify(result));
  }
}
