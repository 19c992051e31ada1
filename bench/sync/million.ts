// SPDX-License-Identifier: MIT
/** A million entries, ours alone: whether anything waits for them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Context, type Part, type Row, row } from '../bench.js';
import { monotonicMs } from '../clock.js';
import { median } from '../measure.js';
import type { Arrivals } from './arrivals.js';
import { begin, commit, dump, percentile, replicate, resync, takeOver } from './round.js';
import { Spliced } from './spliced.js';
import { SystemName, Systems } from './systems.js';

const COUNT = 1_000_000;
const TABLE_SIZE = 1_048_576;
const ROUNDS = 3;
/** Between two looks at whether a single entry has come, and between two of them. */
const LOOK_MS = 1;
const PAUSE_MS = 5;
/** What no row may be beyond. */
const TURN_MS_MAX = 10;
const COMMIT_S_MAX = 1;

/** Single new entries one after the other while `busy`: how long until b has each, in ms. */
async function probe(pair: Spliced, next: { number: number }, busy: () => boolean) {
  const lags: number[] = [];
  while (busy()) {
    const began = await pair.insert(next.number++, 1);
    for (;;) {
      const { internal, external } = await pair.cached();
      if (internal + external >= next.number) break;
      await sleep(LOOK_MS);
    }
    lags.push(monotonicMs() - began);
    await sleep(PAUSE_MS);
  }
  return lags;
}

interface Watched {
  lagMedian: number;
  lagWorst: number;
  longestTurn: number;
}

/** One work on the million, with what else goes on meanwhile. */
async function observe(
  pair: Spliced,
  arrivals: Arrivals,
  next: { number: number },
  work: () => Promise<number>,
): Promise<Watched> {
  let busy = true;
  arrivals.start(pair.pid('b'), pair.datagramMin);
  const working = work().finally(() => {
    busy = false;
  });
  const lags = await probe(pair, next, () => busy);
  await working;
  const { longestTurn } = arrivals.stop();
  return { lagMedian: percentile(lags, 0.5), lagWorst: percentile(lags, 0.99), longestTurn };
}

/** Everything again while b holds it all, in seconds. */
async function renew(pair: Spliced): Promise<number> {
  const [before, began] = [await pair.bulks(), monotonicMs()];
  await pair.request();
  while ((await pair.bulks()) === before) await sleep(PAUSE_MS);
  return (monotonicMs() - began) / 1000;
}

const WORKS = ['resync on request', 'dump as text', 'dump as XML', 'commit'] as const;
type WorkName = (typeof WORKS)[number];

/** A pair with its million in place, for each kind of work once. */
class Round {
  readonly #works: Record<WorkName, () => Promise<number>>;

  constructor(
    readonly context: Context,
    readonly pair: Spliced,
    readonly arrivals: Arrivals,
  ) {
    const { lab } = context;
    this.#works = {
      'resync on request': () => resync(pair, arrivals, COUNT),
      'dump as text': () => dump(lab, pair, 'text', COUNT),
      'dump as XML': () => dump(lab, pair, 'xml', COUNT),
      commit: () => takeOver(pair, COUNT),
    };
  }

  /**
   * In place of works that leave nobody to tell of single entries: a dead peer, or caches that have been
   * emptied. The commit is contested then, so it is not the one whose time is told.
   */
  get #beside(): Partial<Record<WorkName, () => Promise<number>>> {
    return {
      'resync on request': () => renew(this.pair),
      commit: () => commit(this.pair, COUNT),
    };
  }

  /** Each kind of work with nothing else going on. */
  async timed() {
    return this.#run(async (replicated) => {
      const seconds = {} as Record<WorkName, number>;
      for (const name of WORKS) {
        this.#tell(name);
        seconds[name] = await this.#works[name]();
      }
      return { replicated, seconds };
    });
  }

  /** Each kind with a look at what waits for it. */
  async watched() {
    return this.#run(async () => {
      const watched = {} as Record<WorkName, Watched>;
      const next = { number: COUNT };
      for (const name of WORKS) {
        this.#tell(`lag during ${name}`);
        const works = { ...this.#works, ...this.#beside };
        watched[name] = await observe(this.pair, this.arrivals, next, works[name]);
      }
      return watched;
    });
  }

  #tell(what: string): void {
    this.context.tell(`${what}: ${this.pair.name}`);
  }

  async #run<T>(look: (replicated: Awaited<ReturnType<typeof replicate>>) => Promise<T>) {
    await begin(this.pair);
    try {
      this.#tell('replication');
      return await look(await replicate(this.pair, this.arrivals, COUNT));
    } finally {
      await this.pair.stop();
    }
  }
}

const SHOWN = COUNT.toLocaleString('en');

function told(name: string, unit: string, ours: number, better: Row['better'] = 'lower'): Row {
  return row({ name, unit, better, ours, peers: {}, aim: {} });
}

function limited(name: string, unit: string, ours: number, limit: number): Row {
  return row({ name, unit, better: 'lower', ours, peers: { limit }, aim: { limit: 1 } });
}

function times(samples: Awaited<ReturnType<Round['timed']>>[], suffix: string): Row[] {
  const of = (pick: (sample: (typeof samples)[number]) => number) => median(samples.map(pick));
  const name = (what: string) => `${what} of ${SHOWN}${suffix}`;
  return [
    told(
      name('replication'),
      'entries/s',
      of((s) => s.replicated.perSecond),
      'higher',
    ),
    ...(['sender', 'receiver'] as const).flatMap((side) => [
      told(
        name(`CPU at the ${side}, replication`),
        'µs/entry',
        of((s) => s.replicated[side]),
      ),
      told(
        name(`memory at the ${side},`),
        'octets/entry',
        of((s) => s.replicated[`${side}Memory`]),
      ),
    ]),
    told(
      name('link, replication'),
      'octets/entry',
      of((s) => s.replicated.octets),
    ),
    ...WORKS.map((work) => {
      const seconds = of((s) => s.seconds[work]);
      return work === 'commit'
        ? limited(name(work), 's', seconds, COMMIT_S_MAX)
        : told(name(work), 's', seconds);
    }),
  ];
}

function waits(samples: Record<WorkName, Watched>[], suffix: string): Row[] {
  return WORKS.flatMap((work) => {
    const of = (key: keyof Watched) => median(samples.map((sample) => sample[work][key]));
    const name = (what: string) => `${what} during ${work} of ${SHOWN}${suffix}`;
    return [
      told(name('lag, median,'), 'ms', of('lagMedian')),
      told(name('lag, p99,'), 'ms', of('lagWorst')),
      limited(name('longest turn'), 'ms', of('longestTurn'), TURN_MS_MAX),
    ];
  });
}

export const million: Part = {
  needs: ['clang'],
  async run(context) {
    const { arrivals } = Systems.of(context.lab);
    const pairs = [SystemName.OURS, ...(context.quick ? [] : [SystemName.SEALED])].map(
      (name) =>
        new Spliced(context.lab, `${name}-million`, {
          tableSize: TABLE_SIZE,
          sealed: name === SystemName.SEALED,
        }),
    );
    const all: Row[] = [];
    for (const [index, pair] of pairs.entries()) {
      const suffix = index > 0 ? ', sealed' : '';
      const round = new Round(context, pair, arrivals);
      const timed = [];
      const watched = [];
      for (let i = 0; i < (context.quick ? 1 : ROUNDS); i++) {
        timed.push(await round.timed());
        if (!context.quick) watched.push(await round.watched());
      }
      all.push(...times(timed, suffix), ...(context.quick ? [] : waits(watched, suffix)));
    }
    return all;
  },
};
