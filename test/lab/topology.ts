import { command, type Lab } from './lab.js';

/*
 *               10.1.0.0/24                       10.2.0.0/24
 *               fd00:1::/64                       fd00:2::/64
 *               (client net)                      (server net)
 *                     |        +---------+           |
 *   +--------+        +--------|  lb-a   |-----------+        +-------+
 *   | client |--------+  2     +---------+  2        +--------| web-1 | 11
 *   +--------+ 10     |        sync | 2 (10.3.0/24)  |        +-------+
 *                     |        sync | 3              +--------| web-2 | 12
 *                     |        +---------+           |        +-------+
 *                     +--------|  lb-b   |-----------+--------| web-3 | 13
 *                        3     +---------+  3                 +-------+
 *
 *   10.1.0.100, fd00:1::100  where clients connect; on lb-a or lb-b, moved by keepalived or another manager
 *   10.2.0.100, fd00:2::100  what the servers see as client; they move with them
 *   ... and with 101 at the end a second one of each, which moves with these
 *
 * A number at a node is the end of its address in either family. Each network is a bridge in the
 * namespace "fabric"; a cable is a veth pair whose end in the fabric is called <node>.<net>, and
 * pulling it means setting that end down.
 */
export type Family = '4' | '6';
const FAMILIES: Family[] = ['4', '6'];
export type Net = 'clients' | 'servers' | 'sync';

/** The sync link stays with IPv4: its multicast has no IPv6 yet. */
const NETS: Record<Net, { prefix: Partial<Record<Family, string>> }> = {
  clients: { prefix: { 4: '10.1.0.', 6: 'fd00:1::' } },
  servers: { prefix: { 4: '10.2.0.', 6: 'fd00:2::' } },
  sync: { prefix: { 4: '10.3.0.' } },
};
const PREFIX_LENGTH: Record<Family, number> = { 4: 24, 6: 64 };
const HOST_LENGTH: Record<Family, number> = { 4: 32, 6: 128 };
/** Each side has one of each in either family. */
export const VIRTUAL_HOSTS = ['100', '101'] as const;
export type VirtualHost = (typeof VIRTUAL_HOSTS)[number];
export const SYNC_GROUP = '225.0.0.50';

export type BalancerName = 'lb-a' | 'lb-b';
export const BALANCERS: BalancerName[] = ['lb-a', 'lb-b'];
export const WEB_SERVERS = ['web-1', 'web-2', 'web-3'];
export const FABRIC = 'fabric';

interface Cable {
  node: string;
  net: Net;
  device: string;
  host: string;
}

const CABLES: Cable[] = [
  { node: 'client', net: 'clients', device: 'eth0', host: '10' },
  ...BALANCERS.flatMap((node, i): Cable[] => [
    { node, net: 'clients', device: 'eth0', host: `${2 + i}` },
    { node, net: 'servers', device: 'eth1', host: `${2 + i}` },
    { node, net: 'sync', device: 'eth2', host: `${2 + i}` },
  ]),
  ...WEB_SERVERS.map(
    (node, i): Cable => ({ node, net: 'servers', device: 'eth0', host: `${11 + i}` }),
  ),
];

function within(net: Net, family: Family, host: string): string {
  const prefix = NETS[net].prefix[family];
  if (prefix === undefined) throw new Error(`${net} has no IPv${family}`);
  return `${prefix}${host}`;
}

function cableOf(node: string, net: Net): Cable {
  const cable = CABLES.find((c) => c.node === node && c.net === net);
  if (!cable) throw new Error(`${node} is not on ${net}`);
  return cable;
}

/** What a cable's end in the fabric is called. */
export function cableEnd(node: string, net: Net): string {
  return `${cableOf(node, net).node}.${net}`;
}

export function addressOf(node: string, net: Net, family: Family = '4'): string {
  return within(net, family, cableOf(node, net).host);
}

/** Where clients connect, and what servers see as client. */
export function virtualAddress(
  net: 'clients' | 'servers',
  family: Family,
  host: VirtualHost = '100',
): string {
  return within(net, family, host);
}

export interface VirtualAddress {
  family: Family;
  net: Net;
  address: string;
  /** With the length of a host's prefix. */
  cidr: string;
  device: string;
}

/** All that move together. */
export const VIRTUAL_ADDRESSES: VirtualAddress[] = VIRTUAL_HOSTS.flatMap((host) =>
  FAMILIES.flatMap((family) =>
    (['clients', 'servers'] as const).map((net) => {
      const address = virtualAddress(net, family, host);
      const device = net === 'clients' ? 'eth0' : 'eth1';
      return { family, net, address, cidr: `${address}/${HOST_LENGTH[family]}`, device };
    }),
  ),
);

/** An address as a URL, or nginx, has it before a port. */
export function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}

/** What brings a cable's device up. Nobody else has its addresses: no second of waiting to find out. */
function addressLines({ net, device, host }: Cable): string[] {
  const families = FAMILIES.filter((family) => NETS[net].prefix[family] !== undefined);
  return [
    ...families.map((family) => {
      const address = `${within(net, family, host)}/${PREFIX_LENGTH[family]}`;
      return `address add ${address} dev ${device}${family === '6' ? ' nodad' : ''}`;
    }),
    `link set ${device} up`,
  ];
}

/** The hardware's own address, so that an interface that comes back is the same to its neighbours. */
function hardwareAddress({ net, host }: Cable): string {
  const octets = [2, 0, 0, 0, Object.keys(NETS).indexOf(net), Number(host)];
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}

function veth(lab: Lab, cable: Cable): string {
  const { device, node, net } = cable;
  return (
    `link add name ${device} netns ${lab.namespace(node)} address ${hardwareAddress(cable)} ` +
    `type veth peer name ${node}.${net} netns ${lab.namespace(FABRIC)}`
  );
}

function intoBridge({ node, net }: Cable): string[] {
  return [`link set ${node}.${net} master ${net}`, `link set ${node}.${net} up`];
}

/** What a machine in the place of a node needs: for each of its cables the lines that bring it up. */
export function addressesOf(node: string): { net: Net; mac: string; lines: string[] }[] {
  return CABLES.filter((c) => c.node === node).map((cable) => ({
    net: cable.net,
    mac: hardwareAddress(cable),
    lines: addressLines(cable),
  }));
}

/** Puts a tap in the place of a cable, for a machine outside of the lab's namespaces. Returns its name. */
export function plugTap(lab: Lab, node: string, net: Net): string {
  const cable = cableOf(node, net);
  const name = `${node}.${net}`;
  lab.ip(FABRIC, [`link delete ${name}`, `tuntap add dev ${name} mode tap`, ...intoBridge(cable)]);
  return name;
}

/** Builds the drawing above. */
export function build(lab: Lab): void {
  const nodes = [...new Set(CABLES.map((c) => c.node)), FABRIC];
  const all = nodes.map((n) => lab.namespace(n));
  const cables = CABLES.map((cable) => veth(lab, cable));
  const lines = [...all.map((n) => `netns add ${n}`), ...cables];
  command('ip', ['-batch', '-'], `${lines.join('\n')}\n`);

  lab.ip(FABRIC, [
    // Snooping off: multicast of VRRP, neighbour discovery and the sync link is flooded, as by a
    // plain switch.
    ...Object.keys(NETS).flatMap((net) => [
      `link add ${net} type bridge mcast_snooping 0 forward_delay 0`,
      `link set ${net} up`,
    ]),
    ...CABLES.flatMap(intoBridge),
  ]);
  for (const node of nodes.slice(0, -1)) {
    const mine = CABLES.filter((c) => c.node === node);
    lab.ip(node, ['link set lo up', ...mine.flatMap(addressLines)]);
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

/** One cable of a node, or all. */
export function setCables(lab: Lab, node: string, state: 'up' | 'down', net?: Net): void {
  const mine = CABLES.filter((c) => c.node === node && (net === undefined || c.net === net));
  lab.ip(
    FABRIC,
    mine.map((c) => `link set ${c.node}.${c.net} ${state}`),
  );
}

/** An interface of a node goes, and all that was set on it with it. */
export function removeInterface(lab: Lab, node: string, net: Net): void {
  lab.ip(node, [`link delete ${cableOf(node, net).device}`]);
}

/** It comes back with the addresses that are its own. The virtual ones are the manager's business. */
export function restoreInterface(lab: Lab, node: string, net: Net): void {
  const cable = cableOf(node, net);
  command('ip', ['-batch', '-'], `${veth(lab, cable)}\n`);
  lab.ip(FABRIC, intoBridge(cable));
  lab.ip(node, addressLines(cable));
}

/**
 * A machine boots: nothing is left of what its kernel knew of the network. Its cables are plugged in, and
 * nothing runs on it yet.
 */
export function rebuildNode(lab: Lab, node: string): void {
  const mine = CABLES.filter((c) => c.node === node);
  // one by one, since a namespace goes with its interfaces later, and their names are needed now
  lab.ip(
    node,
    mine.map(({ device }) => `link delete ${device}`),
  );
  const name = lab.namespace(node);
  const lines = [`netns delete ${name}`, `netns add ${name}`, ...mine.map((c) => veth(lab, c))];
  command('ip', ['-batch', '-'], `${lines.join('\n')}\n`);
  lab.ip(FABRIC, mine.flatMap(intoBridge));
  lab.ip(node, ['link set lo up', ...mine.flatMap(addressLines)]);
}

/** Takes the virtual addresses off a dead node, as the reboot of a machine would. */
export function forgetAddresses(lab: Lab, node: string): void {
  lab.ip(
    node,
    VIRTUAL_ADDRESSES.map(({ cidr }) => `address flush to ${cidr}`),
  );
}

/** Whether the node has the address on one of its interfaces. */
export function hasAddress(lab: Lab, node: string, address: string): boolean {
  return lab.exec(node, 'ip', '-o', 'address', 'show').includes(` ${address}/`);
}
