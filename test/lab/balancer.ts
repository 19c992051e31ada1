import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Lab } from './lab.js';
import {
  addressOf,
  BALANCERS,
  type BalancerName,
  CLIENT_ADDRESS,
  SERVER_SIDE_ADDRESS,
  SYNC_GROUP,
  WEB_SERVERS,
} from './topology.js';
import { trackFile } from './vrrp.js';

/** Each node's share of local ports: after a takeover both nodes' choices meet at the servers. */
const PORTS: Record<BalancerName, string> = { 'lb-a': '20000 39999', 'lb-b': '40000 59999' };

function built(file: string): string {
  return fileURLToPath(new URL(`../../dist/${file}`, import.meta.url));
}

/** One load balancer: spliced and switchd with files, pins and a cgroup of their own. */
export class Balancer {
  readonly splicedConfig: string;
  readonly switchdConfig: string;
  readonly socket: string;
  readonly pinPath: string;

  constructor(
    readonly lab: Lab,
    readonly name: BalancerName,
  ) {
    this.socket = lab.path(name, 'spliced.ctl');
    this.pinPath = join(lab.mount('bpf', join(name, 'bpf')), 'spliced');
    this.splicedConfig = lab.write(
      join(name, 'spliced.conf'),
      `Sync {
  Mode FTFW {
    ResendQueueSize 131072
    ACKWindowSize 300
    StartupResync Yes
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
  TableSize 16384
  PinPath ${this.pinPath}
  Cgroup ${lab.group(name)}
}
General {
  NodeName ${name}
  HashLimit 65536
  UNIX { Path ${this.socket} }
}
Failover {
  VirtualAddress ${CLIENT_ADDRESS} dev eth0
  VirtualAddress ${SERVER_SIDE_ADDRESS} dev eth1
  TrackFile ${trackFile(lab, name)}
}
`,
    );
    this.switchdConfig = lab.write(
      join(name, 'switchd.conf'),
      `virtual_server ${CLIENT_ADDRESS} 80 {
  schedule_lc
  listen_backlog 1024
  source ${SERVER_SIDE_ADDRESS}
  ports ${PORTS[name]}
${WEB_SERVERS.map((web) => `  real_server ${addressOf(web, 'servers')} 80`).join('\n')}
}
`,
    );
  }

  startDaemon(): void {
    this.#node('spliced', 'daemon/main.js', '-C', this.splicedConfig);
  }

  startProxy(): void {
    this.#node('switchd', 'proxy/main.js', '-f', this.switchdConfig);
  }

  #node(name: string, program: string, ...args: string[]): void {
    this.lab.start(this.name, name, [process.execPath, built(program), ...args]);
  }

  get peer(): BalancerName {
    return this.name === BALANCERS[0] ? BALANCERS[1] : BALANCERS[0];
  }
}
