// What VRRP or CARP has decided, kept beside the control socket: a script may run before the daemon
// does, or while it is restarted, and is not run again.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ControlError } from './error.js';
import { ROLES, type Role } from './protocol.js';

function fileOf(socketPath: string): string {
  return `${socketPath}.role`;
}

/** In one step: the daemon may be reading it. Throws ControlError. */
export function rememberRole(socketPath: string, role: Role): void {
  const file = fileOf(socketPath);
  const temporary = `${file}.${process.pid}`;
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    writeFileSync(temporary, `${role}\n`, { mode: 0o600 });
    renameSync(temporary, file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const message = `${file} cannot be written (${code}): a daemon that starts later will not know the role`;
    throw new ControlError('bad_path', message, { cause: error });
  }
}

/** What was said last; undefined when nothing was, since this machine has started. */
export function rememberedRole(socketPath: string): Role | undefined {
  try {
    const said = readFileSync(fileOf(socketPath), 'utf8').trim();
    return ROLES.find((role) => role === said);
  } catch {
    return undefined;
  }
}
