// SIGHUP: what has changed in the file, and what of it can change while the daemon runs.
import type { Settings } from './config.js';

/** Directive → where its value lies in the settings. */
const NEEDS_RESTART: Readonly<Record<string, (s: Settings) => unknown>> = {
  NodeName: (s) => s.nodeName,
  HashLimit: (s) => s.hashLimit,
  'UNIX Path': (s) => s.socketPath,
  LogFile: (s) => s.logFile,
  Nice: (s) => s.nice,
  Mode: (s) => s.sync.mode,
  ResendQueueSize: (s) => s.sync.resendQueueSize,
  ACKWindowSize: (s) => s.sync.ackWindowSize,
  StartupResync: (s) => s.sync.startupResync,
  DisableInternalCache: (s) => s.sync.disableInternalCache,
  DisableExternalCache: (s) => s.sync.disableExternalCache,
  Defer: (s) => s.sync.defer,
  DeferTimeout: (s) => s.sync.deferTimeoutMs,
  VerifyInterval: (s) => s.sync.verifyIntervalMs,
  RefreshTime: (s) => s.sync.refreshMs,
  CacheTimeout: (s) => s.sync.cacheTimeoutMs,
  'Multicast, UDP, TCP': (s) => s.links,
  Authentication: (s) => s.keyFile,
  PinPath: (s) => s.kernel.pinPath,
  Cgroup: (s) => s.kernel.cgroup,
  TrackFile: (s) => s.failover.trackFile,
};

const AT_RUN_TIME: Readonly<Record<string, (s: Settings) => unknown>> = {
  'Kernel Interface': (s) => s.kernel.interfaces,
  TableSize: (s) => s.kernel.tableSize,
  Timeouts: (s) => s.kernel.timeouts,
  DebugLevel: (s) => s.kernel.debugLevel,
  PurgeTimeout: (s) => s.sync.purgeTimeoutMs,
  CommitTimeout: (s) => s.sync.commitTimeoutMs,
  VirtualAddress: (s) => s.failover.virtualAddresses,
  HandoverCommand: (s) => s.failover.handoverCommand,
  HandoverCommandTimeout: (s) => s.failover.handoverCommandTimeoutMs,
  GuardTimeout: (s) => s.failover.guardTimeoutMs,
  Nudge: (s) => s.failover.nudge,
  FenceTimeout: (s) => s.failover.fenceTimeoutMs,
  FenceCommand: (s) => s.failover.fenceCommand,
  FenceCommandTimeout: (s) => s.failover.fenceCommandTimeoutMs,
};

export interface Changes {
  readonly applied: readonly string[];
  readonly needsRestart: readonly string[];
  /** The settings in force from now on: the old ones with what changes at run time. */
  readonly settings: Settings;
}

export function changes(before: Settings, after: Settings): Changes {
  const differing = (table: typeof AT_RUN_TIME): string[] =>
    Object.entries(table)
      .filter(([, value]) => JSON.stringify(value(before)) !== JSON.stringify(value(after)))
      .map(([name]) => name);
  return {
    applied: differing(AT_RUN_TIME),
    needsRestart: differing(NEEDS_RESTART),
    settings: {
      ...before,
      sync: {
        ...before.sync,
        purgeTimeoutMs: after.sync.purgeTimeoutMs,
        commitTimeoutMs: after.sync.commitTimeoutMs,
      },
      kernel: { ...after.kernel, pinPath: before.kernel.pinPath, cgroup: before.kernel.cgroup },
      failover: { ...after.failover, trackFile: before.failover.trackFile },
    },
  };
}
