import { type FamilyChoice, type ServiceName, USED } from './services.js';
import type { Transfer } from './transfer.js';

export type Mode = 'crash' | 'switchover';

/** What was known of the splices at the moment of the takeover, by the client's port. */
export interface AtTakeover {
  at: number;
  /** Ports whose records the surviving node held. */
  held: ReadonlySet<number>;
  /** States of the client legs in the kernel table of the node that went. */
  states: ReadonlyMap<number, string>;
}

export interface Percentiles {
  p50: number;
  p99: number;
  max: number;
}

/** Some of the transfers, for themselves. */
export interface Part {
  flows: number;
  completed: number;
  broken_replicated: number;
  replicated_at_takeover: number;
  stall_ms: Percentiles;
}

export interface Result {
  flows: number;
  completed: number;
  broken: number;
  broken_replicated: number;
  unreplicated: Record<string, number>;
  bytes: number;
  stall_ms: Percentiles;
  takeover_ms: number;
  mode: Mode;
  family: FamilyChoice;
  /** Transfers that began around the takeover and waited for it: from their begin to their first byte. */
  begun_in_gap: { flows: number; wait_ms: Percentiles };
  /** Transfers that were under way when the node went. */
  live_at_takeover: number;
  /** ... and those of them whose record the other node held. */
  replicated_at_takeover: number;
  downloads: Part;
  uploads: Part;
  /** By the family of the client's connection and of the server's. */
  by_family: Partial<Record<ServiceName, Part>>;
  /** Broken transfers by the way in which they broke. */
  reasons: Record<string, number>;
  /** Packets for which the guard kept back the RST of a node that was not the owner yet. */
  guard_held: number;
}

/** Nearest-rank percentiles of any number of values; zeros for none. */
export function percentiles(values: number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (p: number) => sorted[Math.max(0, Math.ceil(sorted.length * p) - 1)] ?? 0;
  const round = (x: number) => Math.round(x * 10) / 10;
  return { p50: round(rank(0.5)), p99: round(rank(0.99)), max: round(sorted.at(-1) ?? 0) };
}

function liveAt(transfer: Transfer, at: number): boolean {
  return transfer.begun < at && (transfer.ended === undefined || transfer.ended > at);
}

/** It had begun, but what its client sent to connect, or to ask, fell into the gap. */
function waited(transfer: Transfer, at: number, servedAt: number): boolean {
  return transfer.begun < servedAt && (transfer.firstByteAt ?? Number.POSITIVE_INFINITY) > at;
}

function count(into: Record<string, number>, key: string): void {
  into[key] = (into[key] ?? 0) + 1;
}

/** Why a broken transfer could not be kept: how far its splice was when the node went. */
function unreplicatedState(transfer: Transfer, takeover: AtTakeover): string {
  if (transfer.begun >= takeover.at) return 'BEGUN_AFTER';
  if (!liveAt(transfer, takeover.at)) return 'ENDED_BEFORE';
  return takeover.states.get(transfer.port) ?? 'NOT_SPLICED';
}

/** Sums up the run, after every transfer has ended. */
export function account(
  transfers: readonly Transfer[],
  takeover: AtTakeover,
  o: { mode: Mode; family: FamilyChoice; takeoverMs: number; guardHeld: number },
): Result {
  const unreplicated: Record<string, number> = {};
  const reasons: Record<string, number> = {};
  for (const transfer of transfers) {
    if (transfer.outcome?.ok !== false) continue;
    count(reasons, transfer.outcome.why);
    if (!takeover.held.has(transfer.port))
      count(unreplicated, unreplicatedState(transfer, takeover));
  }
  const live = transfers.filter((t) => liveAt(t, takeover.at));
  const gap = transfers.filter((t) => waited(t, takeover.at, takeover.at + o.takeoverMs));
  const moving = live.filter((t) => !gap.includes(t));
  const held = (t: Transfer) => takeover.held.has(t.port);
  const part = (belongs: (t: Transfer) => boolean): Part => {
    const mine = transfers.filter(belongs);
    return {
      flows: mine.length,
      completed: mine.filter((t) => t.outcome?.ok).length,
      broken_replicated: mine.filter((t) => t.outcome?.ok === false && held(t)).length,
      replicated_at_takeover: live.filter((t) => belongs(t) && held(t)).length,
      stall_ms: stallsOf(moving.filter(belongs)),
    };
  };
  const all = part(() => true);
  const services = USED[o.family].map(({ name }) => name);
  return {
    flows: all.flows,
    completed: all.completed,
    broken: all.flows - all.completed,
    broken_replicated: all.broken_replicated,
    unreplicated,
    bytes: transfers.reduce((sum, t) => sum + t.bytes, 0),
    stall_ms: all.stall_ms,
    takeover_ms: Math.round(o.takeoverMs),
    mode: o.mode,
    family: o.family,
    begun_in_gap: {
      flows: gap.length,
      wait_ms: percentiles(
        gap.filter((t) => t.outcome?.ok).map((t) => (t.firstByteAt ?? t.begun) - t.begun),
      ),
    },
    live_at_takeover: live.length,
    replicated_at_takeover: all.replicated_at_takeover,
    downloads: part((t) => t.kind === 'download'),
    uploads: part((t) => t.kind === 'upload'),
    by_family: Object.fromEntries(
      services.map((name) => [name, part((t) => t.service.name === name)]),
    ),
    reasons,
    guard_held: o.guardHeld,
  };
}

function stallsOf(transfers: Transfer[]): Percentiles {
  return percentiles(transfers.filter((t) => t.outcome?.ok && t.stall > 0).map((t) => t.stall));
}

/** The run did what the project promises. */
export function holds(result: Result): boolean {
  if (result.broken_replicated > 0) return false;
  return result.mode === 'crash' || result.broken === 0;
}
