import { libc } from './native.js';
import { boundSocket, snapshot } from './socket.js';

/** Whether splice() can work here and now: the datapath is loaded, and this process in its cgroup. */
export function spliceAvailable(): boolean {
  const fd = boundSocket({ address: '0.0.0.0', port: 0 });
  if (fd === undefined) return false;
  try {
    return snapshot(fd) !== undefined;
  } finally {
    libc.close(fd);
  }
}
