/**
 * Which real server is next? A scheduler is one function over the servers of a virtual server;
 * adding one touches this file and the directive that names it.
 */
import type { RealServer } from './config.js';

/** What a scheduler sees of one real server. */
export interface Candidate {
  real: RealServer;
  /** Connections that this process holds: being set up, or relayed. The datapath has the others. */
  held: number;
  /** Passed over until then (ms of the monotonic clock), because it refused a connection. */
  restsUntilMs: number;
  /** Bits of Option (leg 0) that it was asked for, and those of them that it does not have. */
  shown: number;
  lacks: number;
  /** Smooth weighted round robin's running credit. */
  credit: number;
}

/** All live connections of a candidate, for the schedulers that want to know. */
export type Load = (candidate: Candidate) => number;

export type Scheduler = (usable: readonly Candidate[], load: Load) => Candidate;

export type SchedulerName = 'rr' | 'lc';

/** How long a real server that refused a connection is passed over while others are there. */
export const REST_MS = 2_000;

/**
 * Round robin by weight, spread evenly: with weights 5, 1, 1 the turns are a a b a c a a
 * (the "smooth" variant, as nginx has it). Exact over every round of as many turns as there is
 * weight.
 */
function roundRobin(usable: readonly Candidate[]): Candidate {
  let total = 0;
  let best = usable[0];
  for (const candidate of usable) {
    total += candidate.real.weight;
    candidate.credit += candidate.real.weight;
    if (candidate.credit > best.credit) best = candidate;
  }
  best.credit -= total;
  return best;
}

/** Least connections for its weight, counting the one to come; round robin where several are least. */
function leastConnections(usable: readonly Candidate[], load: Load): Candidate {
  let least = Number.POSITIVE_INFINITY;
  let best: Candidate[] = [];
  for (const candidate of usable) {
    const share = (load(candidate) + 1) / candidate.real.weight;
    if (share > least) continue;
    if (share < least) best = [];
    least = share;
    best.push(candidate);
  }
  return roundRobin(best);
}

export const schedulers: Record<SchedulerName, Scheduler> = {
  rr: roundRobin,
  lc: leastConnections,
};

/** The real servers of one virtual server, with their turns. */
export class Rota {
  readonly #nowMs: () => number;
  #candidates: Candidate[] = [];
  #schedule: Scheduler = schedulers.rr;

  constructor(real: readonly RealServer[], name: SchedulerName, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.update(real, name);
  }

  /** Another list of real servers: those that stay keep their counts, their rest and their turn. */
  update(real: readonly RealServer[], name: SchedulerName): void {
    this.#candidates = real.map((r) => {
      const known = this.#candidates.find(
        (c) => c.real.address === r.address && c.real.port === r.port,
      );
      if (!known) return { real: r, held: 0, restsUntilMs: 0, shown: 0, lacks: 0, credit: 0 };
      known.real = r;
      return known;
    });
    this.#schedule = schedulers[name];
  }

  get candidates(): readonly Candidate[] {
    return this.#candidates;
  }

  /**
   * The next real server, or undefined when all that may serve were tried. Weight 0 takes no new
   * connection; one that rests is asked only when no other is left.
   */
  next(tried: ReadonlySet<Candidate>, load: Load): Candidate | undefined {
    const left = this.#candidates.filter((c) => c.real.weight > 0 && !tried.has(c));
    if (left.length === 0) return undefined;
    const now = this.#nowMs();
    const awake = left.filter((c) => c.restsUntilMs <= now);
    return this.#schedule(awake.length > 0 ? awake : left, load);
  }

  failed(candidate: Candidate): void {
    candidate.restsUntilMs = this.#nowMs() + REST_MS;
  }

  served(candidate: Candidate): void {
    candidate.restsUntilMs = 0;
  }
}
