// SPDX-License-Identifier: MIT
import { join } from 'node:path';
import { command, type Lab } from '../../test/lab/lab.js';
import { NODE_MAC } from '../../test/support/packet.js';
import { Helper } from '../helper.js';
import type { BalancerFunctions } from './balancer.js';

/*
 *                     10.1.0.0/24                    10.2.0.0/24
 *                     fd00:1::/64                    fd00:2::/64
 *   +--------+ eth0            cli +----------+ srv            eth0 +--------+
 *   | client |.2─────────────────.1| balancer |.1─────────────────.2| server |
 *   +--------+                     +----------+                     +--------+
 *        .1│eth1                 10.3.0.0/24                     eth1│.2
 *          └─────────────────────fd00:3::/64─────────────────────────┘
 *
 * Three namespaces, three veth pairs. By way of eth1 client and server talk without a balancer: what
 * that costs is not the balancer's.
 */
const NODES = ['client', 'balancer', 'server'] as const;

interface End {
  node: (typeof NODES)[number];
  device: string;
  host: number;
}
const CABLES: { net: number; ends: [End, End] }[] = [
  {
    net: 1,
    ends: [
      { node: 'client', device: 'eth0', host: 2 },
      { node: 'balancer', device: 'cli', host: 1 },
    ],
  },
  {
    net: 2,
    ends: [
      { node: 'balancer', device: 'srv', host: 1 },
      { node: 'server', device: 'eth0', host: 2 },
    ],
  },
  {
    net: 3,
    ends: [
      { node: 'client', device: 'eth1', host: 1 },
      { node: 'server', device: 'eth1', host: 2 },
    ],
  },
];
const ENDS = CABLES.flatMap(({ net, ends }) => ends.map((end) => ({ net, ...end })));

export type Family = 4 | 6;

export function address(family: Family, net: number, host: number): string {
  return family === 4 ? `10.${net}.0.${host}` : `fd00:${net}::${host}`;
}

/** The drawing above, with a splice datapath on the balancer that is served only when asked. */
export class Bed {
  static readonly #beds = new WeakMap<Lab, Promise<Bed>>();
  readonly balancer: Helper<BalancerFunctions>;

  /** That of a lab: made the first time, the same for all parts of a bench. */
  static of(lab: Lab): Promise<Bed> {
    const bed = Bed.#beds.get(lab) ?? Bed.#open(lab);
    Bed.#beds.set(lab, bed);
    return bed;
  }

  static async #open(lab: Lab): Promise<Bed> {
    build(lab);
    const bed = new Bed(lab, join(lab.mount('bpf', 'balancer/bpf'), 'datapath'));
    await bed.balancer.call('open', bed.pinPath, lab.group('balancer'));
    await lab.until('links', 5, () => bed.balancer.call('up'));
    return bed;
  }

  private constructor(
    readonly lab: Lab,
    readonly pinPath: string,
  ) {
    this.balancer = new Helper(lab, 'balancer', './datapath/balancer.ts');
  }

  /** Segmentation by the (virtual) card, or by the sender: with or without 64 KB bundles on the way. */
  offload(on: boolean): void {
    const state = on ? 'on' : 'off';
    for (const { node, device } of ENDS) {
      this.lab.exec(node, 'ethtool', '-K', device, 'tso', state, 'gso', state);
    }
  }
}

function build(lab: Lab): void {
  const lines = [
    ...NODES.map((node) => `netns add ${lab.namespace(node)}`),
    ...CABLES.map(({ ends: [a, b] }) => {
      const peer = `peer name ${b.device} netns ${lab.namespace(b.node)}`;
      return `link add name ${a.device} netns ${lab.namespace(a.node)} type veth ${peer}`;
    }),
  ];
  command('ip', ['-batch', '-'], `${lines.join('\n')}\n`);
  for (const node of NODES) {
    const mine = ENDS.filter((end) => end.node === node);
    const gateway = { client: 1, balancer: undefined, server: 2 }[node];
    lab.ip(node, [
      'link set lo up',
      ...(node === 'balancer' ? [`link set cli address ${NODE_MAC}`] : []),
      ...mine.flatMap(({ net, device, host }) => [
        `address add ${address(4, net, host)}/24 dev ${device}`,
        `address add ${address(6, net, host)}/64 dev ${device} nodad`,
        `link set ${device} up`,
      ]),
      ...(gateway === undefined
        ? []
        : [
            `route add default via ${address(4, gateway, 1)}`,
            `route add default via ${address(6, gateway, 1)}`,
          ]),
    ]);
  }
  const forward =
    'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding';
  lab.exec('balancer', 'sh', '-c', forward);
}
