// SPDX-License-Identifier: MIT
/**
 * The proxy of two-legs.ts in a process of its own, which a test can kill. On 'listen' it listens and
 * says 'ready'; then 'connected' for each pair, and on 'splice' it splices that and says 'spliced' when
 * it is under way, or why it is not. With 'read all' it reads all that PUT announces before that.
 */
import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:net';
import { connect } from '../../../kernel/connect.js';
import { listen } from '../../../kernel/listen.js';
import { splice } from '../../../kernel/splice.js';
import { clientLeg, serverLeg } from './plan.js';

const SETTLE_MS = 5_000;
const heard = new EventEmitter();
let readAll = false;

const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, async (client) => {
  const { there: address, here: source } = serverLeg[4];
  const port = serverLeg.port;
  client.on('error', () => {});
  const pieces: Buffer[] = [];
  let wanted = 1;
  client.on('data', (piece) => pieces.push(piece as Buffer));
  client.resume();
  for (let got = 0; got < wanted; ) {
    await once(client, 'data');
    got = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (readAll) wanted = Number(pieces[0].toString('latin1', 0, 40).split(' ')[1]);
  }
  client.pause();
  const real = await connect({ address, port, source, client, timeoutMs: 3000 });
  process.send?.('connected');
  await once(heard, 'splice');
  const toServer = Buffer.concat(pieces);
  const result = await splice(client, real, { toServer, settleTimeoutMs: SETTLE_MS });
  process.send?.(result.spliced ? 'spliced' : result.reason);
});
heard.on('read all', () => {
  readAll = true;
});
heard.once('listen', async () => {
  await listen(server, { address: clientLeg[4].here, port: 80, backlog: 16 });
  process.send?.('ready');
});
process.on('message', (message) => heard.emit(message as string));
process.on('disconnect', () => process.exit());
