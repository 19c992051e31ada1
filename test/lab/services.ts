import {
  addressOf,
  bracketed,
  type Family,
  VIRTUAL_HOSTS,
  type VirtualHost,
  virtualAddress,
  WEB_SERVERS,
} from './topology.js';

/** What clients can connect to: named by the family of their connections and of those to the servers. */
export type ServiceName = '4-4' | '6-6' | '6-4';

export interface Service {
  readonly name: ServiceName;
  readonly clients: Family;
  readonly servers: Family;
  readonly port: number;
}

const SERVICES: Record<ServiceName, Service> = {
  '4-4': { name: '4-4', clients: '4', servers: '4', port: 80 },
  '6-6': { name: '6-6', clients: '6', servers: '6', port: 80 },
  '6-4': { name: '6-4', clients: '6', servers: '4', port: 81 },
};

/** Which services a run uses. */
export type FamilyChoice = '4' | '6' | 'both';
export const USED: Record<FamilyChoice, readonly Service[]> = {
  4: [SERVICES['4-4']],
  6: [SERVICES['6-6']],
  both: [SERVICES['4-4'], SERVICES['6-6'], SERVICES['6-4']],
};

/** All of them, at each of the virtual addresses. */
export const EVERYWHERE: readonly { host: VirtualHost; service: Service }[] = VIRTUAL_HOSTS.flatMap(
  (host) => USED.both.map((service) => ({ host, service })),
);

/** Where clients reach a service: an address and a port, as a URL or ss has them. */
export function placeOf({ clients, port }: Service, host?: VirtualHost): string {
  return `${bracketed(virtualAddress('clients', clients, host))}:${port}`;
}

export function isFamilyChoice(text: string): text is FamilyChoice {
  return Object.hasOwn(USED, text);
}

export function urlOf(service: Service): string {
  return `http://${placeOf(service)}`;
}

/** All services as switchd's configuration has them. */
export function virtualServers(ports: string): string {
  return EVERYWHERE.map(
    ({
      host,
      service: { clients, servers, port },
    }) => `virtual_server ${virtualAddress('clients', clients, host)} ${port} {
  schedule_lc
  listen_backlog 1024
  source ${virtualAddress('servers', servers, host)}
  ports ${ports}
${WEB_SERVERS.map((web) => `  real_server ${addressOf(web, 'servers', servers)} 80`).join('\n')}
}
`,
  ).join('');
}
