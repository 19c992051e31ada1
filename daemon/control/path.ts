// The path of the control socket, before anything listens there.
import { lstatSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { ControlError } from './error.js';

/** sun_path of Linux's sockaddr_un, less its final zero. A longer path would be cut in silence. */
const SOCKET_PATH_BYTES_MAX = 107;

export function assertPath(path: string): void {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX || path.includes('\0') || path === '') {
    throw new ControlError(
      'bad_path',
      `the control socket's path must have 1 to ${SOCKET_PATH_BYTES_MAX} bytes: choose another in General { UNIX { Path } }`,
    );
  }
}

/** Removes a socket on which nobody listens. Leaves anything else, and says so. */
export async function clearStale(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isSocket()) {
    throw new ControlError(
      'bad_path',
      `${path} is there and is no socket: move it away, or choose another path in General { UNIX { Path } }`,
    );
  }
  if (await answers(path)) {
    throw new ControlError(
      'running',
      `a spliced is running and listens on ${path}: stop it first (splicectl -S ${path} -k)`,
    );
  }
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      // A full backlog is a daemon that is alive.
      else if (error.code === 'EAGAIN') resolve(true);
      else {
        const message = `${path} cannot be tried (${error.code}): run spliced as the user who owns it`;
        reject(new ControlError('not_permitted', message, { cause: error }));
      }
    });
  });
}
