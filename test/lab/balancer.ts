import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ControlError, call, type StatusResult } from '../../daemon/control/index.js';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import { nodeId, RecordView } from '../../kernel/record/record.js';
import type { Lab, Started } from './lab.js';
import { EVERYWHERE, placeOf, virtualServers } from './services.js';
import { addressOf, type BalancerName, SYNC_GROUP, VIRTUAL_ADDRESSES } from './topology.js';

/** Each node's share of local ports: after a takeover both nodes' choices meet at the servers. */
const PORTS: Record<BalancerName, string> = { 'lb-a': '20000 39999', 'lb-b': '40000 59999' };

function built(file: string): string {
  return fileURLToPath(new URL(`../../dist/${file}`, import.meta.url));
}

export interface BalancerOptions {
  /** Splices that fit into the kernel's table. */
  tableSize?: number;
  /** spliced logs to standard output unless this is given. */
  logFile?: string;
  /** More directives for the mode's block. */
  mode?: string;
  /** Of the datapath, as the configuration has them. */
  timeouts?: string;
  /** HandoverCommand's words, for a manager that knows no track file. */
  handover?: string | undefined;
}

/** Short, so that the table shows what is under way; 2 MSL is for networks that lose their way. */
const TIMEOUTS = 'timewait 5';

/** One load balancer: spliced and switchd with files, pins and a cgroup of their own. */
export class Balancer {
  readonly splicedConfig: string;
  readonly switchdConfig: string;
  readonly socket: string;
  readonly pinPath: string;
  /** spliced writes here what is to be added to the node's priority. */
  readonly trackFile: string;
  #daemon: Started | undefined;
  #proxy: Started | undefined;

  constructor(
    readonly lab: Lab,
    readonly name: BalancerName,
    { tableSize = 16_384, logFile, mode = '', timeouts = TIMEOUTS, handover }: BalancerOptions = {},
  ) {
    this.socket = lab.path(name, 'spliced.ctl');
    this.trackFile = lab.path(name, 'in-sync');
    this.pinPath = join(lab.mount('bpf', join(name, 'bpf')), 'spliced');
    this.splicedConfig = lab.write(
      join(name, 'spliced.conf'),
      `Sync {
  Mode FTFW {
    ResendQueueSize 131072
    ACKWindowSize 300
    StartupResync Yes
    ${mode}
  }
  Multicast {
    IPv4_address ${SYNC_GROUP}
    Group 3780
    IPv4_interface ${addressOf(name, 'sync')}
    Interface eth2
    SndSocketBuffer 1249280
    RcvSocketBuffer 1249280
  }
}
Kernel {
  Interface eth0 eth1
  TableSize ${tableSize}
  Timeouts { ${timeouts} }
  PinPath ${this.pinPath}
  Cgroup ${lab.group(name)}
}
General {
  NodeName ${name}
  HashLimit 65536${logFile === undefined ? '' : `\n  LogFile ${logFile}`}
  UNIX { Path ${this.socket} }
}
Failover {
${VIRTUAL_ADDRESSES.map((a) => `  VirtualAddress ${a.address} dev ${a.device}`).join('\n')}
  ${handover === undefined ? `TrackFile ${this.trackFile}` : `HandoverCommand ${handover}`}
}
`,
    );
    this.switchdConfig = lab.write(join(name, 'switchd.conf'), virtualServers(PORTS[name]));
  }

  startDaemon(): void {
    this.#daemon = this.#node('spliced', 'daemon/main.js', '-C', this.splicedConfig);
  }

  startProxy(): void {
    this.#proxy = this.#node('switchd', 'proxy/main.js', '-f', this.switchdConfig);
  }

  async restartDaemon(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#daemon) await this.lab.end(this.#daemon, signal);
    this.startDaemon();
    await this.ready();
  }

  /** The new one begins when the old one listens no more; what that has in hand it still finishes. */
  async restartProxy(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const ended = this.#proxy && this.lab.end(this.#proxy, signal);
    await this.lab.until(`switchd on ${this.name} to go`, 10, () => !this.listens());
    this.startProxy();
    await this.lab.until(`switchd on ${this.name}`, 10, () => this.serves());
    await ended;
  }

  #node(name: string, program: string, ...args: string[]): Started {
    return this.lab.start(this.name, name, [process.execPath, built(program), ...args]);
  }

  /** The daemon answers and has set up its kernel part. */
  async ready(): Promise<void> {
    await this.lab.until(
      `spliced on ${this.name}`,
      15,
      async () => (await this.status()) !== undefined,
    );
  }

  /** The proxy listens for every service. */
  serves(): boolean {
    return this.#listening() === EVERYWHERE.length;
  }

  /** ... for any. */
  listens(): boolean {
    return this.#listening() > 0;
  }

  #listening(): number {
    const sockets = this.lab.exec(this.name, 'ss', '-Hltn');
    return EVERYWHERE.filter(({ host, service }) => sockets.includes(` ${placeOf(service, host)} `))
      .length;
  }

  /** undefined while no daemon answers. */
  async status(): Promise<StatusResult | undefined> {
    try {
      return await call(this.socket, 'status', {}, {}, { idleMs: 2000 });
    } catch (error) {
      if (error instanceof ControlError) return undefined;
      throw error;
    }
  }

  /** Client ports of the splices that were born on `origin` and of which this node has a copy. */
  async portsHeldFor(origin: BalancerName): Promise<number[]> {
    const ports: number[] = [];
    const born = nodeId(origin);
    const collect = (bytes: Uint8Array) => {
      for (let at = 0; at < bytes.length; at += RECORD_SIZE) {
        const record = new RecordView(bytes, at);
        if (record.origin === born) ports.push(record.tuple(0).sourcePort);
      }
    };
    for (const what of ['external', 'internal'] as const) {
      await call(this.socket, 'dump', { what }, { records: collect });
    }
    return ports;
  }

  /** State by client port, from the pinned table, which needs no process of the node. */
  statesByPort(): Map<number, string> {
    const states = new Map<number, string>();
    const rows = readFileSync(join(this.pinPath, 'table'), 'utf8').trimEnd().split('\n').slice(1);
    for (const row of rows) {
      const [, port, , , , , , , state] = row.split(/\s+/);
      states.set(Number.parseInt(port, 16), state);
    }
    return states;
  }

  /** What scripts of this node call splicectl by. */
  get splicectlCommand(): string {
    return [process.execPath, ...this.#splicectl].join(' ');
  }

  get #splicectl(): string[] {
    return [built('bin/splicectl.js'), '-C', this.splicedConfig];
  }

  /** Runs splicectl as an operator would; resolves when it has ended well. */
  async splicectl(...args: string[]): Promise<string> {
    const argv = [...this.#splicectl, ...args];
    return (await promisify(execFile)(process.execPath, argv, { timeout: 30_000 })).stdout;
  }
}
