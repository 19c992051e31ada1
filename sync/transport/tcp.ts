/**
 * TCP to each of the other nodes, for networks that lose much or let nothing else through. Each node
 * listens, and connects to each of the others: a connection carries datagrams from whoever made it.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { isScoped, plainAddress } from '../../kernel/endpoint.js';
import { fdOf } from '../../kernel/socket.js';
import { counts } from '../counts.js';
import { SyncError } from '../error.js';
import type { LinkStats } from '../ports.js';
import { FrameReader } from './frames.js';
import type { Path, Receive } from './path.js';
import { findNewPlace, findPlace, MTU_MAX, type Place } from './place.js';
import type { TcpSettings } from './settings.js';
import { setBuffer } from './socket.js';
import { Stream } from './stream.js';

/** A peer says hello every second: one that has not said anything for so long is not there any more. */
const SILENT_MS = 5000;

interface Opened {
  readonly place: Place;
  readonly server: Server;
  readonly streams: ReadonlyMap<string, Stream>;
}

class TcpPath implements Path {
  readonly mtu = MTU_MAX;
  readonly #settings: TcpSettings;
  readonly #peers: ReadonlySet<string>;
  readonly #receive: Receive;
  readonly #incoming = new Map<string, Socket>();
  #opened: Opened | undefined;
  #missing: string | undefined;
  #closed = false;
  readonly #counts = counts(
    'datagrams_sent',
    'octets_sent',
    'datagrams_received',
    'octets_received',
    'queue_full', // a peer does not take what it is sent
    'not_sent_down', // while there was no connection
    'connected', // connections made
    'disconnected', // ended, by whatever
    'accepted',
    'strangers', // connections from an address that is not a peer's: refused
    'nonsense', // connections cut off because of a length that cannot be
    'silent', // connections cut off because nothing came any more
    'went_down',
  );

  constructor(settings: TcpSettings, receive: Receive) {
    this.#settings = settings;
    this.#peers = new Set(settings.peers.map(plainAddress));
    this.#receive = receive;
  }

  get fault(): string | undefined {
    if (!this.#opened) return this.#missing ?? 'not open';
    const { streams } = this.#opened;
    for (const stream of streams.values()) if (stream.isOpen) return undefined;
    return `no connection to ${[...streams.keys()].join(' or ')}`;
  }

  async open(): Promise<void> {
    const { server } = this.#openAt(findPlace(this.#settings));
    try {
      await once(server, 'listening');
    } catch (cause) {
      throw new SyncError('SOCKET', this.#unbound(cause as Error), { cause });
    }
  }

  look(): void {
    if (this.#closed) return;
    try {
      const place = findNewPlace(this.#settings, this.#opened?.place);
      if (!place) return;
      this.#shut();
      this.#openAt(place);
    } catch (error) {
      if (this.#opened) this.#counts.went_down++;
      this.#shut();
      this.#missing = (error as Error).message;
    }
  }

  send(datagram: Uint8Array): boolean {
    let taken = false;
    for (const stream of this.#opened?.streams.values() ?? []) {
      const outcome = stream.send(datagram);
      if (outcome !== 'sent') {
        this.#counts[outcome]++;
        continue;
      }
      taken = true;
      this.#counts.datagrams_sent++;
      this.#counts.octets_sent += datagram.length;
    }
    if (!this.#opened) this.#counts.not_sent_down++;
    return taken;
  }

  stats(): LinkStats {
    let pending = 0;
    for (const stream of this.#opened?.streams.values() ?? []) pending += stream.pending;
    return { ...this.#counts, pending_octets: pending, up: this.fault === undefined ? 1 : 0 };
  }

  close(): void {
    this.#closed = true;
    for (const stream of this.#opened?.streams.values() ?? []) stream.close();
    this.#shut();
  }

  #openAt(place: Place): Opened {
    const { port, peers, sendBuffer, receiveBuffer } = this.#settings;
    // a link-local address says nothing without its interface
    const zoned = (address: string): string =>
      /^fe[89ab]/i.test(address) ? `${address}%${place.interface}` : address;
    const server = createServer((socket) => this.#accept(socket));
    server.on('listening', () => {
      const fd = fdOf(server);
      if (fd !== undefined && receiveBuffer) setBuffer(fd, 'receive', receiveBuffer);
    });
    server.on('error', (error) => {
      this.#shut();
      this.#missing = this.#unbound(error);
    });
    server.listen({ host: zoned(place.address), port, exclusive: true });
    const changed = (open: boolean): void => {
      this.#counts[open ? 'connected' : 'disconnected']++;
    };
    const localAddress = zoned(place.address);
    const streams = new Map(
      peers.map((peer) => {
        const where = { host: zoned(peer), port, localAddress };
        return [peer, new Stream({ where, sendBuffer, changed })];
      }),
    );
    this.#opened = { place, server, streams };
    return this.#opened;
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {}); // `close` follows
    const [address] = (socket.remoteAddress ?? '').split('%');
    if (isScoped(address) || address === '' || !this.#peers.has(plainAddress(address))) {
      this.#counts.strangers++;
      socket.destroy();
      return;
    }
    this.#counts.accepted++;
    // the last one is the one that is alive
    this.#incoming.get(address)?.destroy();
    this.#incoming.set(address, socket);
    const reader = new FrameReader();
    socket.on('data', (chunk) => {
      if (reader.push(chunk, (datagram) => this.#take(socket, datagram))) return;
      this.#counts.nonsense++;
      socket.destroy();
    });
    socket.setTimeout(SILENT_MS, () => {
      this.#counts.silent++;
      socket.destroy();
    });
    socket.on('close', () => {
      if (this.#incoming.get(address) === socket) this.#incoming.delete(address);
    });
  }

  #take(socket: Socket, datagram: Uint8Array): void {
    if (socket.destroyed) return; // what it said after it was cut off
    this.#counts.datagrams_received++;
    this.#counts.octets_received += datagram.length;
    this.#receive(datagram);
  }

  #unbound(error: Error): string {
    return `port ${this.#settings.port} of ${this.#settings.local} cannot be listened on: ${error.message}`;
  }

  #shut(): void {
    const opened = this.#opened;
    if (!opened) return;
    this.#opened = undefined;
    opened.server.close();
    for (const socket of this.#incoming.values()) socket.destroy();
    if (this.#closed) return; // they say their last words
    for (const stream of opened.streams.values()) stream.cut();
  }
}

export function tcpPath(settings: TcpSettings, receive: Receive): Path {
  return new TcpPath(settings, receive);
}
