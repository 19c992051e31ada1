// SPDX-License-Identifier: MIT
/** What a run came to, as text. */
import type { Verdict } from './run.js';

function table(title: string, counts: Record<string, number>): string[] {
  const names = Object.keys(counts).sort();
  const rows = names.map((name) => `  ${String(counts[name]).padStart(7)}  ${name}`);
  return ['', title, ...(rows.length > 0 ? rows : ['        none'])];
}

export function accountText(verdict: Verdict): string {
  const { totals, faults, explained, unexplained, moves, carried, rest } = verdict;
  const { begun, ended, notMade, broken, wrong, resets, bytes, open } = totals;
  return [
    ...table('faults', faults),
    ...table('lost flows, by what explains them', explained),
    ...table('counters', {
      ...rest.counters,
      'resets at the client': rest.resets.client,
      'resets at the servers': rest.resets.servers,
    }),
    '',
    `${begun} flows: ${ended} right to their end, ${notMade} not answered, ${broken} broken (${resets} by RST), ${open} without end`,
    `${(bytes / 1e6).toFixed(1)} MB checked, ${wrong} flows with wrong bytes; ${moves} takeovers; flows went on over one ${carried} times`,
    ...unexplained.map((line) => `UNEXPLAINED: ${line}`),
    ...rest.wrong.map((line) => `AT THE END: ${line}`),
    unexplained.length + rest.wrong.length === 0 ? 'no flow lost that was promised' : 'FAILED',
  ].join('\n');
}
