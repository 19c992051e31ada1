// Which daemon is meant: -S names its socket, -C its configuration, else the system's own.
import { existsSync } from 'node:fs';
import { readTree } from '../config/index.js';

const CONFIG_FILE_DEFAULT = '/etc/spliced/spliced.conf';
const SOCKET_DEFAULT = '/run/spliced/spliced.ctl';

/** The flags that every command has. */
export interface Daemon {
  readonly socket?: string | undefined;
  readonly config?: string | undefined;
}

export function socketPath(chosen: Daemon): string {
  if (chosen.socket !== undefined) return chosen.socket;
  if (chosen.config !== undefined) return configured(chosen.config);
  return existsSync(CONFIG_FILE_DEFAULT) ? configured(CONFIG_FILE_DEFAULT) : SOCKET_DEFAULT;
}

/** General { UNIX { Path } } of a file; the rest of it is the daemon's to judge. */
function configured(file: string): string {
  let block = readTree(file, {});
  for (const name of ['General', 'UNIX']) {
    // a line may hold several directives: its block is the last one's
    const inner = block.statements.find(({ words }) => words.at(-1)?.text === name)?.block;
    if (!inner) return SOCKET_DEFAULT;
    block = inner;
  }
  const path = block.statements.find(({ words }) => words[0]?.text === 'Path')?.words[1]?.text;
  return path ?? SOCKET_DEFAULT;
}
