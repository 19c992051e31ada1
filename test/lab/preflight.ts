import * as fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { kernelLacks } from '../../kernel/requirements.js';
import { findCgroupRoot } from '../support/cgroup.js';

const PROGRAMS: Record<string, string> = {
  ip: 'iproute2',
  ss: 'iproute2',
  nsenter: 'util-linux',
  nft: 'nftables',
  keepalived: 'keepalived',
  ucarp: 'ucarp',
  nginx: 'nginx-light',
  curl: 'curl',
};
const BUILT = ['kernel/splice.bpf.o', 'daemon/main.js', 'proxy/main.js', 'bin/splicectl.js'];

function onPath(program: string): boolean {
  const places = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`.split(':');
  return places.some((place) => place !== '' && fs.existsSync(`${place}/${program}`));
}

/** One sentence that says what the lab lacks on this machine, or undefined when it can run. */
export function whatIsMissing(): string | undefined {
  if (process.getuid?.() !== 0) {
    return 'The lab makes network namespaces and loads eBPF programs: run it as root.';
  }
  const lacking = kernelLacks();
  if (lacking) return `The lab cannot run here: ${lacking}.`;
  if (!findCgroupRoot()) return 'No cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup.';
  for (const [program, debianPackage] of Object.entries(PROGRAMS)) {
    if (!onPath(program)) {
      return `The program ${program} is not installed: it is in the package ${debianPackage}.`;
    }
  }
  for (const file of BUILT) {
    if (!fs.existsSync(fileURLToPath(new URL(`../../dist/${file}`, import.meta.url)))) {
      return `dist/${file} is not built: npm run build.`;
    }
  }
  return undefined;
}
