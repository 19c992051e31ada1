// SPDX-License-Identifier: MIT
/** A long way between a router and its end: delay.c, compiled when it is needed. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Network, Side } from './network.js';

const SOURCE = fileURLToPath(new URL('./delay.c', import.meta.url));
const DEVICE = 'slow';
/** Routing tables: what came in by a link goes into the device; what comes out of it goes on as usual. */
const TABLE = 100;

/** Whatever passes the router of a side takes so many milliseconds longer, each way, while this process lives. */
export async function delay(network: Network, side: Side, ms: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'delay-'));
  const program = join(directory, 'delay');
  const router = network.router[side];
  try {
    execFileSync('clang', ['-O2', '-o', program, SOURCE]);
    const child = spawn('nsenter', [`--net=${router.path}`, program, DEVICE, `${ms}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    process.once('exit', () => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    child.stdout.destroy();
    child.unref();
  } finally {
    rmSync(directory, { recursive: true });
  }
  router.ip(`link set ${DEVICE} mtu 1500 up`);
  for (const name of ['all', DEVICE]) router.sysctl(`ipv4/conf/${name}/rp_filter`, 0);
  for (const family of ['-4', '-6']) {
    router.exec('ip', family, 'route', 'add', 'default', 'dev', DEVICE, 'table', `${TABLE}`);
    for (const link of ['near', 'far']) {
      router.exec('ip', family, 'rule', 'add', 'iif', link, 'lookup', `${TABLE}`);
    }
  }
}
