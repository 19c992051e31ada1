// What the tests of the control socket share: a place, a daemon's handlers that count, records.
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ControlLimits,
  ControlServer,
  type Handlers,
  VERBS,
  type Verb,
} from '../../daemon/control/index.js';
import { RECORD_SIZE, RECORD_VERSION, State } from '../../kernel/record/layout.js';
import { nodeId, RecordView } from '../../kernel/record/record.js';

export const NODES = { [nodeId('lb-a')]: 'lb-a', [nodeId('lb-b')]: 'lb-b' };

export interface Place {
  readonly dir: string;
  readonly path: string;
  remove(): void;
}

export function place(): Place {
  const dir = mkdtempSync(join(tmpdir(), 'spliced-ctl-'));
  return {
    dir,
    path: join(dir, 'spliced.ctl'),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Handlers that do nothing but note that they ran; `own` replaces some of them. */
export function noting(ran: string[], own: Partial<Handlers> = {}): Handlers {
  const note = (verb: Verb) => async () => {
    ran.push(verb);
    return {};
  };
  const all = Object.fromEntries(VERBS.map((verb) => [verb, note(verb)]));
  return { ...all, ...own } as unknown as Handlers;
}

export function serve(
  path: string,
  handlers: Handlers,
  limits: Partial<ControlLimits> = {},
): Promise<ControlServer> {
  const hello = () => ({ node: 'lb-a', nodes: NODES });
  return ControlServer.listen({ path, handlers, hello, limits });
}

/** Sends bytes as they are and gives back all that comes until the connection ends. */
export function raw(path: string, bytes: Uint8Array, half = false): Promise<Buffer> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    const socket = connect(path, () => {
      if (half) socket.end(bytes);
      else socket.write(bytes);
    });
    socket.on('data', (part) => parts.push(part));
    // The server may close while this side still writes; what came before counts.
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(Buffer.concat(parts)));
  });
}

/** n records as lb-a would have made them. */
export function records(n: number): Uint8Array {
  const bytes = new Uint8Array(n * RECORD_SIZE);
  const record = new RecordView(bytes);
  for (let i = 0; i < n; i++) {
    record.offset = i * RECORD_SIZE;
    record.version = RECORD_VERSION;
    record.id = BigInt(i + 1);
    record.incarnation = 1_700_000_000_000_000n;
    record.origin = nodeId('lb-a');
    record.owner = nodeId('lb-b');
    record.epoch = 2;
    record.generation = 3;
    record.remainingMs = 431_990_500;
    record.setState(0, State.SPLICED);
    record.setState(1, State.SPLICED);
    const client = record.tuple(0);
    client.source = '10.1.0.2';
    client.sourcePort = 40001 + (i % 20000);
    client.destination = '10.1.0.100';
    client.destinationPort = 80;
    const server = record.tuple(1);
    server.source = `10.2.0.${11 + (i % 3)}`;
    server.sourcePort = 8080;
    server.destination = '10.2.0.100';
    server.destinationPort = 20000 + (i % 20000);
  }
  return bytes;
}
