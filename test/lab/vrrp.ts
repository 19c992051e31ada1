import * as fs from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Lab, Started } from './lab.js';
import { BALANCERS, type BalancerName, type Family, VIRTUAL_ADDRESSES } from './topology.js';

const NOTIFY = fileURLToPath(new URL('../../scripts/primary-backup.sh', import.meta.url));

/** spliced writes here what is to be added to the node's priority. */
export function trackFile(lab: Lab, node: BalancerName): string {
  return lab.path(node, 'in-sync');
}

function addressLines(family: Family): string {
  return VIRTUAL_ADDRESSES.filter((a) => a.family === family)
    .map((a) => `    ${a.cidr} dev ${a.device}`)
    .join('\n');
}

/**
 * All addresses stand in one instance, so that they move together: one election, and one run of the
 * script. An advertisement has room for one family, so the IPv6 ones are excluded from it; they
 * are set and announced like the others. keepalived adds those without duplicate address detection,
 * and with the prefix of a host as deprecated, so that nothing chooses them as source.
 *
 * The number in the track file is added to the priority (weight 1), and below -253 it means FAULT:
 * keepalived then sends priority 0 at once and lets go. The priorities are high because VRRP's skew time, by which the lower of two
 * waits longer, is (256 - priority) / 256 of the interval (RFC 5798 section 6.1). With real-time
 * priority no advertisement is late on a busy machine, where 0.3 s without one mean a takeover.
 */
function config(lab: Lab, node: BalancerName, notify: string): string {
  return `global_defs {
  router_id ${node}
  enable_script_security
  script_user root
  vrrp_rt_priority 10
  vrrp_rlimit_rttime 500000
  vrrp_garp_master_delay 1
  vrrp_garp_master_repeat 2
}
track_file in_sync {
  file ${trackFile(lab, node)}
  weight 1
}
vrrp_instance pair {
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  version 3
  priority ${node === BALANCERS[0] ? 250 : 240}
  advert_int 0.1
  virtual_ipaddress {
${addressLines('4')}
  }
  virtual_ipaddress_excluded {
${addressLines('6')}
  }
  track_file {
    in_sync
  }
  notify_master "${notify} primary"
  notify_backup "${notify} backup"
  notify_fault "${notify} fault"
  notify_stop "${notify} fault"
}
`;
}

/** Starts keepalived with configuration, pid files and log of its own. */
export function startKeepalived(lab: Lab, node: BalancerName, splicedConfig: string): Started {
  // keepalived gives its scripts a bare environment: what the script needs stands in a wrapper.
  const splicectl = fileURLToPath(new URL('../../dist/bin/splicectl.js', import.meta.url));
  const wrapper = lab.write(
    join(node, 'notify.sh'),
    `#!/bin/sh
SPLICED_LOCK='${lab.path(node, 'notify.lock')}' SPLICECTL='${process.execPath} ${splicectl} -C ${splicedConfig}' exec ${NOTIFY} "$@" >>${lab.path('log', `${node}-notify.log`)} 2>&1
`,
  );
  fs.chmodSync(wrapper, 0o755);
  const file = lab.write(join(node, 'keepalived.conf'), config(lab, node, wrapper));
  const files = ['keepalived.pid', 'vrrp.pid'].map((name) => lab.path(node, name));
  for (const stale of files) fs.rmSync(stale, { force: true }); // one that was killed left them
  // Line by line, or the last that it logged goes with it when it is killed.
  const program = ['stdbuf', '-oL', 'keepalived', '-n', '-l', '-D', '-P'];
  return lab.start(node, 'keepalived', [...program, '-f', file, '-p', files[0], '-r', files[1]]);
}
