/**
 * What kind of run a seed is: how many nodes, how small their queues, which faults. Each seed has some
 * of them only, so that one mishap does not drown the others.
 */
import type { DaemonSettings } from './daemon.js';
import type { Dice } from './dice.js';

export const FAULTS = [
  'loss',
  'duplication',
  'reordering',
  'corruption',
  'truncation',
  'partition',
  'narrow',
  'replay',
  'garbage',
  'pause',
  'daemon crash',
  'daemon stop',
  'machine crash',
  'clock back',
  'two masters',
  'switchover',
  'operator',
  'burst',
] as const;
export type Fault = (typeof FAULTS)[number];

const MODES = ['FTFW', 'NOTRACK', 'ALARM'];

/** ALARM does not compare; in NOTRACK nothing else mends an end that was lost with the take-over before it. */
const VERIFY_MS: Readonly<Record<string, number[]>> = {
  FTFW: [0, 1500, 4000],
  NOTRACK: [4000, 1500, 4000],
  ALARM: [0],
};

export interface Profile {
  readonly nodes: number;
  readonly faults: ReadonlySet<Fault>;
  readonly mode: string;
  readonly paths: number;
  readonly sealed: boolean;
  /** DisableExternalCache. */
  readonly hot: boolean;
  /** The newest version of the wire that any node speaks. */
  readonly versionMax: number;
  /** Damage is found by the protocol itself. */
  readonly checked: boolean;
  readonly tableSize: number;
  readonly ring: number;
  readonly socket: number;
  /** Ports of clients, and towards servers: no more flows than that. */
  readonly ports: number;
  /** Between two things that happen on a master, ms. */
  readonly beatMs: number;
  /** HashLimit may not be enough. */
  readonly tight: boolean;
  /** How one machine starts its daemon each time. */
  starts(): () => DaemonSettings;
}

export function profileOf(dice: Dice): Profile {
  const tight = dice.chance(0.08);
  const ports = dice.pick([24, 60, 60, 120, 250]);
  const mode = dice.pick(MODES);
  const drawn = dice.pick<[number, number]>([
    [2, 2],
    [2, 2],
    [2, 2],
    [1, 2],
    [1, 1],
  ]);
  // the first version has one mode
  const versions: [number, number] = mode === 'FTFW' ? drawn : [2, 2];
  const sealed = dice.chance(0.3);
  const paths = dice.pick([1, 1, 2, 3]);
  const settings = {
    mtu: dice.pick([1472, 1472, 700]),
    paths,
    sealed,
    mode,
    hashLimit: tight ? Math.ceil(ports / 2) : 2048,
    resendQueueSize: 1024,
    ackWindowSize: dice.pick([5, 50, 300]),
    refreshMs: 3000,
    cacheTimeoutMs: 8000,
    verifyMs: dice.pick(VERIFY_MS[mode]),
    disableExternalCache: mode !== 'ALARM' && dice.chance(0.4),
  };
  return {
    nodes: dice.pick([2, 2, 2, 3, 3, 4]),
    faults: new Set(FAULTS.filter(() => dice.chance(0.5))),
    mode,
    paths,
    sealed,
    hot: settings.disableExternalCache,
    versionMax: versions[1],
    checked: sealed || versions[0] === 2,
    tableSize: 2048,
    ring: dice.pick([4096, 4096, 4096, 48, 12]),
    socket: dice.pick([1000, 1000, 200, 40]),
    ports,
    beatMs: dice.pick([8, 20, 20, 60]),
    tight,
    starts: () => {
      let versionMax = dice.pick(versions);
      return () => {
        // a daemon that starts again may be a newer one
        if (dice.chance(0.3)) versionMax = versions[1];
        return { ...settings, versionMax };
      };
    },
  };
}
