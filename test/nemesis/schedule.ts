// SPDX-License-Identifier: MIT
/** What is done to the pair, and when: all of it follows from one number, the seed. */
import type { BalancerName } from '../lab/topology.js';
import { BALANCERS, WEB_SERVERS } from '../lab/topology.js';
import { Dice } from '../sync/simulator/dice.js';

export type Program = 'spliced' | 'switchd' | 'keepalived';
export const PROGRAMS: readonly Program[] = ['spliced', 'switchd', 'keepalived'];
export type Way = 'both' | 'in' | 'out';

/** One fault. What a kind does not need is there all the same: another kind would not change the seed's run. */
export interface Step {
  readonly kind: Kind;
  /** From the beginning of the run, and how long it lasts, in ms. */
  readonly at: number;
  readonly lasts: number;
  readonly node: BalancerName;
  readonly web: string;
  /** For what is cut one way: seen from the node. */
  readonly way: Way;
  /** For what is lost, doubled or delayed: the share, in per cent. */
  readonly share: number;
  /** A node that crashes: whether its kernel comes back with the memory that it had. */
  readonly forgets: boolean;
}

interface Measure {
  /** Shortest and longest, in ms. */
  readonly lasts: readonly [number, number];
  /** For how long after its end nothing else begins, unless faults overlap. */
  readonly rest: number;
}

const MOMENT: Measure = { lasts: [0, 0], rest: 1500 };
const RESTART: Measure = { lasts: [100, 2500], rest: 1500 };
const PAUSE: Measure = { lasts: [200, 4000], rest: 1500 };
const CUT: Measure = { lasts: [300, 6000], rest: 2500 };

/** Every kind of fault. The names are what --faults chooses by. */
export const KINDS = {
  'kill-spliced': RESTART,
  'stop-spliced': PAUSE,
  'restart-spliced': MOMENT,
  'kill-switchd': RESTART,
  'stop-switchd': PAUSE,
  'restart-switchd': MOMENT,
  'kill-keepalived': RESTART,
  'stop-keepalived': PAUSE,
  'restart-keepalived': MOMENT,
  'kill-web': RESTART,
  'stop-web': PAUSE,
  'cut-sync': CUT,
  'cut-clients': CUT,
  'cut-servers': CUT,
  'block-sync': CUT,
  'block-clients': CUT,
  'block-servers': CUT,
  'lose-sync': CUT,
  'double-sync': CUT,
  'reorder-sync': CUT,
  'fill-table': CUT,
  'fill-disk': CUT,
  'freeze-node': PAUSE,
  'crash-node': { lasts: [800, 6000], rest: 5000 },
  handover: { lasts: [0, 0], rest: 2500 },
} satisfies Record<string, Measure>;
export type Kind = keyof typeof KINDS;
export const ALL_KINDS = Object.keys(KINDS) as Kind[];

/** Faults that begin before the one before has been healed. */
const OVERLAP = 0.25;

/** Kinds whose name has one of these words in it; undefined: a word that is in none. */
export function kindsNamed(words: readonly string[]): Kind[] | undefined {
  if (words.some((word) => !ALL_KINDS.some((kind) => kind.includes(word)))) return undefined;
  return ALL_KINDS.filter((kind) => words.some((word) => kind.includes(word)));
}

/**
 * Faults for `ms` milliseconds. Each kind comes once before any comes again. `pace` below 1 makes
 * everything shorter and closer.
 */
export function schedule(o: {
  seed: number;
  ms: number;
  kinds?: readonly Kind[];
  pace?: number;
}): Step[] {
  const { seed, ms, kinds = ALL_KINDS, pace = 1 } = o;
  const dice = new Dice(seed);
  const steps: Step[] = [];
  let bag: Kind[] = [];
  for (let at = 0; ; ) {
    if (bag.length === 0) bag = shuffled(kinds, dice);
    const kind = bag.pop() as Kind;
    const { lasts, rest }: Measure = KINDS[kind];
    const step: Step = {
      kind,
      at: Math.round(at),
      lasts: Math.round(pace * dice.between(...lasts)),
      node: dice.pick(BALANCERS),
      web: dice.pick(WEB_SERVERS),
      way: dice.pick<Way>(['both', 'in', 'out']),
      share: dice.pick([5, 20, 50]),
      forgets: dice.chance(0.5),
    };
    if (step.at + step.lasts > ms) return steps;
    steps.push(step);
    const apart = dice.chance(OVERLAP)
      ? dice.between(0, step.lasts)
      : step.lasts + pace * (rest + dice.between(0, 1500));
    at = step.at + Math.max(100, apart);
  }
}

function shuffled<T>(of: readonly T[], dice: Dice): T[] {
  const left = [...of];
  return of.map(() => left.splice(dice.below(left.length), 1)[0]);
}

/** As a line. */
export function stepText(step: Step): string {
  const { kind, node, lasts } = step;
  const ms = lasts > 0 ? ` for ${(lasts / 1000).toFixed(1)} s` : '';
  if (kind.endsWith('-web')) return `${kind} ${step.web}${ms}`;
  if (kind === 'handover') return kind;
  if (kind === 'crash-node') return `${kind} ${node}, ${step.forgets ? 'rebooted' : 'hung'}${ms}`;
  if (kind.startsWith('block')) {
    const way = { both: 'both ways', in: 'what it would hear', out: 'what it says' }[step.way];
    return `${kind} ${node} (${way})${ms}`;
  }
  const shared = ['lose-sync', 'double-sync', 'reorder-sync'].includes(kind);
  return `${kind} ${node}${shared ? ` ${step.share} %` : ''}${ms}`;
}
