// SPDX-License-Identifier: MIT
/** spliced and switchd, as their users run them. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { call, type StatusResult } from '../../daemon/control/index.js';
import type { Lab } from '../../test/lab/lab.js';
import { SIDES, type Side, syncOf } from '../sync/network.js';
import { alike, NICE, pidOf } from '../sync/system.js';
import type { Managed } from './managers.js';
import { SERVER_ENDPOINTS, VIRTUAL, VIRTUAL_ADDRESSES } from './network.js';
import { Pair } from './pair.js';

/** Each node's share of the ports to the servers. */
const PORTS: Record<Side, string> = { a: '10000 34999', b: '35000 59999' };

function project(file: string): string {
  return fileURLToPath(new URL(`../../${file}`, import.meta.url));
}

export interface SplicedOptions {
  /** The standby's kernel has the entries already; else they are committed to it. */
  readonly hot: boolean;
  readonly tableSize: number;
}

export class SplicedPair extends Pair {
  readonly targets = [`${VIRTUAL.clients}:80`];
  readonly #pins: Record<Side, string>;

  constructor(
    lab: Lab,
    name: string,
    readonly options: SplicedOptions,
  ) {
    super(lab, name);
    const pins = (side: Side) => join(lab.mount('bpf', this.#file(side, 'bpf')), 'spliced');
    this.#pins = { a: pins('a'), b: pins('b') };
    for (const side of SIDES) {
      lab.write(this.#file(side, 'spliced.conf'), this.#daemonConfig(side));
      lab.write(this.#file(side, 'switchd.conf'), proxyConfig(side));
    }
  }

  #file(side: Side, name: string): string {
    return `${this.network.node(side)}/${name}`;
  }

  #path(side: Side, name: string): string {
    return this.lab.path(this.#file(side, name));
  }

  #daemonConfig(side: Side): string {
    const { hot, tableSize } = this.options;
    return `${syncOf(side, { mode: hot ? 'DisableExternalCache Yes' : '' })}
Kernel {
  Interface eth0 eth1
  TableSize ${tableSize}
  Timeouts { timewait 5 }
  PinPath ${this.#pins[side]}
  Cgroup ${this.lab.group(this.network.node(side))}
}
General {
  NodeName ${side}
  HashLimit ${tableSize}
  Nice ${NICE}
  UNIX { Path ${this.#path(side, 'ctl')} }
}
Failover {
${VIRTUAL_ADDRESSES.map(({ address, device }) => `  VirtualAddress ${address} dev ${device}`).join('\n')}
  TrackFile ${this.#path(side, 'in-sync')}
}
`;
  }

  protected async start(side: Side): Promise<void> {
    const { lab } = this;
    const node = this.network.node(side);
    const daemon = project('dist/daemon/main.js');
    const proxy = project('dist/proxy/main.js');
    const argv = (main: string, ...rest: string[]) => [process.execPath, main, ...rest];
    const spliced = lab.start(
      node,
      'spliced',
      argv(daemon, '-C', this.#path(side, 'spliced.conf')),
    );
    await this.until(`spliced on ${side}`, async () => (await this.status(side)) !== undefined);
    alike(lab, node, pidOf(spliced));
    lab.start(node, 'switchd', argv(proxy, '-f', this.#path(side, 'switchd.conf')));
    await this.until(`switchd on ${side}`, () =>
      lab.exec(node, 'ss', '-Hltn', 'sport = :80').includes(':80'),
    );
    await this.until(`${side} in sync`, async () => (await this.status(side))?.in_sync ?? false);
  }

  /** Pinned programs and maps outlive a namespace, but no boot. */
  protected clear(side: Side): void {
    rmSync(this.#pins[side], { recursive: true, force: true });
    for (const name of ['ctl', 'ctl.role', 'in-sync'])
      rmSync(this.#path(side, name), { force: true });
  }

  protected managed(side: Side): Managed {
    const path = 'export PATH=/usr/sbin:/usr/bin:/sbin:/bin';
    const splicectl = `${process.execPath} ${project('dist/bin/splicectl.js')} -C ${this.#path(side, 'spliced.conf')}`;
    const log = this.#path(side, 'notify.log');
    const environment = `${path} SPLICED_LOCK=${this.#path(side, 'notify.lock')} SPLICECTL='${splicectl}'`;
    const text = `#!/bin/sh\n${environment}\nexec ${project('scripts/primary-backup.sh')} "$@" >>${log} 2>&1\n`;
    return {
      script: this.script(side, 'notify.sh', text),
      before: `${splicectl} commit >>${log} 2>&1`,
      trackFile: this.#path(side, 'in-sync'),
    };
  }

  /** undefined while no daemon answers. */
  async status(side: Side): Promise<StatusResult | undefined> {
    try {
      return await call(this.#path(side, 'ctl'), 'status', {}, {}, { idleMs: 5000 });
    } catch {
      return undefined;
    }
  }

  override async told(side: Side): Promise<string> {
    return JSON.stringify((await this.status(side))?.takeover ?? 'no takeover');
  }

  async held(side: Side): Promise<number> {
    return (await this.status(side))?.external.entries ?? 0;
  }

  /** Where a loader finds the kernel table of a node. */
  table(side: Side): { node: string; pinPath: string; cgroup: string; tableSize: number } {
    const node = this.network.node(side);
    const { tableSize } = this.options;
    return { node, pinPath: this.#pins[side], cgroup: this.lab.group(node), tableSize };
  }
}

function proxyConfig(side: Side): string {
  const servers = SERVER_ENDPOINTS.map((at) => `  real_server ${at.replace(':', ' ')}`);
  return `virtual_server ${VIRTUAL.clients} 80 {
  listen_backlog 4096
  source ${VIRTUAL.servers}
  ports ${PORTS[side]}
${servers.join('\n')}
}
`;
}
