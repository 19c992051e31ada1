// SPDX-License-Identifier: MIT
/**
 * What flows through the pair all the time: test/load/flows.c at both ends, which checks every byte. Long
 * flows of every kind, and short requests that begin at an even rate.
 */
import type { Lab } from '../lab/lab.js';
import { USED } from '../lab/services.js';
import { addressOf, bracketed, virtualAddress, WEB_SERVERS } from '../lab/topology.js';
import { broken, compileFlows, type FlowOptions, Flows, type Loss } from '../load/flows.js';

export interface Totals {
  begun: number;
  /** All right, to the last byte. */
  ended: number;
  /** Lost before an answer, and after it. */
  notMade: number;
  broken: number;
  /** Not at their end yet. */
  open: number;
  wrong: number;
  resets: number;
  bytes: number;
}

const MANY = 1_000_000;

export class Traffic {
  /** As the clients' ends saw them. */
  readonly losses: Loss[] = [];
  /** As the servers' ends saw them. */
  readonly serverLosses: Loss[] = [];
  readonly #program: string;
  readonly #servers = new Map<string, Flows>();
  #client: Flows | undefined;
  #groups: string[] = [];
  #bursts = 0;

  constructor(readonly lab: Lab) {
    this.#program = compileFlows(lab.path('flows'));
  }

  async start(): Promise<void> {
    await Promise.all(WEB_SERVERS.map((web) => this.startServer(web)));
    this.#client = await Flows.run(this.#spawn('client'), this.#program);
    this.#client.onLoss = (loss) => this.losses.push(loss);
  }

  #spawn(node: string) {
    return (argv: string[]) => this.lab.spawn(node, argv, { stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Flows begin: about `flows` long ones, and `rate` short requests a second, or none. */
  async begin({ flows, rate }: { flows: number; rate: number }): Promise<void> {
    const [v4, v6, mixed] = USED.both.map(({ clients, port }) => [
      `${bracketed(virtualAddress('clients', clients))}:${port}`,
    ]);
    const count = (share: number) => Math.max(1, Math.round(flows * share));
    const pace = 40_000;
    await this.#open('down', { kind: 'download', count: count(0.2), pace, to: v4 });
    await this.#open('up', { kind: 'upload', count: count(0.2), pace, to: v6 });
    await this.#open('both', { kind: 'both', count: count(0.2), pace, to: mixed });
    await this.#open('ping', { kind: 'ping', count: count(0.25), every: 200, to: v4 });
    await this.#open('idle', { kind: 'idle', count: count(0.15), to: v6 });
    if (rate === 0) return;
    const short = { count: MANY, rate, bytes: 20_000 };
    await this.#open('get', { kind: 'download', ...short, to: v4 });
    await this.#open('put', { kind: 'upload', ...short, to: mixed });
    // some seconds long each: born, living and ending at every moment
    await this.#open('some', {
      kind: 'both',
      count: MANY,
      rate: 1,
      bytes: 150_000,
      pace: 30_000,
      to: v6,
    });
  }

  /** Many connections at once, which stay: more than fit into a table. Returns how to end them. */
  async burst(count: number): Promise<() => Promise<void>> {
    const name = `burst-${++this.#bursts}`;
    const { clients, port } = USED[4][0];
    const to = [`${virtualAddress('clients', clients)}:${port}`];
    await this.#open(name, { kind: 'idle', count, opening: count, to });
    return async () => this.#client?.end(name);
  }

  async #open(name: string, options: FlowOptions): Promise<void> {
    this.#groups.push(name);
    await this.#client?.start(name, { ...options, seed: this.#groups.length * 1_000_003 });
  }

  /** Nothing new begins, and all that runs comes to its right end. */
  async end(): Promise<void> {
    for (const name of this.#groups) await this.#client?.end(name);
  }

  /** Octets that each group of flows has sent and received so far, by its name. */
  async progress(): Promise<Map<string, number>> {
    const groups = [...((await this.#client?.count()) ?? new Map()).values()];
    return new Map(groups.map((g) => [g.name, g.bytes_received + g.bytes_sent]));
  }

  async totals(): Promise<Totals> {
    const groups = [...((await this.#client?.count()) ?? new Map()).values()];
    const sum = (of: (group: (typeof groups)[number]) => number) =>
      groups.reduce((all, one) => all + of(one), 0);
    return {
      begun: sum((g) => g.begun),
      ended: sum((g) => g.ended),
      notMade: sum((g) => g.not_made),
      broken: sum(broken),
      open: sum((g) => g.alive + g.setting_up),
      wrong: sum((g) => g.wrong),
      resets: sum((g) => g.resets),
      bytes: sum((g) => g.bytes_received + g.bytes_sent),
    };
  }

  async startServer(web: string): Promise<void> {
    const ends = (['4', '6'] as const).map(
      (family) => `${bracketed(addressOf(web, 'servers', family))}:80`,
    );
    const server = await Flows.serve(this.#spawn(web), this.#program, ends);
    server.onLoss = (loss) => this.serverLosses.push(loss);
    this.#servers.set(web, server);
  }

  signalServer(web: string, signal: NodeJS.Signals): void {
    this.#servers.get(web)?.child.kill(signal);
  }
}
