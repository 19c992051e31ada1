/**
 * The life of one client's connection:
 *
 *   reading ─► connecting ─► joining ─┬─► committing ─► the kernel's alone
 *      │            │                 └─► relaying ───► closed
 *      └────────────┴─► answering ────────────────────► closed
 */
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { abort } from '../kernel/busy.js';
import { connect } from '../kernel/connect.js';
import { endpointText, familyOf, isScoped } from '../kernel/endpoint.js';
import { KernelError } from '../kernel/error.js';
import { liveCount } from '../kernel/service.js';
import { fdOf, snapshot } from '../kernel/socket.js';
import { REFUSALS, type RefusalReason, splice } from '../kernel/splice.js';
import type { Alignment } from './alignment.js';
import { answer } from './answer.js';
import type { VirtualServer } from './config.js';
import type { CounterName, Counters } from './counters.js';
import { HeadError, type HeadErrorCode, type RequestHead, readHead } from './head.js';
import type { Presence } from './presence.js';
import { relay } from './relay.js';
import type { Candidate, Rota } from './schedule.js';
import type { Throttle } from './throttle.js';

export const CONNECT_TIMEOUT_MS = 3_000;
/** Real servers that one client's request is offered to. */
export const TRIES_MAX = 4;

export type FlowState =
  | 'reading'
  | 'connecting'
  | 'joining'
  | 'committing'
  | 'relaying'
  | 'answering';

/** What all flows of the process share. */
export interface Shared {
  readonly counters: Counters;
  readonly log: Logger;
  readonly throttle: Throttle;
  readonly presence: Presence;
}

/** What a connection is accepted for. */
export interface Served {
  readonly virtual: VirtualServer;
  readonly rota: Rota;
  readonly alignment: Alignment;
}

const BAD_HEADS: Record<HeadErrorCode, { counter: CounterName; status?: number }> = {
  MALFORMED: { counter: 'malformed', status: 400 },
  VERSION: { counter: 'version', status: 505 },
  TIMEOUT: { counter: 'timeout', status: 408 },
  TOO_LARGE: { counter: 'too_large', status: 431 },
  CLIENT_GONE: { counter: 'client_gone' },
};

export class Flow {
  state: FlowState = 'reading';
  #server: Socket | undefined;
  #held: Candidate | undefined;

  readonly #virtual: VirtualServer;
  readonly #rota: Rota;
  readonly #alignment: Alignment;

  constructor(
    readonly client: Socket,
    { virtual, rota, alignment }: Served,
    readonly shared: Shared,
  ) {
    this.#virtual = virtual;
    this.#rota = rota;
    this.#alignment = alignment;
    // 'close' follows every 'error', and tells all that is needed.
    client.on('error', () => {});
  }

  /** Comes back when no socket of this flow is left. Never throws. */
  async run(): Promise<void> {
    try {
      await this.#serve();
    } catch (error) {
      this.shared.counters.add('failed');
      this.shared.throttle.say('failed', (more) =>
        this.shared.log.error({ err: error, more }, 'a connection failed here and was reset'),
      );
      this.reset();
    } finally {
      this.#hold(undefined);
    }
  }

  /** Ends it at once, visibly for both ends. What the kernel carries is not touched by it. */
  reset(): void {
    for (const socket of [this.client, this.#server]) {
      if (socket && !socket.destroyed) socket.resetAndDestroy();
    }
  }

  async #serve(): Promise<void> {
    let head: RequestHead;
    try {
      head = await readHead(this.client);
    } catch (error) {
      if (!(error instanceof HeadError)) throw error;
      return this.#refuse(error);
    }
    this.state = 'connecting';
    const server = await this.#connect();
    if (this.client.destroyed) {
      if (server) void abort([server], undefined);
      server?.destroy();
      this.shared.counters.add('client_gone');
    } else if (!server) {
      this.shared.counters.add('no_server');
      await this.#answer(503, 'no real server answers', head.method !== 'HEAD');
    } else {
      await this.#join(server, head.bytes);
    }
  }

  async #refuse(error: HeadError): Promise<void> {
    const { counter, status } = BAD_HEADS[error.code];
    this.shared.counters.add(counter);
    if (status === undefined) this.client.destroy();
    else await this.#answer(status, error.message);
  }

  #answer(status: number, reason: string, withBody = true): Promise<void> {
    this.state = 'answering';
    return answer(this.client, status, reason, withBody);
  }

  /** A connection to the first of the chosen real servers that takes one, or undefined. */
  async #connect(): Promise<Socket | undefined> {
    const { ports } = this.#virtual;
    const tried = new Set<Candidate>();
    while (tried.size < TRIES_MAX && !this.client.destroyed) {
      const candidate = this.#rota.next(tried, (c) => this.#load(c));
      if (!candidate) return undefined;
      tried.add(candidate);
      this.#hold(candidate);
      const { address, port } = candidate.real;
      const source = this.#source(address);
      const asked = this.#alignment.asked(candidate);
      try {
        const server = await connect({
          address,
          port,
          ...(source && { source }),
          ...(ports && { ports: [...ports] as [number, number] }),
          client: this.client,
          asked,
          timeoutMs: CONNECT_TIMEOUT_MS,
        });
        server.on('error', () => {});
        server.setNoDelay(true);
        this.#rota.served(candidate);
        this.#learn(candidate, asked, server);
        this.#server = server;
        return server;
      } catch (error) {
        this.#hold(undefined);
        this.#rota.failed(candidate);
        if (!(error instanceof KernelError)) throw error;
        this.#tellConnectFailed(endpointText(candidate.real), error);
      }
    }
    return undefined;
  }

  /** The address to come from: as configured, or the one that the client came to, where it will do. */
  #source(to: string): string | undefined {
    const family = familyOf(to);
    const here = this.client.localAddress;
    const configured = this.#virtual.source[family];
    if (configured || !here || isScoped(here) || familyOf(here) !== family) return configured;
    return here;
  }

  #learn(candidate: Candidate, asked: number, server: Socket): void {
    const [client, answered] = [this.client, server].map((socket) => {
      const fd = fdOf(socket);
      return fd === undefined ? undefined : snapshot(fd);
    });
    if (client && answered) this.#alignment.note(candidate, asked, client, answered);
  }

  #tellConnectFailed(real: string, error: KernelError): void {
    const { counters, throttle, log } = this.shared;
    const reason = error.errno ?? error.code;
    counters.add('connect_failed', reason);
    throttle.say(`${reason} ${real}`, (more) =>
      log.warn({ real, reason, more }, `no connection to a real server: ${error.message}`),
    );
  }

  async #join(server: Socket, read: Buffer): Promise<void> {
    const { counters } = this.shared;
    this.state = 'joining';
    const result = await splice(this.client, server, { toServer: read });
    if (result.spliced) {
      counters.add('spliced');
      this.shared.presence.set(true);
      this.state = 'committing';
      // From here on the datapath counts this connection.
      this.#hold(undefined);
      counters.add(await result.committed);
      return;
    }
    counters.add('relayed', result.reason);
    this.#tellRelayed(result.reason);
    this.state = 'relaying';
    counters.add(`relay_${await relay(this.client, server, result)}`);
  }

  #tellRelayed(reason: RefusalReason): void {
    const { presence, throttle, log } = this.shared;
    if (reason === 'unavailable') {
      presence.set(false);
      return;
    }
    throttle.say(`relayed ${reason}`, (more) =>
      log.warn({ reason, more }, `relaying in user space: ${REFUSALS[reason]}`),
    );
  }

  /** All live connections of a real server: the datapath's, and those held by this process. */
  #load(candidate: Candidate): number {
    const { localAddress, localPort } = this.client;
    const { address, port } = candidate.real;
    const spliced = liveCount(this.client, {
      virtual: { address: localAddress as string, port: localPort as number },
      real: { address, port },
    });
    return (spliced ?? 0) + candidate.held;
  }

  #hold(candidate: Candidate | undefined): void {
    if (this.#held) this.#held.held--;
    if (candidate) candidate.held++;
    this.#held = candidate;
  }
}
