import type { Result } from './account.js';
import { type FamilyChoice, type ServiceName, USED } from './services.js';
import { virtualAddress } from './topology.js';

/** What the terminal shows while the lab runs. Numbers only; drawing is the business of this file. */
export interface View {
  /** What is going on, in one line. */
  headline: string;
  family: FamilyChoice;
  flows: number;
  bytesWanted: number;
  begun: number;
  live: number;
  completed: number;
  broken: number;
  bytes: number;
  bytesPerSecond: number;
  nodes: [NodeView, NodeView];
}

export interface NodeView {
  name: string;
  role: 'starting' | 'ACTIVE' | 'standby' | 'DEAD' | 'taking over';
  /** Splices that its kernel translates. */
  splices: number;
  /** Records of the other node that it keeps. */
  copies: number;
}

const INNER = 36;
const MIB = 1 << 20;

export const INTRODUCTION = [
  'A load balancer joins two connections for every transfer: client to balancer, balancer to',
  'server. When its machine dies, all of them die with it. Here they are spliced: joined inside',
  'the kernel, each described by one record of 152 bytes, and a second machine holds a copy of',
  'every record. One TCP connection a transfer, no retry, no resume; every byte is checked.',
];

function boxLine(text: string): string {
  return text.padEnd(INNER).slice(0, INNER);
}

/** What the active node has; of two addresses the box has no room for more than that. */
function addresses(family: FamilyChoice): string {
  return family === 'both' ? 'has IPv4 and IPv6' : `has ${virtualAddress('clients', family)}`;
}

function nodeLines(node: NodeView, family: FamilyChoice): string[] {
  const mark = { ACTIVE: '●', standby: '○', DEAD: '✗', starting: '…', 'taking over': '◐' }[
    node.role
  ];
  const has = node.role === 'ACTIVE' ? addresses(family) : '';
  return [
    boxLine(` ${mark} ${node.role.padEnd(12)} ${has}`),
    boxLine(` splices in its kernel ${count(node.role === 'DEAD' ? 0 : node.splices)}`),
    boxLine(` copies of the peer's   ${count(node.role === 'DEAD' ? 0 : node.copies).slice(1)}`),
  ];
}

function count(n: number): string {
  return String(n).padStart(8);
}

function topology([a, b]: [NodeView, NodeView], family: FamilyChoice): string[] {
  const la = nodeLines(a, family);
  const lb = nodeLines(b, family);
  const bar = '─'.repeat(INNER - 9);
  const gap = ' '.repeat(INNER / 2);
  // The cables of a dead node are pulled.
  const cable = (node: NodeView, text: string) =>
    node.role === 'DEAD' ? text.replace(/─/g, '╌').replace(/[├┤]/g, '│') : text;
  const sync = a.role === 'DEAD' || b.role === 'DEAD' ? '╎' : '│';
  return [
    `               ┌── ${a.name} ${bar}─┐`,
    `               │${la[0]}│`,
    `            ┌${cable(a, '──┤')}${la[1]}${cable(a, '├──')}┐`,
    `            │  │${la[2]}│  │`,
    `┌─────────┐ │  └${'─'.repeat(INNER / 2)}┬${'─'.repeat(INNER / 2 - 1)}┘  │ ┌─────────┐`,
    `│ clients ├─┤   ${gap}${sync} records${' '.repeat(INNER / 2 - 9)}   ├─┤ servers │`,
    `│  (curl) │ │   ${gap}${sync}${' '.repeat(INNER / 2 - 1)}   │ │ (nginx) │`,
    `└─────────┘ │  ┌── ${b.name} ${'─'.repeat(INNER / 2 - 8)}┴${'─'.repeat(INNER / 2 - 1)}┐  │ └─────────┘`,
    `            │  │${lb[0]}│  │`,
    `            └${cable(b, '──┤')}${lb[1]}${cable(b, '├──')}┘`,
    `               │${lb[2]}│`,
    `               └${'─'.repeat(INNER)}┘`,
  ];
}

function progressBar(view: View, width: number): string {
  const share = Math.min(1, view.bytes / Math.max(1, view.bytesWanted));
  const full = Math.floor(share * width);
  const text = `${'█'.repeat(full)}${'░'.repeat(width - full)}`;
  return `${text} ${String(Math.floor(share * 100)).padStart(3)} %`;
}

export function counts(view: View): string {
  return (
    `${view.begun} of ${view.flows} begun, ${view.live} under way, ` +
    `${view.completed} complete and right, ${view.broken} broken`
  );
}

/** The whole picture; always of the same height, so that it can be drawn over itself. */
export function draw(view: View): string[] {
  const rate = `${(view.bytesPerSecond / MIB).toFixed(0)} MiB/s`;
  return [
    ...topology(view.nodes, view.family),
    '',
    `  ${progressBar(view, 50)}   ${rate}`,
    `  transfers: ${counts(view)}`,
    `  ${view.headline}`,
  ];
}

function row(name: string, cells: (string | number)[]): string {
  return `  ${name.padEnd(12)}${cells.map((c) => String(c).padStart(11)).join('')}`;
}

const FAMILY_ROWS: Record<ServiceName, string> = {
  '4-4': 'IPv4',
  '6-6': 'IPv6',
  '6-4': 'IPv6 to v4',
};

/** The table at the end. */
export function summary(r: Result): string[] {
  const kept = (o: { flows: number; completed: number }) =>
    `${o.flows === 0 ? 100 : ((100 * o.completed) / o.flows).toFixed(2)} %`;
  const line = (
    name: string,
    o: { flows: number; completed: number; stall_ms: Result['stall_ms'] },
  ) =>
    row(name, [
      o.flows,
      o.completed,
      o.flows - o.completed,
      kept(o),
      o.stall_ms.p50,
      o.stall_ms.p99,
      o.stall_ms.max,
    ]);
  // For one family alone it would be the last line once more.
  const byFamily =
    USED[r.family].length === 1
      ? []
      : USED[r.family].flatMap(({ name }) => {
          const part = r.by_family[name];
          return part ? [line(FAMILY_ROWS[name], part)] : [];
        });
  const verb = r.mode === 'crash' ? 'died' : 'handed over';
  const lines = [
    '',
    row('', ['begun', 'right', 'broken', 'kept', 'pause p50', 'p99', 'max, ms']),
    line('downloads', r.downloads),
    line('uploads', r.uploads),
    ...byFamily,
    line('together', r),
    '',
    `  Under way when lb-a ${verb}: ${r.live_at_takeover}; lb-b had copies of ${r.replicated_at_takeover}, and ` +
      `${r.broken_replicated === 0 ? 'all of these came through' : `${r.broken_replicated} of these BROKE`}.`,
  ];
  lines.push(
    `  lb-b moved the first byte ${r.takeover_ms} ms after that; ${(r.bytes / MIB).toFixed(0)} MiB arrived in all.`,
  );
  const rest = Object.entries(r.unreplicated);
  if (rest.length > 0) {
    lines.push(
      `  Broken without a copy: ${rest.map(([state, n]) => `${n} ${state}`).join(', ')}` +
        ' (they were not spliced yet, or the copy was on its way).',
    );
  }
  const { flows, wait_ms } = r.begun_in_gap;
  if (flows > 0) {
    lines.push(
      `  ${flows} began in the gap, and waited ${Math.round(wait_ms.max)} ms at most for their first byte.`,
    );
  }
  lines.push('');
  return lines;
}
