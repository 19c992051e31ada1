// The mode of synchronisation and its options, as the file has them.
import { type Problems, type Schema, type Section, types } from '../config/index.js';

export type ModeName = 'FTFW' | 'NOTRACK' | 'ALARM';

export interface SyncSettings {
  readonly mode: ModeName;
  readonly resendQueueSize: number; // records
  readonly ackWindowSize: number; // records
  readonly purgeTimeoutMs: number;
  readonly commitTimeoutMs: number; // 0: an entry keeps its remaining time
  readonly startupResync: boolean;
  readonly disableInternalCache: boolean;
  readonly disableExternalCache: boolean;
  readonly defer: boolean;
  readonly deferTimeoutMs: number;
  readonly verifyIntervalMs: number; // 0: never
  readonly refreshMs: number;
  readonly cacheTimeoutMs: number;
}

/** The options that not all modes have: those that do, and why the others do not. */
const ONLY: Readonly<Record<string, readonly [modes: readonly ModeName[], why: string]>> = {
  ResendQueueSize: [['FTFW'], 'only FTFW keeps what it has sent'],
  ACKWindowSize: [['FTFW'], 'only FTFW acknowledges what has come'],
  Defer: [['FTFW'], 'only FTFW knows that a record has come'],
  DeferTimeout: [['FTFW'], 'it belongs to Defer, which only FTFW has'],
  DisableInternalCache: [
    ['NOTRACK'],
    'what may have to be said again has to be kept; only NOTRACK says nothing again',
  ],
  DisableExternalCache: [
    ['FTFW', 'NOTRACK'],
    'entries that are not refreshed leave the external cache, and would have to leave the kernel',
  ],
  VerifyInterval: [['FTFW', 'NOTRACK'], 'ALARM says everything again in any case'],
  RefreshTime: [['ALARM'], 'only ALARM says everything again'],
  CacheTimeout: [['ALARM'], 'only ALARM lets entries of its peers expire'],
};

const OPTIONS: Schema = {
  ResendQueueSize: { args: [types.integer(1024, 1 << 24)] },
  ACKWindowSize: { args: [types.integer(1, 65535)] },
  PurgeTimeout: { args: [types.duration(1, 86400)] },
  CommitTimeout: { args: [types.duration(1, 30 * 86400)] },
  StartupResync: { args: [types.flag] },
  DisableInternalCache: { args: [types.flag] },
  DisableExternalCache: { args: [types.flag] },
  Defer: { args: [types.flag] },
  DeferTimeout: { args: [types.duration(0.001, 10)] },
  VerifyInterval: { args: [types.duration(0, 86400)] },
  RefreshTime: { args: [types.duration(1, 3600)] },
  CacheTimeout: { args: [types.duration(2, 86400)] },
};

/** The directive of Sync. NACK is FTFW's old name. */
export const MODE = {
  args: [types.choice('FTFW', 'NACK', 'NOTRACK', 'ALARM')],
  block: OPTIONS,
  blockOptional: true,
};

export function syncSettings(sync: Section, problems: Problems): SyncSettings {
  const given = sync.value<ModeName | 'NACK'>('Mode', 'FTFW');
  const mode = given === 'NACK' ? 'FTFW' : given;
  const options = sync.section('Mode');
  for (const [name, [modes, why]] of Object.entries(ONLY)) {
    const entry = options.one(name);
    if (entry && !modes.includes(mode)) {
      problems.add(entry.at, `${name} is no option of Mode ${given}: ${why}`);
    }
  }
  const ms = (name: string, otherwise: number): number => 1000 * options.value(name, otherwise);
  const uncached = options.value('DisableInternalCache', false);
  const verify = options.one('VerifyInterval');
  if (uncached && verify && verify.values[0] !== 0) {
    problems.add(
      verify.at,
      'VerifyInterval: with DisableInternalCache there is nothing to compare',
    );
  }
  const settings: SyncSettings = {
    mode,
    resendQueueSize: options.value('ResendQueueSize', 131072),
    ackWindowSize: options.value('ACKWindowSize', 300),
    purgeTimeoutMs: ms('PurgeTimeout', 60),
    commitTimeoutMs: ms('CommitTimeout', 0),
    startupResync: options.value('StartupResync', true),
    disableInternalCache: uncached,
    disableExternalCache: options.value('DisableExternalCache', false),
    defer: options.value('Defer', false),
    deferTimeoutMs: ms('DeferTimeout', 0.1),
    // digests are of what is kept
    verifyIntervalMs: uncached ? 0 : ms('VerifyInterval', 60),
    refreshMs: ms('RefreshTime', 15),
    cacheTimeoutMs: ms('CacheTimeout', 180),
  };
  if (settings.cacheTimeoutMs < 2 * settings.refreshMs) {
    const { at } = options.one('CacheTimeout') ?? options.one('RefreshTime') ?? options;
    problems.add(
      at,
      'CacheTimeout is too short: expected twice RefreshTime at least, since one may be lost',
    );
  }
  return settings;
}
