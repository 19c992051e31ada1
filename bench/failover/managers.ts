// SPDX-License-Identifier: MIT
/** What moves the virtual addresses: keepalived at several adverts, and ucarp. The same for all pairs. */
import * as fs from 'node:fs';
import type { Started } from '../../test/lab/lab.js';
import type { Side } from '../sync/network.js';
import { type Network, VIRTUAL_ADDRESSES } from './network.js';

export interface ManagerName {
  readonly program: 'keepalived' | 'ucarp';
  /** Seconds between two advertisements. */
  readonly advert: number;
}

export const MANAGERS: ManagerName[] = [
  { program: 'keepalived', advert: 1 },
  { program: 'keepalived', advert: 0.1 },
  { program: 'keepalived', advert: 0.02 },
  { program: 'ucarp', advert: 1 },
];
export const QUICK = MANAGERS[1];

export function managerText({ program, advert }: ManagerName): string {
  return `${program} ${advert} s`;
}

/** What a node has for its manager. */
export interface Managed {
  /** Called with primary, backup or fault. */
  readonly script: string;
  /** A command line for what has to be done before the addresses come, where a manager can wait for it. */
  readonly before: string;
  /** What is to be added to the priority, for keepalived. */
  readonly trackFile?: string;
}

export function startManager(
  network: Network,
  side: Side,
  manager: ManagerName,
  managed: Managed,
): Started {
  return manager.program === 'ucarp'
    ? startUcarp(network, side, manager, managed)
    : startKeepalived(network, side, manager, managed);
}

function startKeepalived(
  network: Network,
  side: Side,
  { advert }: ManagerName,
  { script, trackFile }: Managed,
): Started {
  const { lab } = network;
  const node = network.node(side);
  const track = trackFile
    ? {
        file: `track_file in_sync {\n  file ${trackFile}\n  weight 1\n}`,
        use: 'track_file {\n    in_sync\n  }',
      }
    : { file: '', use: '' };
  const lines = VIRTUAL_ADDRESSES.map(({ address, device }) => `    ${address}/32 dev ${device}`);
  const file = lab.write(
    `${node}/keepalived.conf`,
    `global_defs {
  router_id ${side}
  enable_script_security
  script_user root
  # At twenty milliseconds a node that is busy with its start would miss three advertisements.
  vrrp_startup_delay 1
  vrrp_rt_priority 10
  vrrp_rlimit_rttime 500000
  vrrp_garp_master_delay 1
  vrrp_garp_master_repeat 2
}
${track.file}
vrrp_instance pair {
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  version 3
  priority ${side === 'a' ? 250 : 249}
  advert_int ${advert}
  virtual_ipaddress {
${lines.join('\n')}
  }
  ${track.use}
  notify_master "${script} primary"
  notify_backup "${script} backup"
  notify_fault "${script} fault"
}
`,
  );
  const files = ['keepalived.pid', 'vrrp.pid'].map((name) => lab.path(node, name));
  for (const stale of files) fs.rmSync(stale, { force: true });
  const argv = ['stdbuf', '-oL', 'keepalived', '-n', '-l', '-D', '-P'];
  return lab.start(node, 'keepalived', [...argv, '-f', file, '-p', files[0], '-r', files[1]]);
}

/** The scripts set and take away the addresses; on the way up, what the flows need comes first. */
function ucarpScript(
  network: Network,
  side: Side,
  way: 'up' | 'down',
  { before, script }: Managed,
): string {
  const change = way === 'up' ? 'replace' : 'del';
  const changes = VIRTUAL_ADDRESSES.map(
    ({ address, device }) => `ip address ${change} ${address}/32 dev ${device}`,
  );
  // Several at once: the first is announced by ucarp, the others by this.
  const announced = VIRTUAL_ADDRESSES.map(
    ({ address, device }) => `arping -q -c 2 -w 1 -U -I ${device} ${address} &`,
  );
  const commands =
    way === 'up'
      ? [before, ...changes, ...announced, `${script} primary`]
      : [...changes, `${script} backup`];
  const text = ['#!/bin/sh', 'export PATH=/usr/sbin:/usr/bin:/sbin:/bin', ...commands, 'exit 0'];
  const file = network.lab.write(`${network.node(side)}/ucarp-${way}.sh`, `${text.join('\n')}\n`);
  fs.chmodSync(file, 0o755);
  return file;
}

/** At a real-time priority, as keepalived: an advertisement that is late would be a takeover. */
function startUcarp(
  network: Network,
  side: Side,
  { advert }: ManagerName,
  managed: Managed,
): Started {
  const argv = ['chrt', '-r', '10', 'ucarp', '--shutdown', '--neutral', '--interface=eth0'];
  argv.push(`--srcip=10.1.0.${side === 'a' ? 2 : 3}`, '--vhid=51', '--pass=bench');
  argv.push(`--addr=${VIRTUAL_ADDRESSES[0].address}`, `--advbase=${advert}`);
  argv.push(`--advskew=${side === 'a' ? 0 : 1}`, '--deadratio=3');
  for (const way of ['up', 'down'] as const) {
    argv.push(`--${way}script=${ucarpScript(network, side, way, managed)}`);
  }
  return network.lab.start(network.node(side), 'ucarp', argv);
}
