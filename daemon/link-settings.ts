// The links between the nodes, as the file has them: Multicast, UDP and TCP, each as often as wanted.
import { type Directive, type Entry, type Problems, type Section, types } from '../config/index.js';
import { plainAddress } from '../kernel/endpoint.js';
import type { LinkSettings } from '../sync/transport/settings.js';

export const LINK_PORT_DEFAULT = 3780;
export const GROUP_DEFAULT = '225.0.0.50';

const socketBuffer = types.integer(4096, 1 << 30);

const multicast4 = types.without(types.ipv4, (address) => {
  const first = Number(address.split('.')[0]);
  return first >= 224 && first <= 239
    ? undefined
    : 'not a multicast address: expected one from 224.0.0.0 to 239.255.255.255';
});

/** In its canonical form (RFC 5952), so that one address is one word. */
const ipv6: types.ValueType<string> = {
  expected: types.ipv6.expected,
  parse: (text) => (types.ipv6.parse(text) === undefined ? undefined : plainAddress(text)),
};

const multicast6 = types.without(ipv6, (address) =>
  /^ff/.test(address) ? undefined : 'not a multicast address: expected one of ff00::/8',
);

const NOT_ONE = 'not the address of one node: expected one that is neither a group nor any';

const unicast4 = types.without(types.ipv4, (address) => {
  const first = Number(address.split('.')[0]);
  return first >= 1 && first <= 223 ? undefined : NOT_ONE;
});

const unicast6 = types.without(ipv6, (address) =>
  /^ff/.test(address) || address === '::' ? NOT_ONE : undefined,
);

const BUFFERS = {
  SndSocketBuffer: { args: [socketBuffer] },
  RcvSocketBuffer: { args: [socketBuffer] },
};

const MULTICAST: Directive = {
  options: { Default: [] },
  repeat: true,
  block: {
    IPv4_address: { args: [multicast4] },
    IPv6_address: { args: [multicast6] },
    Group: { args: [types.port] },
    IPv4_interface: { args: [types.ipv4] },
    IPv6_interface: {
      refused: 'leave it out: datagrams leave from the link-local address of Interface',
    },
    Interface: { args: [types.interfaceName], required: true },
    ...BUFFERS,
  },
};

const UNICAST: Directive = {
  options: { Default: [] },
  repeat: true,
  block: {
    IPv4_address: { args: [unicast4] },
    IPv4_Destination_Address: { args: [unicast4], repeat: true },
    IPv6_address: { args: [unicast6] },
    IPv6_Destination_Address: { args: [unicast6], repeat: true },
    Port: { args: [types.port] },
    Interface: { args: [types.interfaceName] },
    ...BUFFERS,
  },
};

/** Directives of Sync. */
export const LINKS = { Multicast: MULTICAST, UDP: UNICAST, TCP: UNICAST };

/** In the order of the file. */
export function linkSettings(sync: Section, problems: Problems): LinkSettings[] {
  const links: LinkSettings[] = [];
  const entries = Object.keys(LINKS).flatMap((name) => sync.all(name));
  entries.sort((a, b) => a.at.line - b.at.line || a.at.column - b.at.column);
  const seen = new Map<string, Entry>();
  let preferred: Entry | undefined;
  for (const entry of entries) {
    if (entry.options.Default) {
      if (preferred) {
        problems.add(
          entry.at,
          `Default stands at two links: the first is in line ${preferred.at.line}`,
        );
      }
      preferred ??= entry;
    }
    const link = entry.name === 'Multicast' ? multicast(entry, problems) : unicast(entry, problems);
    if (!link) continue;
    const before = seen.get(identity(link));
    if (before) {
      problems.add(
        entry.at,
        `this is the link of line ${before.at.line} once more: a second path needs an interface, an address or a port of its own`,
      );
    }
    seen.set(identity(link), entry);
    links.push(link);
  }
  if (entries.length === 0) {
    problems.add(sync.at, 'a link is missing: the block of Sync needs Multicast, UDP or TCP');
  }
  return links;
}

function common({ block, options }: Entry, port: string, family: 4 | 6) {
  return {
    preferred: options.Default !== undefined,
    family,
    port: block.value(port, LINK_PORT_DEFAULT),
    sendBuffer: block.value<number>('SndSocketBuffer'),
    receiveBuffer: block.value<number>('RcvSocketBuffer'),
  };
}

function multicast(entry: Entry, problems: Problems): LinkSettings | undefined {
  const { block } = entry;
  const family = familyOf(entry, problems);
  if (!family) return undefined;
  const from = block.one('IPv4_interface');
  if (from && family === 6) {
    problems.add(from.at, 'IPv4_interface: this link speaks IPv6: leave it out');
    return undefined;
  }
  return {
    kind: 'multicast',
    ...common(entry, 'Group', family),
    group: block.value<string>(`IPv${family}_address`, GROUP_DEFAULT),
    interface: block.value('Interface', ''),
    local: block.value<string>('IPv4_interface'),
  };
}

function unicast(entry: Entry, problems: Problems): LinkSettings | undefined {
  const { name, block, at } = entry;
  const family = familyOf(entry, problems);
  if (!family) return undefined;
  const local = block.value<string>(`IPv${family}_address`);
  const others = block.all(`IPv${family}_Destination_Address`);
  const stray = block.one(`IPv${family === 4 ? 6 : 4}_Destination_Address`);
  const wrong = (where: typeof at, message: string): undefined => {
    problems.add(where, message);
  };
  if (stray)
    return wrong(stray.at, `${stray.name}: expected one of IPv${family}, as this link speaks`);
  if (local === undefined) {
    return wrong(at, `IPv4_address is missing: ${name} needs the address of this node on the link`);
  }
  if (others.length === 0) {
    const directive = `IPv${family}_Destination_Address`;
    return wrong(at, `${directive} is missing: ${name} needs one for each of the other nodes`);
  }
  const peers = new Set<string>();
  for (const other of others) {
    const address = other.values[0] as string;
    if (address === local) wrong(other.at, `${address} is this node itself: expected a peer`);
    if (peers.has(address)) wrong(other.at, `${address} is named twice: expected each peer once`);
    peers.add(address);
  }
  const device = block.value<string>('Interface');
  const needs = [local, ...peers].find((address) => /^fe[89ab]/.test(address));
  if (needs && device === undefined) {
    return wrong(
      at,
      `Interface is missing: the link-local address ${needs} says nothing without it`,
    );
  }
  return {
    kind: name === 'UDP' ? 'udp' : 'tcp',
    ...common(entry, 'Port', family),
    local,
    peers: [...peers],
    interface: device,
  };
}

function familyOf({ block }: Entry, problems: Problems): 4 | 6 | undefined {
  const six = block.one('IPv6_address');
  if (six && block.has('IPv4_address')) {
    problems.add(
      six.at,
      'IPv6_address beside IPv4_address: expected one of them; make it two links',
    );
    return undefined;
  }
  return six ? 6 : 4;
}

/** Two links of which this is equal are the same one. */
function identity(link: LinkSettings): string {
  return link.kind === 'multicast'
    ? `multicast ${link.group} ${link.port} ${link.interface}`
    : `${link.kind} ${link.local} ${link.port} ${link.interface ?? ''}`;
}
