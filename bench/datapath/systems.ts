// SPDX-License-Identifier: MIT
/** The ways from the client to the server that are compared. */
import { fileURLToPath } from 'node:url';
import type { Lab } from '../../test/lab/lab.js';
import { address, Bed, type Family } from './bed.js';

export const IPERF_PORT = 5201;
export const HTTP_PORT = 80;
const STATUS_PORT = 81;
/** HAProxy's ports, beside ours on the same address. */
const HAPROXY_SHIFT = 1000;

export type SystemName = 'direct' | 'forwarding' | 'haproxy' | 'ours';
export const SYSTEMS: SystemName[] = ['direct', 'forwarding', 'haproxy', 'ours'];

/** Where the client connects to, for the server's `port`. */
export function target(system: SystemName, family: Family, port: number) {
  switch (system) {
    case 'direct':
      return { address: address(family, 3, 2), port, device: 'eth1' };
    case 'forwarding':
      return { address: address(family, 2, 2), port, device: 'eth0' };
    case 'haproxy':
      return { address: address(family, 1, 1), port: port + HAPROXY_SHIFT, device: 'eth0' };
    case 'ours':
      return { address: address(family, 1, 1), port, device: 'eth0' };
  }
}

const PORTS = [IPERF_PORT, HTTP_PORT];
const FAMILIES: Family[] = [4, 6];

function haproxyConfig(): string {
  const services = FAMILIES.flatMap((family) =>
    PORTS.map((port) => {
      const here = target('haproxy', family, port);
      const there = target('forwarding', family, port);
      return `listen ${port}-ipv${family}
  bind ipv${family}@${here.address}:${here.port}
  server server ipv${family}@${there.address}:${there.port}
`;
    }),
  );
  return `global
  maxconn 4000
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 60s
  timeout server 60s
${services.join('')}`;
}

function switchdConfig(): string {
  return `virtual_server ${address(4, 1, 1)} ${HTTP_PORT} {
  listen_backlog 4096
  source ${address(4, 2, 1)}
  ports 20000 59999
  real_server ${address(4, 2, 2)} ${HTTP_PORT}
}
`;
}

function nginxConfig(state: string): string {
  return `daemon off;
user root;
worker_processes 1;
pid ${state}/pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_body_temp_path ${state}/body;
  proxy_temp_path ${state}/proxy;
  fastcgi_temp_path ${state}/fastcgi;
  uwsgi_temp_path ${state}/uwsgi;
  scgi_temp_path ${state}/scgi;
  server {
    listen ${HTTP_PORT} backlog=4096;
    location / { return 200 "a small object, as health checks and counters are\\n"; }
  }
  server {
    listen ${STATUS_PORT};
    location / { stub_status; }
  }
}
`;
}

/** HAProxy, switchd and nginx, started on the bed; and the one switch between the systems. */
export class Systems {
  static readonly #of = new WeakMap<Lab, Promise<Systems>>();
  #served = false;

  static of(lab: Lab): Promise<Systems> {
    const systems = Systems.#of.get(lab) ?? Systems.#open(lab);
    Systems.#of.set(lab, systems);
    return systems;
  }

  static async #open(lab: Lab): Promise<Systems> {
    const bed = await Bed.of(lab);
    const systems = new Systems(bed);
    const config = lab.write('balancer/haproxy.conf', haproxyConfig());
    lab.start('balancer', 'haproxy', ['haproxy', '-db', '-f', config]);
    const state = lab.path('server', 'state');
    lab.write('server/state/.made', '');
    const nginx = lab.write('server/nginx.conf', nginxConfig(state));
    lab.start('server', 'nginx', ['nginx', '-c', nginx, '-e', 'stderr']);
    const main = fileURLToPath(new URL('../../dist/proxy/main.js', import.meta.url));
    const switchd = lab.write('balancer/switchd.conf', switchdConfig());
    lab.start('balancer', 'switchd', [process.execPath, main, '-f', switchd]);
    for (const family of FAMILIES) {
      const [here, there] = [
        target('ours', family, IPERF_PORT),
        target('forwarding', family, IPERF_PORT),
      ];
      await bed.balancer.call('proxy', here, there, address(family, 2, 1));
    }
    for (const [node, port] of [
      ['balancer', HTTP_PORT],
      ['balancer', HTTP_PORT + HAPROXY_SHIFT],
      ['server', HTTP_PORT],
    ] as const) {
      await lab.until(`port ${port} on ${node}`, 10, () => listens(lab, node, port));
    }
    return systems;
  }

  private constructor(readonly bed: Bed) {}

  /** Gets everything out of the way that is not this system's. */
  async choose(system: SystemName): Promise<void> {
    const served = system === 'ours';
    if (served === this.#served) return;
    await this.bed.balancer.call(served ? 'serve' : 'unserve');
    this.#served = served;
  }

  /** Requests that the server has answered. */
  requests(): Promise<number> {
    return this.bed.balancer.call('requests', `http://${address(4, 2, 2)}:${STATUS_PORT}/`);
  }
}

export function listens(lab: Lab, node: string, port: number): boolean {
  return lab.exec(node, 'ss', '-Hltn', `sport = :${port}`).trim() !== '';
}
