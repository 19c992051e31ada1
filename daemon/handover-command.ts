// What lets go of the addresses, or takes them, where no track file does.
import { runCommand } from './command.js';
import type { FailoverSettings } from './config.js';
import type { Log } from './log.js';

/**
 * @param what `give` where they are, `take` where they are to be
 * @param peer the name of the other node
 * @returns what went wrong; undefined: nothing did, or there is no such command
 */
export async function handoverCommand(
  { handoverCommand: words, handoverCommandTimeoutMs: timeoutMs }: FailoverSettings,
  what: 'give' | 'take',
  peer: string,
  log: Log,
): Promise<string | undefined> {
  if (words.length === 0) return undefined;
  const result = await runCommand({ argv: [...words, what, peer], env: {}, timeoutMs });
  if (result.outcome === 'done') {
    log.info({ what, ...result }, 'HandoverCommand');
    return undefined;
  }
  log.error({ what, ...result }, 'HandoverCommand');
  const said = result.output.split('\n')[0];
  return `HandoverCommand ${what}: ${result.how}${said ? `: ${said}` : ''}; see the log`;
}
