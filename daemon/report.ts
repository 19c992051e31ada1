// What the daemon says of itself: status and statistics.
import type { Datapath } from '../kernel/datapath.js';
import type { PathInfo, PeerInfo, SyncEngine } from '../sync/api.js';
import type { Announcer } from './announcer.js';
import { Breath } from './breath.js';
import type { Claims } from './claims.js';
import type { Settings } from './config.js';
import {
  type FenceWay,
  type PathStatus,
  type PeerStatus,
  STATS,
  type StatsName,
  type StatsSection,
  type StatusResult,
} from './control/protocol.js';
import type { ControlServer } from './control/server.js';
import type { Deferral } from './deferral.js';
import type { Fence } from './fence.js';
import type { Follower } from './follower.js';
import type { Guard } from './guard.js';
import type { Handover } from './handover.js';
import type { InterfaceWatch } from './interfaces.js';
import type { LogCounters } from './log.js';
import type { Nudge } from './nudge.js';
import type { Ownership } from './ownership.js';
import type { Prober } from './prober.js';
import { externalSize } from './records.js';
import type { Standby } from './standby.js';
import type { Takeover } from './takeover.js';
import type { TrackFile } from './track.js';

export interface ReportParts {
  readonly settings: () => Settings;
  readonly node: number;
  readonly datapath: Datapath;
  readonly sync: SyncEngine;
  readonly follower: Follower;
  readonly ownership: Ownership;
  readonly guard: Guard;
  readonly takeover: Takeover;
  readonly fence: Fence;
  readonly handover: Handover;
  readonly interfaces: InterfaceWatch;
  readonly prober: Prober;
  readonly nudge: Nudge;
  readonly standby: Standby;
  readonly claims: Claims | undefined;
  readonly deferral: Deferral;
  readonly announcer: Announcer;
  readonly track: TrackFile;
  readonly log: LogCounters;
  readonly control: () => ControlServer;
}

type Values = Record<string, number | string>;

export class Report {
  private readonly began = performance.now();

  constructor(private readonly parts: ReportParts) {}

  async status(): Promise<StatusResult> {
    const { settings, node, datapath, sync, follower, ownership, takeover, guard, handover } =
      this.parts;
    const { nodeName, hashLimit, failover } = settings();
    const { live, held } = await this.census();
    return {
      node: nodeName,
      id: node,
      role: ownership.role,
      role_for_ms: ownership.roleForMs,
      takeover: takeover.last,
      yielded_to: takeover.yieldedTo,
      mode: sync.mode,
      epoch: sync.epoch,
      in_sync: sync.inSync,
      uptime_ms: this.uptime,
      draining: handover.draining,
      guard: {
        ...guard.status,
        held: datapath.counter('guard_held'),
        addresses: failover.virtualAddresses,
      },
      interfaces: this.parts.interfaces.status,
      claims: this.parts.claims?.status ?? null,
      table: { live, held, size: datapath.table.size },
      internal: {
        entries: sync.internal.size,
        limit: settings().sync.disableInternalCache ? 0 : sync.internal.limit,
      },
      external: { entries: externalSize(sync), limit: hashLimit },
      link: { seal_key: sync.stats().link.seal_key ?? null, paths: sync.paths().map(pathStatus) },
      events_lost: follower.counters.events_lost,
      peers: sync.peers().map(peerStatus),
      warnings: this.warnings(live),
    };
  }

  stats(what?: StatsName): StatsSection[] {
    return STATS.filter((name) => what === undefined || name === what).map((name) => ({
      name,
      values: this.section(name),
    }));
  }

  private async census(): Promise<{ live: number; held: number }> {
    const breath = new Breath();
    const all = { live: 0, held: 0 };
    for (const { live, held } of this.parts.datapath.table.counting()) {
      all.live += live;
      all.held += held;
      await breath.take();
    }
    return all;
  }

  private get uptime(): number {
    return Math.round(performance.now() - this.began);
  }

  private section(name: StatsName): Values {
    const { datapath, sync } = this.parts;
    const stats = sync.stats();
    switch (name) {
      case 'network':
        return { ...stats.network };
      case 'link':
        return { ...stats.link, ...this.paths() };
      case 'queue':
        return { ...stats.queue };
      case 'kernel':
        return { ...datapath.counters() };
      case 'cache':
        return {
          ...prefixed('internal', { ...stats.cache.internal }),
          ...Object.entries(stats.cache.external).reduce<Values>(
            (all, [id, cache]) => Object.assign(all, prefixed(`external ${id}`, { ...cache })),
            {},
          ),
          ...prefixed('tombstones', stats.cache.tombstones),
        };
      case 'runtime':
        return this.runtime(stats.ownership);
    }
  }

  private paths(): Values {
    const states = this.parts.sync.paths().map((path) => {
      const { fault, unheard_by } = pathStatus(path);
      const good = path.inUse ? 'in use' : 'good';
      const deaf = unheard_by.length > 0 ? `not heard by ${unheard_by.join(', ')}` : good;
      return [`${path.name} state`, fault ?? deaf];
    });
    return Object.fromEntries(states);
  }

  private runtime(claims: Readonly<Record<string, number>>): Values {
    const { follower, takeover, ownership, interfaces, prober, nudge, standby } = this.parts;
    const { deferral, announcer, fence, handover, track, log, control } = this.parts;
    const memory = process.memoryUsage();
    return {
      uptime_ms: this.uptime,
      rss_bytes: memory.rss,
      heap_bytes: memory.heapUsed,
      slab_bytes: memory.arrayBuffers,
      ...follower.counters,
      ...takeover.counters,
      ...handover.counters,
      ...fence.counters,
      ...ownership.counters,
      ...interfaces.counters,
      ...prober.counters,
      ...nudge.counters,
      ...standby.counters,
      ...this.parts.claims?.counters,
      ...deferral.counters,
      ...announcer.counters,
      ...track.counters,
      ...log,
      ...claims,
      ...prefixed('control', control().counters),
    };
  }

  private warnings(live: number): string[] {
    const { sync, datapath, follower, ownership, interfaces } = this.parts;
    const warnings: string[] = [];
    for (const { name, why } of interfaces.status.unserved) {
      warnings.push(`${name} is not served: ${why}; its packets are not translated until it is`);
    }
    for (const path of sync.paths()) {
      const { name, fault, unheard_by } = pathStatus(path);
      if (fault !== null) warnings.push(`nothing goes by ${name}: ${fault}`);
      else if (unheard_by.length > 0) {
        warnings.push(
          `what goes by ${name} does not reach ${unheard_by.join(', ')}: look at its network`,
        );
      }
    }
    const peers = sync.peers();
    if (!peers.some((peer) => peer.alive)) {
      warnings.push(
        'no peer is alive: nobody could take these flows over (is spliced running there, and does the link to it work?)',
      );
    }
    for (const { name, mode } of peers.filter((peer) => peer.mode !== sync.mode)) {
      warnings.push(
        `${name} is in mode ${mode} and this node in ${sync.mode}: neither waits for the other; give both the same Mode`,
      );
    }
    if (!sync.inSync) {
      warnings.push('not in sync yet: this node should not become active (splicectl request)');
    }
    if (live * 10 > datapath.table.size * 9) {
      warnings.push('the kernel table is over 90 % full: raise TableSize and send SIGHUP');
    }
    if (sync.internal.size >= sync.internal.limit) {
      warnings.push('the internal cache is full: raise HashLimit and restart');
    }
    if (follower.counters.events_lost > 0) {
      warnings.push(
        `${follower.counters.events_lost} kernel events were lost and made up for by a resync: the machine is short of processor time`,
      );
    }
    warnings.push(...this.fenceWarnings());
    if (ownership.role === 'fault') warnings.push('VRRP says that this node is in fault');
    return warnings;
  }

  /** Who may answer for the virtual addresses besides the one that should. */
  private fenceWarnings(): string[] {
    const { takeover, sync } = this.parts;
    const to = takeover.yieldedTo;
    if (to !== null) {
      return [
        `${to} has taken over, and this node does not answer for the virtual addresses, although it has one: keepalived or ucarp should have taken it away`,
      ];
    }
    const standing = sync.fence().stands;
    const loose = (takeover.last?.fence ?? []).filter(({ way }) => !FENCED.includes(way));
    return loose
      .filter(({ peer }) => standing && !sync.peers().some((one) => isQuiet(one, peer)))
      .map(
        ({ peer, way }) =>
          `${peer} was alive at the last takeover and has not yielded (${UNFENCED[way] ?? way}): it may answer for the virtual addresses too`,
      );
  }
}

const FENCED: readonly FenceWay[] = ['yielded', 'command'];
const UNFENCED: Readonly<Partial<Record<FenceWay, string>>> = {
  silent: 'no FenceCommand is set',
  failed: 'FenceCommand has failed',
  timeout: 'FenceCommand has not ended in time',
  unable: 'its version cannot be asked',
};

/** It is the peer of that name, and says that it does not stand for the addresses. */
function isQuiet({ name, alive, place }: PeerInfo, peer: string): boolean {
  return name === peer && alive && place?.stands === false;
}

function pathStatus({ name, inUse, fault, unheardBy }: PathInfo): PathStatus {
  return { name, in_use: inUse, fault: fault ?? null, unheard_by: unheardBy };
}

function peerStatus(peer: PeerInfo): PeerStatus {
  return {
    name: peer.name,
    id: peer.node,
    mode: peer.mode,
    wire_version: peer.version,
    in_sync: peer.alive && peer.inSync && peer.holdsAll,
    state: peerState(peer),
    unacknowledged: peer.unacknowledged,
    lag_ms: Math.round(peer.lagMs),
    last_heard_ms: Math.round(peer.lastHeardMs),
    entries: peer.records,
  };
}

function peerState(peer: PeerInfo): string {
  if (!peer.alive) return 'silent';
  if (!peer.inSync) return 'bulk awaited';
  if (!peer.holdsAll) return 'bulk under way';
  return peer.unacknowledged > 0 ? 'catching up' : 'in sync';
}

function prefixed(prefix: string, values: Readonly<Record<string, number>>): Values {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [`${prefix} ${name}`, value]),
  );
}
