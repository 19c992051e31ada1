// SPDX-License-Identifier: MIT
/**
 * Why a flow was lost. The promise and what voids it stand in docs/nemesis.md; whatever is not voided
 * is a fault of the product.
 */
import { BALANCERS, type BalancerName } from '../lab/topology.js';
import type { FlowKey, History, Span } from './watch.js';

/** A flow that did not come to its right end. */
export interface Loss {
  readonly key: FlowKey;
  readonly what: string;
  /** Errno, or what else was wrong with it. */
  readonly error: string;
  readonly began: number;
  readonly ended: number;
}

/** Something that may cost flows, or be the reason why a record was late. */
export interface Moment {
  readonly kind:
    | 'switchd gone'
    | 'switchd stopped'
    | 'web server gone'
    | 'node crashed'
    | 'addresses moved'
    | 'addresses on both'
    | 'table full';
  /** The node that it happened to; where addresses moved: from which. */
  readonly node?: BalancerName;
  /** The web server's addresses. */
  readonly servers?: readonly string[];
  readonly from: number;
  until: number;
}

/** A time in which records may well not reach the peer, and what the matter was. */
export interface Trouble {
  readonly what: string;
  readonly from: number;
  until: number;
}

export interface Evidence {
  readonly flows: ReadonlyMap<FlowKey, History>;
  readonly moments: readonly Moment[];
  readonly troubles: readonly Trouble[];
}

/** Looks are so far apart, at least on a busy machine. */
const LOOK_MS = 1000;
/** A record is at the peer within this after its splice has begun, if nothing is in the way. */
const REPLICATED_MS = 2000;
/** After a trouble is over the peer is brought up to date, by a bulk perhaps. */
const RECOVERED_MS = 10_000;
/** A client learns of it when its data is not answered: after some retransmissions. */
const LEARNS_MS = 60_000;
/** These are never a matter of luck. */
const NEVER = /wrong|content|corrupt/i;

/** By name; undefined: nothing explains it. */
export function explain(loss: Loss, evidence: Evidence): string | undefined {
  if (NEVER.test(loss.error)) return undefined;
  const history = evidence.flows.get(loss.key);
  const moments = evidence.moments.filter(
    (m) => m.from - LOOK_MS <= loss.ended && m.until + LEARNS_MS >= loss.began,
  );
  const began = loss.began - LOOK_MS;
  const during = moments.filter((m) => m.until >= began);
  const web = during.find((m) => m.kind === 'web server gone' && serves(m, history));
  if (web) return 'its web server was killed';
  const spliced = splicedSince(history, loss);
  if (spliced === undefined) {
    const [moment] = during;
    return moment && `not spliced: ${moment.kind}`;
  }
  for (const moment of during) {
    const reason = voids(moment, spliced, history as History, evidence.troubles);
    if (reason) return reason;
  }
  return undefined;
}

function serves({ servers }: Moment, history: History | undefined): boolean {
  return history?.server !== undefined && (servers ?? []).includes(history.server);
}

/** When the flow was first seen as spliced; undefined: never. */
function splicedSince(history: History | undefined, { began, ended }: Loss): number | undefined {
  return history?.spliced.find(({ from, until }) => until >= began && from <= ended)?.from;
}

function voids(
  moment: Moment,
  spliced: number,
  history: History,
  troubles: readonly Trouble[],
): string | undefined {
  const { kind, node, from, until } = moment;
  if (kind === 'addresses on both') {
    // a flow that has begun at one of them meanwhile has to be known to the other, too
    return until < spliced ? undefined : missing(history, Math.max(from, spliced), BALANCERS);
  }
  if (kind === 'switchd gone' && spliced > from) return `not spliced yet: ${kind}`;
  if (kind !== 'node crashed' && kind !== 'addresses moved') return undefined;
  if (spliced > from) return `not spliced yet: ${kind}`;
  return missing(
    history,
    from,
    BALANCERS.filter((name) => name !== node),
  );

  function missing(flow: History, at: number, where: readonly BalancerName[]): string | undefined {
    const holds = (name: BalancerName) => flow.held.some((s) => s.node === name && covers(s, at));
    if (where.every(holds)) return undefined;
    if (at - spliced < REPLICATED_MS) return `not replicated yet: ${kind}`;
    const trouble = troubles.find((t) => t.from <= at && t.until + RECOVERED_MS >= at);
    return trouble && `not replicated (${trouble.what}): ${kind}`;
  }
}

function covers({ from, until }: Span, at: number): boolean {
  return from <= at && until + LOOK_MS >= at;
}
