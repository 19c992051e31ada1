// SPDX-License-Identifier: MIT
/** Results as one JSON object, or as a table for a human. */
import { type Row, ratio } from './bench.js';
import type { Machine } from './machine.js';

export interface Report {
  bench: string;
  rows: Row[];
  machine: Machine;
  at: string;
}

const DIGITS = 4;

function rounded(value: number): number {
  return Number(value.toPrecision(DIGITS));
}

export function json(report: Report): string {
  const rows = report.rows.map(({ name, unit, better, ours, peers, aim, holds }) => ({
    name,
    unit,
    better,
    ours: rounded(ours),
    peers: Object.fromEntries(Object.entries(peers).map(([peer, x]) => [peer, rounded(x)])),
    aim,
    holds,
  }));
  return JSON.stringify({ ...report, rows });
}

function number(value: number | undefined): string {
  if (value === undefined) return '';
  if (!Number.isFinite(value)) return '∞';
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : value.toPrecision(3);
}

function verdict(row: Row): string {
  if (Object.keys(row.aim).length === 0) return '';
  if (row.holds) return 'holds';
  const short = Object.entries(row.aim).filter(([peer, aim]) => !(ratio(row, peer) >= aim));
  return `short: ${short.map(([peer, aim]) => `${aim} × ${peer} is the aim`).join(', ')}`;
}

/** Columns are as wide as what stands in them; numbers are set flush right. */
function columns(lines: string[][], left: Set<number>): string[] {
  const widths = lines[0].map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  return lines.map((line) =>
    line
      .map((cell, i) => (left.has(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd(),
  );
}

/** One line a row: value, and behind each peer's value how far ours is ahead of it. */
export function table({ rows, machine, at }: Report): string {
  const peers = [...new Set(rows.flatMap((row) => Object.keys(row.peers)))];
  const head = ['', 'unit', 'ours', ...peers.flatMap((peer) => [peer, 'ratio']), ''];
  const body = rows.map((row) => [
    row.name,
    row.unit,
    number(row.ours),
    ...peers.flatMap((peer) =>
      peer in row.peers ? [number(row.peers[peer]), number(ratio(row, peer))] : ['', ''],
    ),
    verdict(row),
  ]);
  const left = new Set([0, 1, head.length - 1]);
  const { cpus, model, kernel } = machine;
  return [
    ...columns([head, ...body], left),
    '',
    `Ratios above 1: ours is ahead. ${cpus} × ${model}, Linux ${kernel}, ${at}`,
  ].join('\n');
}
