// How long an address is nobody's, as a host beside it sees that: from the moment when it is gone from
// this node until another one answers for it, and until that one accepts a connection.
import { connect, type Socket } from 'node:net';
import type { Place } from '../kernel/announce.js';
import { type WhoHas, whoHas } from '../kernel/who-has.js';
import type { OutageReport } from './control/protocol.js';

const ASK_MS = 1;
/** A SYN that nobody has answered is not waited for: it would come again after a second. */
const CONNECT_MS = 10;
const CONNECTS_MAX = 100;

export interface OutageTarget extends Place {
  /** Where connections are served; undefined: none is known. */
  readonly port: number | undefined;
}

export class Outage {
  private answeredAt: number | undefined;
  private connectedAt: number | undefined;
  private station: string | undefined;
  private goneAt = 0;
  private question: WhoHas | undefined;
  private readonly sockets = new Set<Socket>();
  private asking: NodeJS.Timeout | undefined;
  private connecting: NodeJS.Timeout | undefined;

  constructor(private readonly target: OutageTarget) {}

  /** The address is gone from here. Throws KernelError when nobody can be asked. */
  begin(goneAt: number): void {
    const { address, port } = this.target;
    this.goneAt = goneAt;
    const question = whoHas(address, this.target, (mac) => this.answered(mac));
    this.question = question;
    question.ask();
    this.asking = setInterval(() => question.ask(), ASK_MS);
    if (port !== undefined) this.connecting = setInterval(() => this.connect(port), CONNECT_MS);
  }

  /** All that there is to be measured has been. */
  get over(): boolean {
    return this.answeredAt !== undefined && this.connecting === undefined;
  }

  end(): OutageReport {
    clearInterval(this.asking);
    this.stopConnecting();
    this.question?.close();
    this.question = undefined;
    const { address, device } = this.target;
    return {
      address,
      interface: device,
      answered_ms: this.since(this.answeredAt),
      connected_ms: this.since(this.connectedAt),
      station: this.station ?? null,
    };
  }

  private since(then: number | undefined): number | null {
    return then === undefined ? null : Math.round((then - this.goneAt) * 10) / 10;
  }

  private answered(mac: string): void {
    if (this.answeredAt !== undefined) return;
    this.answeredAt = performance.now();
    this.station = mac;
    clearInterval(this.asking);
  }

  private connect(port: number): void {
    if (this.sockets.size >= CONNECTS_MAX) this.stopConnecting();
    if (this.connecting === undefined) return;
    const socket = connect({ host: this.target.address, port });
    this.sockets.add(socket);
    socket.on('connect', () => {
      this.connectedAt ??= performance.now();
      this.stopConnecting();
    });
    // a reset is no connection, and no sign of life either: another host may have sent it
    socket.on('error', () => {});
  }

  private stopConnecting(): void {
    clearInterval(this.connecting);
    this.connecting = undefined;
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
  }
}
