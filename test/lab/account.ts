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
  /** Transfers that began around the takeover and waited for it: from their begin to their first byte. */
  begun_in_gap: { flows: number; wait_ms: Percentiles };
  /** Transfers that were under way when the node went. */
  live_at_takeover: number;
  /** ... and those of them whose record the other node held. */
  replicated_at_takeover: number;
  downloads: { flows: number; completed: number; stall_ms: Percentiles };
  uploads: { flows: number; completed: number; stall_ms: Percentiles };
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
  o: { mode: Mode; takeoverMs: number; guardHeld: number },
): Result {
  const unreplicated: Record<string, number> = {};
  const reasons: Record<string, number> = {};
  let brokenReplicated = 0;
  for (const transfer of transfers) {
    if (transfer.outcome?.ok !== false) continue;
    count(reasons, transfer.outcome.why);
    if (takeover.held.has(transfer.port)) brokenReplicated++;
    else count(unreplicated, unreplicatedState(transfer, takeover));
  }
  const live = transfers.filter((t) => liveAt(t, takeover.at));
  const gap = transfers.filter((t) => waited(t, takeover.at, takeover.at + o.takeoverMs));
  const moving = live.filter((t) => !gap.includes(t));
  const side = (kind: Transfer['kind']) => {
    const mine = transfers.filter((t) => t.kind === kind);
    return {
      flows: mine.length,
      completed: mine.filter((t) => t.outcome?.ok).length,
      stall_ms: stallsOf(moving.filter((t) => t.kind === kind)),
    };
  };
  const completed = transfers.filter((t) => t.outcome?.ok).length;
  return {
    flows: transfers.length,
    completed,
    broken: transfers.length - completed,
    broken_replicated: brokenReplicated,
    unreplicated,
    bytes: transfers.reduce((sum, t) => sum + t.bytes, 0),
    stall_ms: stallsOf(moving),
    takeover_ms: Math.round(o.takeoverMs),
    mode: o.mode,
    begun_in_gap: {
      flows: gap.length,
      wait_ms: percentiles(
        gap.filter((t) => t.outcome?.ok).map((t) => (t.firstByteAt ?? t.begun) - t.begun),
      ),
    },
    live_at_takeover: live.length,
    replicated_at_takeover: live.filter((t) => takeover.held.has(t.port)).length,
    downloads: side('download'),
    uploads: side('upload'),
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
