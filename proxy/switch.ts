/** The load balancer as a whole: its listening sockets, its limits, its end. */
import { createServer, type Server, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { endpointText } from '../kernel/endpoint.js';
import { clamp, listen } from '../kernel/listen.js';
import { Alignment } from './alignment.js';
import type { SwitchConfig, VirtualServer } from './config.js';
import { Flow, type Served, type Shared } from './flow.js';
import { Rota } from './schedule.js';

/** How long a graceful stop waits for set-ups, and for relayed connections. */
export const STOP_SETUPS_MS = 10_000;
export const STOP_RELAYS_MS = 30_000;
/** Sockets close in the next turn of the event loop; a splice() under way needs a few. */
const LAST_CLOSE_MS = 500;
/** New connections on a virtual server's socket, their options agreed with the server leg later. */
const accepting = { allowHalfOpen: true, pauseOnConnect: true, noDelay: true };

/** One virtual server while it is served. Flows in hand keep the configuration that they began with. */
interface Service extends Served {
  virtual: VirtualServer;
  readonly server: Server;
}

function close({ alignment, server }: Service): void {
  alignment.end();
  server.close();
}

/** What a new configuration changed, for the log. */
export interface Reloaded {
  added: string[];
  removed: string[];
  /** What is as it was until the next start. */
  restart: string[];
}

export class Switch {
  readonly #shared: Shared;
  readonly #connectionsMax: number;
  readonly #services = new Map<string, Service>();
  readonly #flows = new Set<Flow>();
  /** Called when the last flow has ended, while stopping. */
  #onIdle: (() => void) | undefined;

  private constructor(shared: Shared, connectionsMax: number) {
    this.#shared = shared;
    this.#connectionsMax = connectionsMax;
  }

  /** Listens on every virtual server, or on none: then the KernelError says which one, and why. */
  static async open(config: SwitchConfig, shared: Shared, connectionsMax: number): Promise<Switch> {
    const self = new Switch(shared, connectionsMax);
    await self.reload(config);
    return self;
  }

  /** Connections that this process still has a hand in. */
  get open(): number {
    return this.#flows.size;
  }

  /** What the real servers lack, and what clients are not offered because of it; both mostly empty. */
  get options(): Record<string, string[]> {
    const known = [...this.#services.values()].map(({ alignment }) => alignment.known);
    return Object.assign({}, ...known);
  }

  /** Serves this configuration from now on; one that cannot be listened on changes nothing. */
  async reload(config: SwitchConfig): Promise<Reloaded> {
    const wanted = new Map(config.virtual.map((virtual) => [endpointText(virtual), virtual]));
    const added = await this.#listenOnAll([...wanted.values()]);
    const removed: string[] = [];
    const restart: string[] = [];
    for (const [name, service] of this.#services) {
      const virtual = wanted.get(name);
      if (!virtual) {
        close(service);
        this.#services.delete(name);
        removed.push(name);
        continue;
      }
      if (virtual.backlog !== service.virtual.backlog) restart.push(`listen_backlog of ${name}`);
      service.virtual = virtual;
      clamp(service.server, virtual.mss);
      service.rota.update(virtual.real, virtual.scheduler);
      service.alignment.apply();
    }
    for (const [name, service] of added) this.#services.set(name, service);
    return { added: [...added.keys()], removed, restart };
  }

  async #listenOnAll(wanted: VirtualServer[]): Promise<Map<string, Service>> {
    const added = new Map<string, Service>();
    try {
      for (const virtual of wanted) {
        const name = endpointText(virtual);
        if (!this.#services.has(name)) added.set(name, await this.#listen(virtual));
      }
    } catch (error) {
      for (const service of added.values()) close(service);
      throw error;
    }
    return added;
  }

  async #listen(virtual: VirtualServer): Promise<Service> {
    const rota = new Rota(virtual.real, virtual.scheduler, () => performance.now());
    const server = createServer(accepting, (client) => this.#accept(client, service));
    const alignment = new Alignment(server, virtual, rota, this.#shared);
    const service: Service = { virtual, rota, server, alignment };
    const { address, port, backlog, mss } = virtual;
    await listen(server, { address, port, backlog, mss });
    alignment.begin();
    const name = endpointText(virtual);
    server.on('error', (error) =>
      this.#shared.throttle.say(`accept ${name}`, (more) =>
        this.#shared.log.error({ err: error, more }, `accepting on ${name}`),
      ),
    );
    return service;
  }

  #accept(client: Socket, service: Service): void {
    const { counters, throttle, log } = this.#shared;
    counters.add('accepted');
    if (this.#flows.size >= this.#connectionsMax) {
      client.on('error', () => {});
      client.resetAndDestroy();
      counters.add('over_limit');
      throttle.say('over_limit', (more) =>
        log.warn(
          { limit: this.#connectionsMax, more },
          'resetting new connections: as many are open as the limit of open files allows',
        ),
      );
      return;
    }
    const flow = new Flow(client, service, this.#shared);
    this.#flows.add(flow);
    void flow.run().then(() => {
      this.#flows.delete(flow);
      if (this.#flows.size === 0) this.#onIdle?.();
    });
  }

  /**
   * Takes no new connection, gives those in hand their time, and resets what is left. Spliced
   * flows are the kernel's and live on.
   */
  async stop(setupsMs = STOP_SETUPS_MS, relaysMs = STOP_RELAYS_MS): Promise<void> {
    for (const service of this.#services.values()) close(service);
    await this.#idle(setupsMs);
    this.#reset((flow) => flow.state !== 'relaying');
    await this.#idle(relaysMs - setupsMs);
    this.#reset(() => true);
    await this.#idle(LAST_CLOSE_MS);
  }

  #idle(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#flows.size === 0) return resolve();
      const timer = setTimeout(resolve, timeoutMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #reset(which: (flow: Flow) => boolean): void {
    for (const flow of this.#flows) {
      if (!which(flow)) continue;
      flow.reset();
      this.#shared.counters.add('stopped');
    }
  }
}
