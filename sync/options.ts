/** What is not given of SyncOptions, and whether what is given makes sense. */
import { nodeId } from '../kernel/record/record.js';
import type { SyncOptions } from './api.js';
import { SyncError } from './error.js';
import { findMode } from './modes.js';
import { WIRE_VERSION } from './wire.js';

const DEFAULTS = {
  epoch: 0,
  mode: 'FTFW',
  hashLimit: 1_048_576,
  resendQueueSize: 131_072,
  ackWindowSize: 300,
  startupResync: true,
  refreshMs: 15_000,
  cacheTimeoutMs: 180_000,
  disableInternalCache: false,
  disableExternalCache: false,
  defer: false,
  startupMs: 2000,
  helloMs: 1000,
  deadAfterMs: 3500,
  versionMax: WIRE_VERSION,
  yielded: false,
};

/** ALARM says everything again anyway. */
const VERIFY_MS = 60_000;
/** A datagram's worth of identities has to fit many times over. */
const RESEND_QUEUE_MIN = 1024;

/** @throws SyncError MODE or OPTION */
export function withDefaults(options: SyncOptions): Required<SyncOptions> {
  const mode = findMode(options.mode ?? DEFAULTS.mode).name;
  const verifyMs = mode === 'ALARM' ? 0 : VERIFY_MS;
  const all = { ...DEFAULTS, verifyMs, ...options, mode };
  check(all);
  return all;
}

function check(options: Required<SyncOptions>): void {
  const least: [keyof SyncOptions, number][] = [
    ['hashLimit', 1],
    ['resendQueueSize', RESEND_QUEUE_MIN],
    ['ackWindowSize', 1],
    ['startupMs', 0],
    ['helloMs', 1],
    ['deadAfterMs', 1],
    ['versionMax', 1],
    ['refreshMs', 1],
    ['cacheTimeoutMs', 1],
    ['verifyMs', 0],
  ];
  for (const [name, minimum] of least) {
    if ((options[name] as number) >= minimum) continue;
    throw new SyncError('OPTION', `${name} is ${options[name]}; at least ${minimum} is expected`);
  }
  if (nodeId(options.name) !== options.node) {
    throw new SyncError('OPTION', `${options.node} is not the node id of ${options.name}`);
  }
}
