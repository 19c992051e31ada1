// What was to be seen on the wire, counted by nftables: who answers for the virtual addresses, and
// RSTs at the ends.
import { nft } from './faults.js';
import type { Lab } from './lab.js';
import {
  BALANCERS,
  type BalancerName,
  cableEnd,
  FABRIC,
  VIRTUAL_ADDRESSES,
  WEB_SERVERS,
} from './topology.js';

const ENDS = ['client', ...WEB_SERVERS];

/** By node: ARP from, and neighbour advertisements for, a virtual address. */
export type Claims = Record<BalancerName, number>;

export class Witness {
  constructor(private readonly lab: Lab) {
    nft(lab, FABRIC, claimRules());
    for (const end of ENDS) nft(lab, end, RESET_RULES);
  }

  /** Claims to the virtual addresses since the last call. */
  claims(): Claims {
    const counted = counters(this.lab, FABRIC, true);
    return Object.fromEntries(BALANCERS.map((node) => [node, counted[node]])) as Claims;
  }

  /** RSTs that came to an end or left it, by end; ends without any are not there. */
  resets(): Record<string, number> {
    const found: Record<string, number> = {};
    for (const end of ENDS) {
      for (const [way, packets] of Object.entries(counters(this.lab, end, false))) {
        if (packets > 0) found[`${end} ${way}`] = packets;
      }
    }
    return found;
  }

  /** Lets the ends ask anew who has the addresses that they talk to. */
  forgetNeighbours(): void {
    for (const end of ENDS) this.lab.ip(end, ['neigh flush dev eth0']);
  }
}

function claimRules(): string {
  const rules = BALANCERS.flatMap((node) =>
    VIRTUAL_ADDRESSES.map(({ net, family, address }) => {
      const from = `iifname "${cableEnd(node, net)}"`;
      const claim =
        family === '4'
          ? `arp saddr ip ${address}`
          : `icmpv6 type nd-neighbor-advert @th,64,128 ${hex(address)}`;
      return `${from} ${claim} counter name "${node}"`;
    }),
  );
  const named = BALANCERS.map((node) => `counter ${node} {}`);
  const chain = ['type filter hook prerouting priority -300', ...rules].join('\n');
  return `table bridge witness {\n${named.join('\n')}\nchain seen {\n${chain}\n}\n}\n`;
}

const RESET_RULES = `table inet witness {
counter in {}
counter out {}
chain in {
type filter hook input priority -300
tcp flags & rst == rst counter name "in"
}
chain out {
type filter hook output priority -300
tcp flags & rst == rst counter name "out"
}
}
`;

/** An IPv6 address as nftables takes the octets of a header; lab addresses have at most one "::". */
function hex(address: string): string {
  const [head, tail] = address.split('::').map((part) => part.split(':').filter(Boolean));
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  const words = [...head, ...zeros, ...tail].map((word) => word.padStart(4, '0'));
  return `0x${words.join('')}`;
}

function counters(lab: Lab, node: string, reset: boolean): Record<string, number> {
  const family = node === FABRIC ? 'bridge' : 'inet';
  const verb = reset ? 'reset' : 'list';
  const said = lab.exec(node, 'nft', '-j', verb, 'counters', 'table', family, 'witness');
  const { nftables } = JSON.parse(said) as {
    nftables: { counter?: { name: string; packets: number } }[];
  };
  return Object.fromEntries(
    nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])),
  );
}
