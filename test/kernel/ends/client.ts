// SPDX-License-Identifier: MIT
/** Clients of the proxy, on request of the test: {verb, length, …} in, {ok, answer} out. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { pattern, patternHash } from './pattern.js';
import { type Peculiarity, peculiarConnect } from './peculiar.js';
import { clientLeg, type Family } from './plan.js';

export interface Transfer {
  verb: 'GET' | 'PUT' | 'SLOW' | 'ALL';
  length: number;
  /** Families of the two legs. Default 4. */
  client?: Family;
  server?: Family;
  /** Of the proxy, where they are not the families'. */
  host?: string;
  port?: number;
  /** Local port. */
  from?: number;
  /** A connection that cannot be spliced. */
  peculiar?: Peculiarity;
  /** SLOW: how long the server does not read. */
  pauseMs?: number;
  /** Pause after each piece that is written, to stream through the moment of splicing. */
  paceMs?: number;
  /** Size of a piece. */
  piece?: number;
  /** Half-close so long after the last byte was written; not at all when absent. */
  finAfterMs?: number;
}

async function transfer(t: Transfer): Promise<{ ok: boolean; answer: string }> {
  const host = t.host ?? clientLeg[t.client ?? 4].here;
  const port = t.port ?? clientLeg.portTowards[t.server ?? 4];
  const socket = t.peculiar
    ? peculiarConnect(t.peculiar, { address: host, port })
    : connect({ host, port, allowHalfOpen: true, ...(t.from && { localPort: t.from }) });
  socket.setNoDelay(true);
  socket.setTimeout(20_000, () => socket.destroy(new Error('no byte for 20 s')));
  const hash = createHash('sha256');
  const received: Buffer[] = [];
  let got = 0;
  socket.on('data', (piece) => {
    got += piece.length;
    if (t.verb === 'GET') hash.update(piece);
    else received.push(piece);
  });
  const ended = new Promise<void>((resolve, reject) => {
    socket.on('end', resolve);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed after ${got} bytes`)));
  });
  ended.catch(() => {}); // looked at below, after the writing
  const line = [t.verb, t.length, ...(t.pauseMs ? [t.pauseMs] : [])].join(' ');
  // or the first pieces leave together
  if (t.paceMs) await Promise.race([once(socket, 'connect'), ended]);
  socket.write(`${line}\n`);
  if (t.verb !== 'GET') {
    for (const piece of pattern(t.length, t.piece)) {
      if (!socket.write(piece)) await Promise.race([once(socket, 'drain'), ended]);
      if (t.paceMs) await sleep(t.paceMs);
    }
  }
  if (t.finAfterMs !== undefined) {
    await sleep(t.finAfterMs);
    socket.end();
  }
  await ended;
  socket.end();
  const answer =
    t.verb === 'GET' ? `${got} ${hash.digest('hex')}` : Buffer.concat(received).toString();
  return { ok: answer === `${t.length} ${patternHash(t.length)}`, answer };
}

process.on('message', ({ id, ...t }: Transfer & { id: number }) => {
  transfer(t)
    .catch((error: Error) => ({ ok: false, answer: error.message }))
    .then((result) => process.send?.({ id, ...result }));
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
