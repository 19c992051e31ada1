import { LabError } from './lab.js';

/**
 * A command of its own: what it resolves to is the exit status. Bad usage (2) is told with the usage, what the
 * machine lacks (2) and what went wrong in the lab (1) in a sentence, anything else (1) whole.
 */
export function runProgram(name: string, usage: string, main: () => Promise<number>): void {
  main().then(
    (status) => process.exit(status),
    (error: unknown) => {
      const code = (error as { code?: string }).code ?? '';
      const misused = code === 'USAGE' || code.startsWith('ERR_PARSE_ARGS');
      if (error instanceof LabError || misused)
        console.error(`${name}: ${(error as Error).message}`);
      else console.error(error);
      if (misused) console.error(usage);
      process.exit(misused || code === 'MISSING' ? 2 : 1);
    },
  );
}
