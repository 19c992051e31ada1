// What the control socket can ask for.
import type { Datapath } from '../kernel/datapath.js';
import { COUNTED_SIZE } from '../kernel/record/counted.js';
import type { SyncEngine } from '../sync/api.js';
import { Breath, sumSteps } from './breath.js';
import type { Claims } from './claims.js';
import type { CacheName, Role, StatusResult } from './control/protocol.js';
import type { Handlers } from './control/server.js';
import { DaemonError } from './error.js';
import type { Follower } from './follower.js';
import type { Handover } from './handover.js';
import type { Ownership } from './ownership.js';
import { externalSize, recordCount } from './records.js';
import type { Rehearsal } from './rehearsal.js';
import type { Report } from './report.js';

export interface VerbParts {
  readonly datapath: Datapath;
  readonly sync: SyncEngine;
  readonly follower: Follower;
  readonly ownership: Ownership;
  readonly handover: Handover;
  readonly rehearsal: Rehearsal;
  readonly report: Report;
  /** With hot standby. */
  readonly claims: Claims | undefined;
  readonly purgeTimeoutMs: () => number;
  /** Not with DisableInternalCache. */
  readonly hasInternalCache: boolean;
  readonly stop: () => void;
}

/** `get` throws while the daemon is still starting; `remember` keeps what it will want to know then. */
export function handlers(get: () => VerbParts, remember: (role: Role) => void): Handlers {
  return {
    commit: async ({ node, here }) => {
      const { ownership } = get();
      if (here === 'yes') ownership.believe('primary');
      const result = await ownership.commit('command', node);
      if (result.yielded_to === null) return result;
      throw new DaemonError(
        'YIELDED',
        `${result.yielded_to} has taken over at the same time, by a stronger claim: this node has yielded to it`,
      );
    },
    flush: async ({ cache }) => {
      const { sync } = get();
      const before = { internal: sync.internal.size, external: externalSize(sync) };
      sync.flush(cache ?? 'both');
      return {
        internal: before.internal - sync.internal.size,
        external: before.external - externalSize(sync),
      };
    },
    'flush-kernel': async () => ({
      removed: await sumSteps(get().datapath.table.flushing({ events: true })),
    }),
    dump: async ({ what }, reply) => {
      const breath = new Breath();
      let records = 0;
      if (what === 'kernel') {
        for (const chunk of get().datapath.table.dumpCounted()) {
          await reply.counted(chunk);
          records += chunk.length / COUNTED_SIZE;
          await breath.take();
        }
        return { records };
      }
      if (what === 'internal' && !get().hasInternalCache) {
        throw new DaemonError(
          'DISABLED',
          'DisableInternalCache is Yes: what this node owns is in the kernel only; use splicectl dump kernel',
        );
      }
      for (const chunk of chunks(get().sync, what)) {
        await reply.records(chunk);
        records += recordCount(chunk);
        await breath.take();
      }
      return { records };
    },
    stats: async ({ what }) => ({ sections: get().report.stats(what) }),
    resync: async () => {
      // a script has it right after the commit: the table is read once, when it is this node's
      await get().claims?.settled();
      const { records } = await get().follower.resync('splicectl resync');
      return { records: get().hasInternalCache ? records : null };
    },
    request: async () => {
      const { sync } = get();
      sync.request();
      return { peers: alivePeers(sync) };
    },
    bulk: async () => {
      const { sync } = get();
      sync.bulk();
      return { records: get().hasInternalCache ? sync.internal.size : null };
    },
    verify: ({ repair }) =>
      new Promise((resolve) => {
        get().sync.verify(repair === 'yes', (peers) => resolve({ peers }));
      }),
    shorten: async () => {
      const { datapath, purgeTimeoutMs } = get();
      return { shortened: await sumSteps(datapath.table.shortening(purgeTimeoutMs())) };
    },
    role: async ({ role }) => {
      remember(role);
      await get().ownership.told(role);
      return {};
    },
    handover: async (_args, reply) => {
      // The client may leave: what has begun is brought to its end all the same.
      return get().handover.run((progress) => reply.json({ progress }).catch(() => {}));
    },
    rehearse: async ({ moves }, reply) =>
      get().rehearsal.run(moves === 'yes', (progress) => reply.json({ progress }).catch(() => {})),
    status: async (): Promise<StatusResult> => get().report.status(),
    stop: async () => {
      // After the reply has left.
      setImmediate(get().stop);
      return {};
    },
  };
}

function* chunks(sync: SyncEngine, what: CacheName): Generator<Uint8Array> {
  if (what === 'internal') yield* sync.internal.chunks(true);
  else for (const cache of sync.external.values()) yield* cache.chunks(true);
}

function alivePeers(sync: SyncEngine): number {
  return sync.peers().filter((peer) => peer.alive).length;
}
