/**
 * A path of UDP datagrams: sockets that are open while the interface is up and has its address, and
 * are opened anew when either has changed. UDP reorders and loses; what is received while nobody
 * reads overflows in the kernel (`overflowed`), and the sequence numbers of the datagrams tell.
 */
import { counts } from '../counts.js';
import type { LinkStats } from '../ports.js';
import type { Batch } from './batch.js';
import { type Outcome, Outlet } from './outlet.js';
import { type Path, RECEIVE_BUFFER, type Receive, SEND_BUFFER } from './path.js';
import { datagramSize, findNewPlace, findPlace, type Place, usualSize } from './place.js';
import type { MulticastSettings, UdpSettings } from './settings.js';
import { UdpSocket } from './socket.js';

/** What makes a kind of path: how its sockets are set up. */
export interface Kind<Settings> {
  /** @throws SyncError GROUP or SOCKET */
  listen(socket: UdpSocket, settings: Settings, place: Place): void;
  /** Before it is connected to one of the destinations. */
  speak(socket: UdpSocket, settings: Settings, place: Place): void;
  destinations(settings: Settings): readonly string[];
  /** Undefined: whoever sends to this socket is listened to. */
  admits?(settings: Settings): (batch: Batch, i: number) => boolean;
}

/** A send that fails asks at most so often what has become of the interface. */
const LOOK_MS = 50;

interface Opened {
  readonly place: Place;
  readonly receiver: UdpSocket;
  readonly outlets: readonly Outlet[];
}

export class DatagramPath<Settings extends MulticastSettings | UdpSettings> implements Path {
  readonly #kind: Kind<Settings>;
  readonly #settings: Settings;
  readonly #receive: Receive;
  readonly #admits: ((batch: Batch, i: number) => boolean) | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #opened: Opened | undefined;
  #closed = false;
  /** Overflows of receivers that are closed. */
  #drops = 0;
  fault: string | undefined = 'not open yet';
  mtu: number;
  readonly #counts = counts(
    'datagrams_sent',
    'octets_sent',
    'datagrams_received',
    'octets_received',
    'send_errors',
    'queue_full', // the kernel took no more, and the queue was full
    'not_sent_down', // while the interface was down
    'socket_errors',
    'strangers', // from an address that is not a peer's
    'oversized', // larger than any node sends
    'opened', // times that the sockets were opened: more than 1 when the interface went away
    'went_down',
  );

  constructor(kind: Kind<Settings>, settings: Settings, receive: Receive) {
    this.#kind = kind;
    this.#settings = settings;
    this.#receive = receive;
    this.#admits = kind.admits?.(settings);
    this.mtu = usualSize(settings.family);
  }

  async open(): Promise<void> {
    const place = findPlace(this.#settings);
    this.mtu = datagramSize(place, this.#settings.family);
    this.#openAt(place);
  }

  look(): void {
    if (this.#closed) return;
    this.#lookedAt = performance.now();
    try {
      const place = findNewPlace(this.#settings, this.#opened?.place);
      if (!place) return;
      this.#shut();
      this.#openAt(place);
    } catch (error) {
      this.#shut();
      if (this.fault === undefined) this.#counts.went_down++;
      this.fault = (error as Error).message;
    }
  }

  send(datagram: Uint8Array): boolean {
    if (!this.#opened) {
      this.#counts.not_sent_down++;
      return false;
    }
    let taken = false;
    for (const outlet of this.#opened.outlets) taken = outlet.send(datagram) || taken;
    return taken;
  }

  stats(): LinkStats {
    const memory = this.#opened?.receiver.memory();
    let pending = 0;
    for (const outlet of this.#opened?.outlets ?? []) pending += outlet.pending;
    return {
      ...this.#counts,
      overflowed: this.#drops + (memory?.drops ?? 0),
      pending,
      receive_buffer: memory?.receiveBuffer ?? 0,
      up: this.fault === undefined ? 1 : 0,
    };
  }

  close(): void {
    this.#closed = true;
    this.#shut();
  }

  /** @throws SyncError GROUP or SOCKET; nothing is open then */
  #openAt(place: Place): void {
    const { family, port, sendBuffer = SEND_BUFFER } = this.#settings;
    const { receiveBuffer = RECEIVE_BUFFER } = this.#settings;
    const sockets: UdpSocket[] = [];
    const create = (): UdpSocket => {
      const socket = new UdpSocket(family);
      sockets.push(socket);
      return socket;
    };
    try {
      const receiver = create().buffer('receive', receiveBuffer);
      this.#kind.listen(receiver, this.#settings, place);
      const outlets = this.#kind.destinations(this.#settings).map((address) => {
        const socket = create().buffer('send', sendBuffer);
        this.#kind.speak(socket, this.#settings, place);
        socket.bind(place.address, 0, place.index).connect(address, port, place.index);
        return new Outlet(socket, (...done) => this.#done(...done));
      });
      receiver.receive(
        (batch) => this.#take(batch),
        () => this.#counts.socket_errors++,
      );
      this.#opened = { place, receiver, outlets };
      this.fault = undefined;
      this.#counts.opened++;
    } catch (error) {
      for (const socket of sockets) socket.close();
      throw error;
    }
  }

  #take(batch: Batch): void {
    for (let i = 0; i < batch.count; i++) {
      const datagram = batch.datagram(i);
      if (this.#admits?.(batch, i) === false) {
        this.#counts.strangers++;
      } else if (datagram === undefined) {
        this.#counts.oversized++;
      } else {
        this.#counts.datagrams_received++;
        this.#counts.octets_received += datagram.length;
        this.#receive(datagram);
        if (this.#closed) return;
      }
    }
  }

  #done(outcome: Outcome, datagrams: number, octets: number): void {
    if (outcome === 'sent') {
      this.#counts.datagrams_sent += datagrams;
      this.#counts.octets_sent += octets;
      return;
    }
    this.#counts[outcome] += datagrams;
    if (outcome !== 'send_errors' || performance.now() - this.#lookedAt < LOOK_MS) return;
    // rtnetlink will say so too, a moment later; not now: this socket is in use
    this.#lookedAt = performance.now();
    setImmediate(() => this.look());
  }

  #shut(): void {
    const opened = this.#opened;
    if (!opened) return;
    this.#opened = undefined;
    this.#drops += opened.receiver.memory().drops;
    opened.receiver.close();
    for (const outlet of opened.outlets) outlet.close();
  }
}
