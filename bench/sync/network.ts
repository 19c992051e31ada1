// SPDX-License-Identifier: MIT
/** Two namespaces and the link between them. */
import { readFileSync } from 'node:fs';
import { command, type Lab } from '../../test/lab/lab.js';

/*
 *   +---------+ eth2              eth2 +---------+
 *   | a, loads|.1 ─── veth pair ──── .2| b, backup|     10.9.0.0/24; eth0 of each is a stub
 *   +---------+                        +---------+
 */
export const SIDES = ['a', 'b'] as const;
export type Side = (typeof SIDES)[number];
export const LINK = 'eth2';
export const ADDRESS: Record<Side, string> = { a: '10.9.0.1', b: '10.9.0.2' };

const RESEND_QUEUE = 131_072;
const BUFFER = 4_194_304;

/** The mode and the link in the words that both daemons know; and what one of them adds to each. */
export function syncOf(side: Side, { mode = '', multicast = '', sync = '' }): string {
  return `Sync {
  Mode FTFW {
    ResendQueueSize ${RESEND_QUEUE}
    ACKWindowSize 300
    ${mode}
  }
  Multicast {
    IPv4_address 225.0.0.50
    Group 3780
    IPv4_interface ${ADDRESS[side]}
    Interface ${LINK}
    SndSocketBuffer ${BUFFER}
    RcvSocketBuffer ${BUFFER}
    ${multicast}
  }
  ${sync}
}`;
}

export class Network {
  constructor(
    readonly lab: Lab,
    readonly name: string,
  ) {
    const [a, b] = SIDES.map((side) => lab.namespace(this.node(side)));
    for (const namespace of [a, b]) command('ip', ['netns', 'add', namespace]);
    command('ip', ['-n', a, 'link', 'add', LINK, 'type', 'veth', 'peer', LINK, 'netns', b]);
    for (const side of SIDES) {
      lab.ip(this.node(side), [
        'link set lo up',
        'link add eth0 type veth peer name peer0',
        'link set peer0 up',
        'link set eth0 up',
        `address add ${ADDRESS[side]}/24 dev ${LINK}`,
        `link set ${LINK} up`,
      ]);
    }
  }

  /** The lab's name of a namespace. */
  node(side: Side): string {
    return `${this.name}-${side}`;
  }

  /** What has been on the link so far, both ways; octets with Ethernet's header. */
  traffic(pid: number): { octets: number; packets: number } {
    const line = readFileSync(`/proc/${pid}/net/dev`, 'latin1')
      .split('\n')
      .find((text) => text.trimStart().startsWith(`${LINK}:`));
    const fields = line?.split(':')[1].trim().split(/\s+/).map(Number) ?? [];
    return { octets: fields[0] + fields[8], packets: fields[1] + fields[9] };
  }

  /** Lose this share of the packets, both ways; 0: none. */
  lose(percent: number): void {
    for (const side of SIDES) {
      const rules = `table ip loss {
  chain in { type filter hook input priority 0; iifname ${LINK} numgen random mod 100 < ${percent} drop; }
}
`;
      const text = `table ip loss\ndelete table ip loss\n${percent > 0 ? rules : ''}`;
      const file = this.lab.write(`${this.node(side)}/loss.nft`, text);
      this.lab.exec(this.node(side), 'nft', '-f', file);
    }
  }
}
