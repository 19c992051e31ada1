// SPDX-License-Identifier: MIT
/**
 * Two routers with a stateful firewall, and conntrackd, by the script that comes with it: what belongs to
 * no connection is dropped, never reset, which is the kindest thing that such a router can do to flows
 * that it does not know (yet).
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { type Lab, LabError } from '../../test/lab/lab.js';
import { askConntrackd, conntrackdConfig, Request } from '../sync/conntrackd.js';
import { SIDES, type Side } from '../sync/network.js';
import { alike, pidOf } from '../sync/system.js';
import type { Managed } from './managers.js';
import { SERVER_ENDPOINTS } from './network.js';
import { Pair } from './pair.js';

const SCRIPT = '/usr/share/doc/conntrackd/examples/sync/primary-backup.sh';
const FIREWALL = `table inet firewall {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state invalid drop
    ct state established,related accept
    ct state new tcp flags & (fin | syn | rst | ack) == syn accept
  }
}
`;

export class ConntrackdPair extends Pair {
  readonly targets = SERVER_ENDPOINTS;

  constructor(lab: Lab, name: string) {
    super(lab, name);
    if (!existsSync(SCRIPT)) {
      throw new LabError('MISSING', `${SCRIPT} is not there: install the examples of conntrackd`);
    }
    for (const side of SIDES) {
      lab.write(this.#file(side, 'conntrackd.conf'), conntrackdConfig(side, this.#path(side)));
    }
  }

  #file(side: Side, name: string): string {
    return `${this.network.node(side)}/${name}`;
  }

  #path(side: Side): (name: string) => string {
    return (name) => this.lab.path(this.#file(side, name));
  }

  protected async start(side: Side): Promise<void> {
    const { lab } = this;
    const node = this.network.node(side);
    lab.exec(node, 'nft', '-f', lab.write(this.#file(side, 'firewall.nft'), FIREWALL));
    this.network.sysctl(node, { 'net.netfilter.nf_conntrack_tcp_loose': '0' });
    const argv = ['conntrackd', '-C', this.#path(side)('conntrackd.conf')];
    const daemon = lab.start(node, 'conntrackd', argv);
    await this.until(`conntrackd on ${side}`, async () => {
      try {
        return (await askConntrackd(this.#path(side)('ctl'), Request.STATS)) !== '';
      } catch {
        return false;
      }
    });
    alike(lab, node, pidOf(daemon));
    await askConntrackd(this.#path(side)('ctl'), Request.REQUEST);
  }

  protected clear(side: Side): void {
    for (const name of ['lock', 'ctl']) rmSync(this.#path(side)(name), { force: true });
  }

  protected managed(side: Side): Managed {
    const path = this.#path(side);
    const own: Record<string, string> = {
      LOCK: path('lock'),
      CONFIG: path('conntrackd.conf'),
    };
    const text = readFileSync(SCRIPT, 'utf8').replace(
      /^CONNTRACKD_(LOCK|CONFIG)=.*$/gm,
      (_, name: string) => `CONNTRACKD_${name}=${own[name]}`,
    );
    const script = this.script(side, 'primary-backup.sh', text);
    return { script, before: `${script} primary` };
  }

  async held(side: Side): Promise<number> {
    const said = await askConntrackd(this.#path(side)('ctl'), Request.STATS);
    const [, count] = /cache external:\s*current active connections:\s*(\d+)/.exec(said) ?? [];
    return Number(count ?? 0);
  }
}
