import { getSystemErrorName } from 'node:util';

export type KernelErrorCode =
  | 'NOT_ROOT'
  | 'NO_LIBBPF'
  | 'NO_OBJECT'
  | 'OBJECT_REFUSED'
  | 'NO_BPFFS'
  | 'NO_CGROUP'
  | 'NO_INTERFACE'
  | 'NOT_ETHERNET'
  | 'LAYOUT_CHANGED'
  | 'TABLE_TOO_SMALL'
  | 'TABLE_TOO_LARGE'
  | 'PINS_BUSY'
  | 'SYSTEM_CALL';

/** What the kernel or its libraries refused, with a sentence that says what to do. */
export class KernelError extends Error {
  readonly code: KernelErrorCode;
  /** The system's own name of it, as ECONNREFUSED, for who counts by it. */
  readonly errno: string | undefined;

  constructor(code: KernelErrorCode, message: string, errno?: string) {
    super(message);
    this.name = 'KernelError';
    this.code = code;
    this.errno = errno;
  }
}

/** "ENOENT" of 2 (or -2). */
export function errnoName(errno: number): string {
  return getSystemErrorName(-Math.abs(errno));
}

/** A system call that has no better story to tell. */
export function callFailed(what: string, errno: number): KernelError {
  const name = errnoName(errno);
  return new KernelError('SYSTEM_CALL', `${what} failed: ${name}`, name);
}
