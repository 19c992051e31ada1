/**
 * TCP options that the real servers lack. Whether one has SACK shows only when it has answered, and the
 * client's own SYN has been answered by then: such a pair is relayed. Where all real servers that are
 * known lack it, clients are not offered it any more, and every pair can be spliced.
 *
 * Each connection asks the real server anew for what it is known to lack, so a server that has changed
 * its mind is found out by the next one; nothing has to be forgotten by the clock.
 */
import type { Server } from 'node:net';
import type { Logger } from 'pino';
import { withhold } from '../kernel/align.js';
import { type Endpoint, endpointText } from '../kernel/endpoint.js';
import { errnoName } from '../kernel/error.js';
import { Option } from '../kernel/record/layout.js';
import type { Snapshot } from '../kernel/socket.js';
import type { VirtualServer } from './config.js';
import type { Candidate, Rota } from './schedule.js';
import type { Throttle } from './throttle.js';

const NAMES: readonly (readonly [bit: number, name: string])[] = [
  [Option.SACK0, 'SACK'],
  [Option.TS0, 'timestamps'],
];

const namesOf = (bits: number): string[] =>
  NAMES.filter(([bit]) => bits & bit).map(([, name]) => name);

/** Options that a socket has negotiated, as bits of leg 0. */
const optionsOf = ({ sack, timestamps }: Snapshot): number =>
  (sack ? Option.SACK0 : 0) | (timestamps ? Option.TS0 : 0);

export class Alignment {
  readonly #listener: Server;
  readonly #virtual: VirtualServer;
  readonly #rota: Rota;
  readonly #log: Logger;
  readonly #throttle: Throttle;
  #withheld = 0;

  constructor(
    listener: Server,
    virtual: VirtualServer,
    rota: Rota,
    { log, throttle }: { log: Logger; throttle: Throttle },
  ) {
    this.#listener = listener;
    this.#virtual = virtual;
    this.#rota = rota;
    this.#log = log;
    this.#throttle = throttle;
  }

  /** To be called when it listens: forgets what a process before this one may have left. */
  begin(): void {
    withhold(this.#listener, this.#virtual, 0);
  }

  /** Options to ask a real server for even if the client lacks them, for what the answer shows. */
  asked(candidate: Candidate): number {
    return this.#withheld | (candidate.lacks & Option.SACK0);
  }

  /**
   * Learns from one more connection.
   * @param asked what asked() said when it was made
   */
  note(candidate: Candidate, asked: number, client: Snapshot, server: Snapshot): void {
    const has = optionsOf(server);
    const shown = optionsOf(client) | asked;
    const lacks = (candidate.lacks & ~shown) | (shown & ~has);
    this.#tell(candidate, lacks);
    const news = lacks !== candidate.lacks || shown & ~candidate.shown;
    candidate.lacks = lacks;
    candidate.shown |= shown;
    // a client that has SACK all the same: another table has come, which has not been told
    if (news || (this.#withheld && client.sack)) this.apply();
  }

  /** Holds the datapath to what is known; also to be called when the list of real servers changes. */
  apply(): void {
    const serving = this.#rota.candidates.filter((c) => c.real.weight > 0);
    const known = serving.filter((c) => c.shown & Option.SACK0);
    const none = known.length > 0 && known.every((c) => c.lacks & Option.SACK0);
    this.#withhold(none ? Option.SACK0 : 0);
  }

  /** To be called before the listening socket is closed. */
  end(): void {
    this.#withhold(0);
  }

  #withhold(wanted: number): void {
    if (wanted === 0 && this.#withheld === 0) return;
    const at = endpointText(this.#virtual);
    const error = withhold(this.#listener, this.#virtual, wanted);
    if (error) {
      this.#throttle.say(`align ${at}`, (more) =>
        this.#log.warn({ reason: errnoName(error), more }, `SACK cannot be withheld on ${at}`),
      );
    } else if (wanted !== this.#withheld) {
      this.#withheld = wanted;
      this.#log.info(
        wanted
          ? `clients of ${at} are not offered SACK from now on: its real servers have none`
          : `clients of ${at} are offered SACK again`,
      );
    }
  }

  /** By address: what its clients are not offered, and what each of its real servers lacks. */
  get known(): Record<string, string[]> {
    const all: [at: Endpoint, bits: number][] = [
      [this.#virtual, this.#withheld],
      ...this.#rota.candidates.map((c): [Endpoint, number] => [c.real, c.lacks]),
    ];
    const lacking = all.filter(([, bits]) => bits);
    return Object.fromEntries(lacking.map(([at, bits]) => [endpointText(at), namesOf(bits)]));
  }

  #tell({ real, lacks: before }: Candidate, lacks: number): void {
    for (const [bit, name] of NAMES) {
      if ((before & bit) === (lacks & bit)) continue;
      const how = lacks & bit ? `without ${name}` : `with ${name} again`;
      this.#log.info(`real server ${endpointText(real)} answers ${how}`);
    }
  }
}
