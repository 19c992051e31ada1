import { command, type Lab } from './lab.js';

/*
 *                 10.1.0.0/24                    10.2.0.0/24
 *                (client net)                   (server net)
 *                     |        +---------+           |
 *   +--------+        +--------|  lb-a   |-----------+        +-------+
 *   | client |--------+  .2    +---------+  .2       +--------| web-1 | .11
 *   +--------+ .10    |        sync | .2 (10.3.0/24) |        +-------+
 *                     |        sync | .3             +--------| web-2 | .12
 *                     |        +---------+           |        +-------+
 *                     +--------|  lb-b   |-----------+--------| web-3 | .13
 *                        .3    +---------+  .3                +-------+
 *
 *   10.1.0.100  where clients connect; on lb-a or lb-b, moved by keepalived
 *   10.2.0.100  what the servers see as client; moves with it
 *
 * Each network is a bridge in the namespace "fabric"; a cable is a veth pair whose end in the
 * fabric is called <node>.<net>, and pulling it means setting that end down.
 */
export const CLIENT_ADDRESS = '10.1.0.100';
export const SERVER_SIDE_ADDRESS = '10.2.0.100';
export const SYNC_GROUP = '225.0.0.50';

export type BalancerName = 'lb-a' | 'lb-b';
export const BALANCERS: BalancerName[] = ['lb-a', 'lb-b'];
export const WEB_SERVERS = ['web-1', 'web-2', 'web-3'];
const FABRIC = 'fabric';
const NETS = ['clients', 'servers', 'sync'] as const;

interface Cable {
  node: string;
  net: (typeof NETS)[number];
  device: string;
  address: string;
}

const CABLES: Cable[] = [
  { node: 'client', net: 'clients', device: 'eth0', address: '10.1.0.10' },
  ...BALANCERS.flatMap((node, i): Cable[] => [
    { node, net: 'clients', device: 'eth0', address: `10.1.0.${2 + i}` },
    { node, net: 'servers', device: 'eth1', address: `10.2.0.${2 + i}` },
    { node, net: 'sync', device: 'eth2', address: `10.3.0.${2 + i}` },
  ]),
  ...WEB_SERVERS.map(
    (node, i): Cable => ({ node, net: 'servers', device: 'eth0', address: `10.2.0.${11 + i}` }),
  ),
];

export function addressOf(node: string, net: (typeof NETS)[number]): string {
  const cable = CABLES.find((c) => c.node === node && c.net === net);
  if (!cable) throw new Error(`${node} is not on ${net}`);
  return cable.address;
}

/** Builds the drawing above. */
export function build(lab: Lab): void {
  const nodes = [...new Set(CABLES.map((c) => c.node)), FABRIC];
  const all = nodes.map((n) => lab.namespace(n));
  const cables = CABLES.map(
    (c) =>
      `link add name ${c.device} netns ${lab.namespace(c.node)} type veth ` +
      `peer name ${c.node}.${c.net} netns ${lab.namespace(FABRIC)}`,
  );
  const lines = [...all.map((n) => `netns add ${n}`), ...cables];
  command('ip', ['-batch', '-'], `${lines.join('\n')}\n`);

  lab.ip(FABRIC, [
    // Snooping off: VRRP's and the sync link's multicast is flooded, as by a plain switch.
    ...NETS.map((net) => `link add ${net} type bridge mcast_snooping 0 forward_delay 0`),
    ...NETS.map((net) => `link set ${net} up`),
    ...CABLES.flatMap((c) => [
      `link set ${c.node}.${c.net} master ${c.net}`,
      `link set ${c.node}.${c.net} up`,
    ]),
  ]);
  for (const node of nodes.slice(0, -1)) {
    const mine = CABLES.filter((c) => c.node === node);
    lab.ip(node, [
      'link set lo up',
      ...mine.flatMap((c) => [
        `address add ${c.address}/24 dev ${c.device}`,
        `link set ${c.device} up`,
      ]),
    ]);
  }
}

/** Pulls all cables of a node, in one process so that they go within a millisecond or so. */
export function pullCables(lab: Lab, node: string): void {
  setCables(lab, node, 'down');
}

/** Plugs them in again. */
export function plugCables(lab: Lab, node: string): void {
  setCables(lab, node, 'up');
}

function setCables(lab: Lab, node: string, state: 'up' | 'down'): void {
  const mine = CABLES.filter((c) => c.node === node);
  lab.ip(
    FABRIC,
    mine.map((c) => `link set ${c.node}.${c.net} ${state}`),
  );
}

/** Takes the virtual addresses off a dead node, as the reboot of a machine would. */
export function forgetAddresses(lab: Lab, node: string): void {
  lab.ip(
    node,
    [CLIENT_ADDRESS, SERVER_SIDE_ADDRESS].map((address) => `address flush to ${address}/32`),
  );
}

/** Whether the node has the address on one of its interfaces. */
export function hasAddress(lab: Lab, node: string, address: string): boolean {
  return lab.exec(node, 'ip', '-o', '-4', 'address', 'show').includes(` ${address}/`);
}
