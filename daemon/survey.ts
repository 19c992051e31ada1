// What a takeover would find now: what the peers hold, and what they do not and why.
import type { Datapath } from '../kernel/datapath.js';
import { RECORD_SIZE, State, type StateName } from '../kernel/record/layout.js';
import { RecordView } from '../kernel/record/record.js';
import type { SyncEngine } from '../sync/api.js';
import { Breath } from './breath.js';
import type { SurveyReport, VerifiedPeer } from './control/protocol.js';
import { socketsOn } from './sockets.js';

/** Of flows that are named one by one. */
export const NAMES_MAX = 100;
const VERIFY_MS_MAX = 15_000;

const NO_DIFFERENCE: readonly string[] = ['equal', 'unsure', 'uncached', 'version'];

const STATES = Object.fromEntries(
  Object.entries(State).map(([name, value]) => [value, name as StateName]),
);

/** What stands in this kernel, by whose it is. */
export interface Census {
  /** Spliced, and this node's own. */
  readonly own: number;
  readonly names: readonly string[];
  /** Not spliced yet, by the state of the leg that is less far. */
  readonly unfinished: Readonly<Record<string, number>>;
  /** Where connections to each virtual address are served: the port with most splices. */
  readonly ports: ReadonlyMap<string, number>;
}

/** Walks the whole table, in turns. */
export async function census({ table }: Datapath, node: number): Promise<Census> {
  const breath = new Breath();
  const unfinished: Record<string, number> = {};
  const names: string[] = [];
  const services = new Map<string, Map<number, number>>();
  let own = 0;
  for (const chunk of table.dump({ reused: true })) {
    for (let at = 0; at < chunk.length; at += RECORD_SIZE) {
      const record = new RecordView(chunk, at);
      if (record.owner !== node) continue;
      const state = Math.min(record.state(0), record.state(1));
      if (state < State.SPLICED) {
        const name = STATES[state] ?? `${state}`;
        unfinished[name] = (unfinished[name] ?? 0) + 1;
        continue;
      }
      own++;
      if (names.length < NAMES_MAX) names.push(nameOf(record, STATES[state] ?? `${state}`));
      note(services, record);
    }
    await breath.take();
  }
  return { own, names, unfinished, ports: busiest(services) };
}

/** "10.1.0.10:40001 to 10.1.0.100:80, SPLICED". */
function nameOf(record: RecordView, state: string): string {
  const { source, sourcePort, destination, destinationPort } = record.tuple(0);
  return `${ends(source, sourcePort)} to ${ends(destination, destinationPort)}, ${state}`;
}

function ends(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function note(services: Map<string, Map<number, number>>, record: RecordView): void {
  const { destination, destinationPort } = record.tuple(0);
  const ports = services.get(destination) ?? new Map<number, number>();
  services.set(destination, ports);
  ports.set(destinationPort, (ports.get(destinationPort) ?? 0) + 1);
}

function busiest(services: ReadonlyMap<string, Map<number, number>>): Map<string, number> {
  const found = new Map<string, number>();
  for (const [address, ports] of services) {
    const [most] = [...ports].sort(([, a], [, b]) => b - a);
    if (most) found.set(address, most[0]);
  }
  return found;
}

export interface SurveyParts {
  readonly datapath: Datapath;
  readonly sync: SyncEngine;
  readonly node: number;
  readonly here: readonly string[];
  /** DisableExternalCache: a peer's kernel holds the splices already. */
  readonly hotStandby: boolean;
}

export async function survey(parts: SurveyParts): Promise<SurveyReport & { census: Census }> {
  const { datapath, sync, node, here, hotStandby } = parts;
  const found = await census(datapath, node);
  const peers = sync.peers().map((peer) => ({
    name: peer.name,
    alive: peer.alive,
    holds_all: peer.alive && peer.holdsAll,
    unacknowledged: peer.unacknowledged,
    lag_ms: Math.round(peer.lagMs),
  }));
  const verified = peers.some(({ alive }) => alive) ? await askToVerify(sync) : [];
  const report = {
    addresses: here,
    splices: found.own,
    hot_standby: hotStandby,
    peers,
    verified,
    not_spliced: found.unfinished,
    sockets: await socketsOn(here),
  };
  return { ...report, problems: problems(report), census: found };
}

function askToVerify(sync: SyncEngine): Promise<VerifiedPeer[]> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve([]), VERIFY_MS_MAX);
    sync.verify(false, (peers) => {
      clearTimeout(timer);
      resolve(peers);
    });
  });
}

/** What keeps a takeover from being one without loss. */
function problems({ peers, verified, addresses }: Omit<SurveyReport, 'problems'>): string[] {
  const found: string[] = [];
  if (addresses.length === 0) found.push('this node has none of the virtual addresses');
  const live = peers.filter(({ alive }) => alive);
  if (live.length === 0) found.push('no peer is alive: nobody could take over');
  for (const { name, holds_all } of live) {
    if (!holds_all) found.push(`${name} is not in sync: it does not have all that this node owns`);
  }
  for (const { name } of live) {
    const outcome = verified.find((one) => one.name === name)?.outcome;
    // what only could not be told, since it was changing, is no difference
    if (outcome !== undefined && NO_DIFFERENCE.includes(outcome)) continue;
    found.push(
      outcome === 'differs' || outcome === 'full'
        ? `${name} holds something else than this node owns: splicectl verify --repair`
        : `what ${name} holds could not be verified: splicectl verify`,
    );
  }
  return found;
}
