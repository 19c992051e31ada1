/** What many runs came to, as text. */
import type { Failure, Outcome } from './run.js';

export interface Summary {
  runs: number;
  readonly counts: Record<string, number>;
  readonly failures: { seed: number; failure: Failure }[];
  readonly settledMs: number[];
}

export function emptySummary(): Summary {
  return { runs: 0, counts: {}, failures: [], settledMs: [] };
}

export function add(summary: Summary, { seed, counts, failure, settledMs }: Outcome): void {
  summary.runs++;
  for (const [name, count] of Object.entries(counts)) {
    summary.counts[name] = (summary.counts[name] ?? 0) + count;
  }
  if (failure) summary.failures.push({ seed, failure });
  else summary.settledMs.push(settledMs);
}

export function merge(into: Summary, from: Summary): void {
  into.runs += from.runs;
  into.failures.push(...from.failures);
  into.settledMs.push(...from.settledMs);
  for (const [name, count] of Object.entries(from.counts)) {
    into.counts[name] = (into.counts[name] ?? 0) + count;
  }
}

const COLUMNS = 3;

export function summaryText({ runs, counts, settledMs, failures }: Summary): string {
  const sorted = [...settledMs].sort((a, b) => a - b);
  const at = (part: number) => Math.round(sorted[Math.floor(part * (sorted.length - 1))] ?? 0);
  const names = Object.keys(counts).sort();
  const width = Math.max(...names.map((name) => name.length), 0);
  const cells = names.map((name) => `${name.padEnd(width)} ${String(counts[name]).padStart(9)}`);
  const lines: string[] = [];
  const rows = Math.ceil(cells.length / COLUMNS);
  for (let row = 0; row < rows; row++) {
    lines.push(cells.filter((_, index) => index % rows === row).join('   '));
  }
  const rest = `from whole links to rest: median ${at(0.5)} ms, 99 % ${at(0.99)} ms, longest ${at(1)} ms`;
  return `${lines.join('\n')}\n\n${runs} runs, ${failures.length} failed; ${rest}`;
}

export function failureText(seed: number, { rule, what, at, step }: Failure): string {
  const when = `after ${(at / 1000).toFixed(2)} s, ${step} mishaps`;
  return `seed ${seed}: ${rule} (${when})\n  ${what}\n  npm run simulate -- --seed ${seed} --trace`;
}
