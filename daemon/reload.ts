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
  Multicast: (s) => s.multicast,
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
  VirtualAddress: (s) => s.failover.virtualAddresses,
  GuardTimeout: (s) => s.failover.guardTimeoutMs,
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
      sync: { ...before.sync, purgeTimeoutMs: after.sync.purgeTimeoutMs },
      kernel: { ...after.kernel, pinPath: before.kernel.pinPath, cgroup: before.kernel.cgroup },
      failover: { ...after.failover, trackFile: before.failover.trackFile },
    },
  };
}
