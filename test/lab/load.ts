import type { ChildProcess } from 'node:child_process';
import { broken, compileFlows, type FlowKind, Flows } from '../load/flows.js';
import type { Lab } from './lab.js';
import { placeOf, USED } from './services.js';
import { addressOf, bracketed, VIRTUAL_HOSTS, WEB_SERVERS } from './topology.js';

export interface LoadOptions {
  /** Flows of each kind over each of the three services, at each of their addresses in turn. */
  flows: Partial<Record<FlowKind, number>>;
  /** Octets a second of each stream. */
  pace: number;
  /** Milliseconds between the messages of a ping. */
  every: number;
}

/** What became of all flows; the stalls of each direction since the last mark. */
export interface LoadReport {
  alive: number;
  lost: Record<string, number>;
  stalls: number[];
}

/** Long-lived flows of several kinds through the balancers, each octet checked, until they are ended. */
export class Load {
  #client: Flows | undefined;
  #servers: Flows[] = [];
  #groups: string[] = [];

  constructor(
    private readonly lab: Lab,
    readonly options: LoadOptions,
  ) {}

  /** Starts the programs at both ends. */
  async prepare(): Promise<void> {
    const program = compileFlows(this.lab.path('flows'));
    const spawn = (node: string) => (argv: string[]) => this.#spawn(node, argv);
    const serving = WEB_SERVERS.map((web) => {
      const at = (['4', '6'] as const).map((f) => `${bracketed(addressOf(web, 'servers', f))}:80`);
      return Flows.serve(spawn(web), program, at);
    });
    this.#servers = await Promise.all(serving);
    this.#client = await Flows.run(spawn('client'), program);
  }

  /** Opens all flows; resolves when each has been answered. @returns how many there are */
  async open(): Promise<number> {
    return await this.#open('', this.options.flows);
  }

  /** One more over each service at each of its addresses. @param name tells them from others */
  async more(name: string): Promise<number> {
    return await this.#open(`-${name.replaceAll(' ', '-')}`, { both: VIRTUAL_HOSTS.length });
  }

  async #open(suffix: string, flows: LoadOptions['flows']): Promise<number> {
    const { pace, every } = this.options;
    const groups: string[] = [];
    let all = 0;
    for (const service of USED.both) {
      const to = VIRTUAL_HOSTS.map((host) => placeOf(service, host));
      for (const [kind, count] of Object.entries(flows)) {
        const group = `${kind}-${service.name}${suffix}`;
        await this.#run.start(group, { kind: kind as FlowKind, count, to, pace, every });
        groups.push(group);
        all += count;
      }
    }
    this.#groups.push(...groups);
    for (const group of groups) await this.#run.made(group, 20_000);
    return all;
  }

  async mark(): Promise<void> {
    await Promise.all([this.#run, ...this.#servers].map((end) => end.mark()));
  }

  async report(): Promise<LoadReport> {
    const [client, ...servers] = await Promise.all(
      [this.#run, ...this.#servers].map((end) => end.report()),
    );
    const report: LoadReport = { alive: 0, lost: {}, stalls: [] };
    for (const group of client.values()) {
      report.alive += group.alive;
      for (const causes of [group.broken_by, group.not_made_by]) {
        for (const [cause, n] of Object.entries(causes)) {
          report.lost[cause] = (report.lost[cause] ?? 0) + n;
        }
      }
    }
    for (const end of [client, ...servers]) {
      for (const { stalls } of end.values()) report.stalls.push(...stalls);
    }
    return report;
  }

  /** Brings every flow to its end. @returns how many ended as they should */
  async finish(): Promise<number> {
    let right = 0;
    for (const group of this.#groups) await this.#run.end(group);
    for (const group of this.#groups) {
      const count = await this.#run.finish(group, 20_000);
      if (broken(count) === 0) right += count.ended;
    }
    return right;
  }

  get #run(): Flows {
    if (!this.#client) throw new Error('the load has not been prepared');
    return this.#client;
  }

  #spawn(node: string, argv: string[]): ChildProcess {
    return this.lab.spawn(node, argv, { stdio: ['pipe', 'pipe', 'pipe'] });
  }
}
