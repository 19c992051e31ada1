import * as fs from 'node:fs';
import { join } from 'node:path';
import type { Balancer } from '../balancer.js';
import type { Lab } from '../lab.js';
import {
  BALANCERS,
  type BalancerName,
  type Family,
  type Net,
  VIRTUAL_ADDRESSES,
} from '../topology.js';
import { type Manager, type ManagerName, Processes, scriptFor } from './manager.js';

type Flavour = Extract<ManagerName, `keepalived${string}`>;

function lines(net: Net | undefined, family: Family): string {
  return VIRTUAL_ADDRESSES.filter((a) => a.family === family && (!net || a.net === net))
    .map((a) => `    ${a.cidr} dev ${a.device}`)
    .join('\n');
}

/** All addresses, or those of one net: an advertisement has room for one family, see docs/lab.md. */
function addresses(net?: Net): string {
  return `  virtual_ipaddress {
${lines(net, '4')}
  }
  virtual_ipaddress_excluded {
${lines(net, '6')}
  }
`;
}

const TRACK = `  track_file {
    in_sync
  }
`;

function scripts(notify: string): string {
  return `  notify_master "${notify} primary"
  notify_backup "${notify} backup"
  notify_fault "${notify} fault"
  notify_stop "${notify} fault"
`;
}

/**
 * By keepalived, in three flavours: one instance with notify scripts; the same by a notify fifo; and
 * an instance for each side in a sync group, by a notify fifo.
 */
export class Keepalived implements Manager {
  readonly watches = ['clients', 'servers'] as const;
  readonly #processes: Processes;

  constructor(
    readonly lab: Lab,
    readonly name: Flavour,
    readonly prefers: BalancerName | undefined,
  ) {
    this.#processes = new Processes(lab);
  }

  get hears(): readonly Net[] {
    return this.name === 'keepalived-sync-group' ? ['clients', 'servers'] : ['clients'];
  }

  handover(): undefined {}

  start(node: Balancer): void {
    const { lab } = this;
    const file = lab.write(join(node.name, 'keepalived.conf'), this.#config(node));
    const files = ['keepalived.pid', 'vrrp.pid'].map((name) => lab.path(node.name, name));
    for (const stale of files) fs.rmSync(stale, { force: true }); // one that was killed left them
    // Line by line, or the last that it logged goes with it when it is killed.
    const program = ['stdbuf', '-oL', 'keepalived', '-n', '-l', '-D', '-P'];
    const argv = [...program, '-f', file, '-p', files[0], '-r', files[1]];
    this.#processes.start(node.name, 'keepalived', argv);
  }

  stop({ name }: Balancer): Promise<void> {
    return this.#processes.end(name, 'SIGTERM');
  }

  async crash(node: Balancer): Promise<void> {
    // The parent would start its child again, and the child take the addresses away at its parent's end.
    const child = Number(fs.readFileSync(this.lab.path(node.name, 'vrrp.pid'), 'utf8'));
    const ended = this.#processes.end(node.name, 'SIGKILL');
    process.kill(child, 'SIGKILL');
    await ended;
  }

  async move(from: Balancer): Promise<void> {
    await from.splicectl('handover');
  }

  told(): void {}

  #config(node: Balancer): string {
    const fifo = this.name !== 'keepalived';
    const notify = fifo
      ? `  vrrp_notify_fifo ${this.lab.path(node.name, 'vrrp.fifo')}
  vrrp_notify_fifo_script "${scriptFor(node, 'vrrp-fifo.sh')} pair"
`
      : '';
    const told = fifo ? '' : scripts(scriptFor(node, 'primary-backup.sh'));
    return `global_defs {
  router_id ${node.name}
  enable_script_security
  script_user root
  vrrp_rt_priority 10
  vrrp_rlimit_rttime 500000
  vrrp_garp_master_delay 1
  vrrp_garp_master_repeat 2
${notify}}
track_file in_sync {
  file ${node.trackFile}
  weight 1
  init_file -100
}
${this.name === 'keepalived-sync-group' ? this.#group(node) : this.#instance(node, 'pair', 'eth0', 51, addresses() + TRACK + told)}`;
  }

  #group(node: Balancer): string {
    return `vrrp_sync_group pair {
  group {
    clients
    servers
  }
  sync_group_tracking_weight
${TRACK}}
${this.#instance(node, 'clients', 'eth0', 51, addresses('clients'))}${this.#instance(node, 'servers', 'eth1', 52, addresses('servers'))}`;
  }

  /**
   * The number in the track file is added to the priority (weight 1), and below -253 it means FAULT:
   * keepalived then sends priority 0 at once and lets go. Until the daemon has written it for the first
   * time after a boot, the node counts as not in sync (init_file). The priorities are high because VRRP's skew
   * time, by which the lower of two waits longer, is (256 - priority) / 256 of the interval (RFC 5798
   * section 6.1). With real-time priority no advertisement is late on a busy machine, where 0.3 s
   * without one mean a takeover.
   */
  #instance(
    { name }: Balancer,
    instance: string,
    device: string,
    router: number,
    rest: string,
  ): string {
    return `vrrp_instance ${instance} {
  state BACKUP
${this.prefers === undefined ? '  nopreempt\n' : ''}  interface ${device}
  virtual_router_id ${router}
  version 3
  priority ${name === (this.prefers ?? BALANCERS[0]) ? 250 : 240}
  advert_int 0.1
${rest}}
`;
  }
}
