/**
 * While the table is being copied into another one (another size, a newer object), the calls that
 * change it answer EBUSY for some milliseconds. They are asked again, and the event loop goes on.
 */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { libc } from './native.js';
import { SocketOption } from './record/layout.js';
import { boundSocket, Errno, fdOf, isLinkLocal, type LegAddresses, spliceCall } from './socket.js';

const AGAIN_MS = 2;
/** For a call that a connection waits for. */
const BUSY_PATIENCE_MS = 3000;
/** Nobody waits for ABORT; an entry that it misses holds its addresses for the timeout of its state. */
const ABORT_PATIENCE_MS = 60_000;

/** A copy was cut off and left the table shut: nobody waits for it again before it has answered. */
let stuck = false;

/** How long to wait for a table that is being copied. */
export const busyPatienceMs = (): number => (stuck ? 0 : BUSY_PATIENCE_MS);

/**
 * @param call is given a new chance every 2 ms, and has to find its descriptor anew each time: a
 * socket that is closed meanwhile leaves its number to another one
 * @returns its errno; EBUSY after patienceMs
 */
export async function untilFree(
  call: () => number,
  patienceMs = busyPatienceMs(),
): Promise<number> {
  for (const begun = performance.now(); ; ) {
    const error = call();
    const late = performance.now() - begun > patienceMs;
    stuck = error === Errno.EBUSY && (stuck || late);
    if (error !== Errno.EBUSY || late) return error;
    await sleep(AGAIN_MS);
  }
}

/** Ask by whichever socket is left; when all are gone, by one of no other use. */
function askToForget(sockets: Socket[], legs: LegAddresses[]): number {
  const fd = sockets.map(fdOf).find((open) => open !== undefined);
  if (fd !== undefined) return spliceCall(fd, SocketOption.ABORT, { legs });
  const spare = boundSocket({ address: '0.0.0.0', port: 0 });
  if (spare === undefined) return 0;
  const error = spliceCall(spare, SocketOption.ABORT, { legs });
  libc.close(spare);
  return error;
}

/**
 * Forget the entry of a pair that is not spliced: reserved or held, it would keep its addresses. Comes
 * back when that is done, or nobody should wait for it any more; it is then asked for without them.
 * @param sockets of its legs, as far as they are there
 * @param client addresses of the client's leg, by which the entry is found when the sockets are gone
 */
export async function abort(sockets: Socket[], client: LegAddresses | undefined): Promise<void> {
  const ask = () => askToForget(sockets, client && !isLinkLocal(client) ? [client] : []);
  if ((await untilFree(ask)) === Errno.EBUSY) void untilFree(ask, ABORT_PATIENCE_MS);
}
