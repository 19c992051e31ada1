import { createInterface } from 'node:readline';
import { type AtTakeover, account, type Mode, type Result } from './account.js';
import type { Balancer } from './balancer.js';
import type { Lab } from './lab.js';
import { Pair } from './pair.js';
import type { NodeView, View } from './picture.js';
import type { Screen } from './screen.js';
import { type FamilyChoice, USED } from './services.js';
import { type BalancerName, pullCables, virtualAddress, WEB_SERVERS } from './topology.js';
import { type Traffic, UploadWatch } from './traffic.js';

export interface TakeoverOptions {
  mode: Mode;
  family: FamilyChoice;
  flows: number;
  bytes: number;
  /** How long one transfer takes at its pace, and over which time the transfers begin. */
  transferMs: number;
  startsOverMs: number;
}

/** The node goes when so much of the transfers has begun; the rest begins around and after it. */
const TAKEOVER_SHARE = 5 / 6;
/** Looking at a hundred uploads is work for the machine's few processors: often only when it counts. */
const WATCH_UPLOADS_SLOW_MS = 500;
const WATCH_UPLOADS_FAST_MS = 40;
/** Longer than one slow look, or the first pause seen would be the watcher's own. */
const WATCH_AHEAD_MS = WATCH_UPLOADS_SLOW_MS + 200;
const RESUME_MS_MAX = 20_000;
/** So long after that, a pause is no longer the takeover's. */
const SETTLED_MS = 1000;

/** Tells when an address comes to or leaves a node, to the millisecond, from its own kernel. */
class AddressWatch {
  came = 0;
  went = 0;

  constructor(lab: Lab, node: BalancerName, address: string) {
    const child = lab.spawn(node, ['ip', '-o', 'monitor', 'address'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    child.on('error', () => {});
    if (!child.stdout) return;
    createInterface(child.stdout).on('line', (line) => {
      if (!line.includes(` ${address}/`)) return;
      if (line.startsWith('Deleted')) this.went ||= performance.now();
      else this.came ||= performance.now();
    });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * The main job: transfers through the pair, and in the middle of them the active node goes, by
 * a crash or by being told to. Returns the account; the lab is left standing for the caller.
 */
export class Takeover {
  readonly #pair: Pair;
  readonly #roles: Record<BalancerName, NodeView['role']> = {
    'lb-a': 'starting',
    'lb-b': 'starting',
  };
  #headline = '';

  constructor(
    readonly lab: Lab,
    readonly screen: Screen,
    readonly options: TakeoverOptions,
  ) {
    this.#pair = new Pair(lab, { ...options, bytesPerSecond: this.#pace });
  }

  get a(): Balancer {
    return this.#pair.a;
  }

  get b(): Balancer {
    return this.#pair.b;
  }

  get traffic(): Traffic {
    return this.#pair.traffic;
  }

  /** Where the first of the services is. All of the addresses move within a millisecond. */
  get #address(): string {
    return virtualAddress('clients', USED[this.options.family][0].clients);
  }

  /** Bytes a second of one transfer. */
  get #pace(): number {
    return Math.ceil((this.options.bytes * 1000) / this.options.transferMs);
  }

  async run(): Promise<Result> {
    const drawing = this.#keepDrawing();
    try {
      await this.#start();
      return await this.#transfers();
    } finally {
      clearInterval(drawing);
    }
  }

  /** What happened, and what it means for somebody who sees this for the first time. */
  #say(text: string, meaning: string): void {
    this.#headline = meaning;
    this.screen.tell(text);
  }

  async #start(): Promise<void> {
    this.#say(
      `starting ${WEB_SERVERS.length} nginx, and spliced, switchd and keepalived twice`,
      'Every box is a network namespace; every program in it is the real one.',
    );
    await this.#pair.start();
    this.#roles['lb-a'] = 'ACTIVE';
    this.#roles['lb-b'] = 'standby';
  }

  async #transfers(): Promise<Result> {
    const { lab, options } = this;
    const traffic = this.traffic;
    const uploads = new UploadWatch(lab, traffic, WATCH_UPLOADS_SLOW_MS);
    const watch = {
      a: new AddressWatch(lab, 'lb-a', this.#address),
      b: new AddressWatch(lab, 'lb-b', this.#address),
    };
    const finished = traffic.run();
    // Looked at below; should something fail before, that is what is to be told.
    finished.catch(() => {});
    this.#say(
      `transfers begin, ${Math.round((options.flows * 1000) / options.startsOverMs)} a second, through lb-a`,
      'lb-a splices each new transfer, and its record reaches lb-b milliseconds later.',
    );
    await pause(options.startsOverMs * TAKEOVER_SHARE - WATCH_AHEAD_MS);
    uploads.every(WATCH_UPLOADS_FAST_MS);
    await pause(WATCH_AHEAD_MS);

    // Nothing passes lb-b before it has the address: the first byte after that is the first it moved.
    let served = 0;
    traffic.onBytes = () => {
      if (watch.b.came > 0) served ||= performance.now();
    };
    const moment =
      options.mode === 'crash' ? await this.#crash(traffic) : await this.#handOver(traffic, watch);
    await lab.until('the address on lb-b', 20, () => watch.b.came > 0);
    this.#roles['lb-b'] = 'ACTIVE';
    this.#say(
      `lb-b has the address, ${Math.round(watch.b.came - moment.at)} ms later`,
      'keepalived has moved the address; spliced puts the copies into the kernel of lb-b.',
    );
    await lab.until('the first byte by way of lb-b', 20, () => served > 0);
    this.#say(
      `the transfers go on through lb-b, ${Math.round(served - moment.at)} ms after lb-a ${options.mode === 'crash' ? 'died' : 'let go'}`,
      'The same TCP connections, on another machine. Clients and servers repeat what was lost.',
    );
    const held = new Set(moment.held);
    for (const port of await this.b.portsHeldFor('lb-a')) held.add(port);
    await this.#allResumed(traffic, moment.at, watch.b.came);
    traffic.takeover(Number.POSITIVE_INFINITY);
    uploads.every(WATCH_UPLOADS_SLOW_MS);
    await finished;
    uploads.stop();
    this.#say('all transfers have ended', 'The last byte has been compared.');
    this.screen.show(await this.#view(0));
    return account(
      traffic.transfers,
      { ...moment, held },
      {
        mode: options.mode,
        family: options.family,
        takeoverMs: served - moment.at,
        guardHeld: (await this.b.status())?.guard.held ?? 0,
      },
    );
  }

  /** The machine dies: its cables go, and every process on it gets SIGKILL in one stroke. */
  async #crash(traffic: Traffic): Promise<AtTakeover> {
    const at = performance.now();
    pullCables(this.lab, 'lb-a');
    this.lab.killNode('lb-a');
    traffic.takeover(at);
    this.#roles['lb-a'] = 'DEAD';
    const held = new Set(await this.b.portsHeldFor('lb-a'));
    this.#roles['lb-b'] = 'taking over';
    // A post-mortem, for the account only: the pinned table outlives the processes of the node.
    const states = this.a.statesByPort();
    this.#say(
      `lb-a is DEAD: cables pulled, processes killed, ${traffic.live.length} transfers under way`,
      'Nobody answers at the address. Clients and servers send again, and wait.',
    );
    return { at, held, states };
  }

  /** The node is told to hand over. The clock starts when it lets go of the address. */
  async #handOver(
    traffic: Traffic,
    watch: { a: AddressWatch; b: AddressWatch },
  ): Promise<AtTakeover> {
    this.#say(
      `lb-a is told to hand over: splicectl handover, ${traffic.live.length} transfers under way`,
      'lb-a takes nothing new, and waits until lb-b has the record of everything it carries.',
    );
    const before = performance.now();
    traffic.takeover(before);
    await this.a.splicectl('handover');
    await this.lab.until('lb-a to let go of the address', 10, () => watch.a.went > 0);
    const held = new Set(await this.b.portsHeldFor('lb-a'));
    const states = this.a.statesByPort();
    this.#roles['lb-a'] = 'standby';
    this.#roles['lb-b'] = 'taking over';
    this.#say(
      `lb-a lets go, ${Math.round(watch.a.went - before)} ms after it was told`,
      'The address moves.',
    );
    // Two kernels tell of the same moment, and the second may be heard first.
    const at = watch.b.came > 0 ? Math.min(watch.a.went, watch.b.came) : watch.a.went;
    return { at, held, states };
  }

  /** Waits until the pause of every transfer that was under way has ended, or it has itself. */
  async #allResumed(traffic: Traffic, at: number, servedFrom: number): Promise<void> {
    const deadline = performance.now() + RESUME_MS_MAX;
    const waiting = () =>
      traffic.live.some((t) => t.begun < at && t.lastByteAt < servedFrom) &&
      performance.now() < deadline;
    while (waiting()) await pause(20);
    await pause(SETTLED_MS);
  }

  #keepDrawing(): NodeJS.Timeout {
    let bytes = 0;
    let at = performance.now();
    let rate = 0;
    let asking = false;
    return setInterval(async () => {
      // On a machine with much to do the daemons may take longer to answer than until the next turn.
      if (asking) return;
      asking = true;
      const now = performance.now();
      const total = this.traffic.bytes;
      rate = 0.7 * rate + (0.3 * 1000 * (total - bytes)) / (now - at);
      [bytes, at] = [total, now];
      this.screen.show(await this.#view(rate));
      asking = false;
    }, 200);
  }

  async #view(bytesPerSecond: number): Promise<View> {
    const transfers = this.traffic.transfers;
    const ended = transfers.filter((t) => t.outcome !== undefined);
    const completed = ended.filter((t) => t.outcome?.ok).length;
    const node = async (balancer: Balancer): Promise<NodeView> => {
      const role = this.#roles[balancer.name];
      const dumb = role === 'starting' || role === 'DEAD';
      const status = dumb ? undefined : await balancer.status();
      return {
        name: balancer.name,
        role,
        splices: status?.internal.entries ?? 0,
        copies: status?.external.entries ?? 0,
      };
    };
    return {
      headline: this.#headline,
      family: this.options.family,
      flows: this.options.flows,
      bytesWanted: this.options.flows * this.options.bytes,
      begun: transfers.length,
      live: transfers.length - ended.length,
      completed,
      broken: ended.length - completed,
      bytes: this.traffic.bytes,
      bytesPerSecond,
      nodes: [await node(this.a), await node(this.b)],
    };
  }
}
