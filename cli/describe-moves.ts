// A handover and a rehearsal in words: first whether all was well, then what it rests on.
import type {
  HandoverResult,
  MoveReport,
  OutageReport,
  RehearsalReport,
  SurveyReport,
} from '../daemon/control/protocol.js';
import { columns, count, counted, plain, span } from './words.js';

export function describeHandover({ took_ms, left, steps }: HandoverResult): string {
  const { settle_ms, splices_ms, let_go_ms, addresses_ms } = steps;
  const open = left.sockets + left.unacknowledged;
  const but = open === 0 ? '' : `; ${counted(open, 'flow')} could not be handed over`;
  return (
    `handed over in ${span(took_ms)}: ${span(settle_ms)} until everything was replicated, ` +
    `${span(splices_ms)} until the peer had taken over, ${span(let_go_ms)} until the addresses were ` +
    `gone from here, ${span(addresses_ms)} until they were there${but}`
  );
}

export function describeRehearsal(report: RehearsalReport): string[] {
  const { node, at, before, move } = report;
  const lines = [
    `${plain(node)}, ${plain(at)}: ${verdict(report)}`,
    ...before.problems.map((problem) => `  !! ${plain(problem)}`),
    ...(move?.failed ? [`  !! ${plain(move.failed)}`] : []),
    '',
    ...columns(describeBefore(before)),
  ];
  return move ? [...lines, '', ...describeMove(move)] : lines;
}

function verdict({ ok, move }: RehearsalReport): string {
  if (!move) return ok ? 'a takeover now would lose nothing' : 'a takeover now WOULD LOSE FLOWS';
  if (move.failed !== null) return 'the addresses HAVE NOT MOVED as they should';
  if (move.lost > 0) return `${counted(move.lost, 'flow')} LOST by the takeover`;
  return ok ? 'nothing lost by the takeover' : 'nothing lost this time, BUT NOT ALL WAS IN SYNC';
}

function describeBefore(before: SurveyReport): string[][] {
  const { addresses, splices, hot_standby, peers, verified, not_spliced, sockets } = before;
  const unfinished = Object.entries(not_spliced).map(([state, n]) => `${count(n)} ${plain(state)}`);
  return [
    ['addresses', addresses.map(plain).join(', ') || 'none here'],
    [
      'splices',
      `${count(splices)}; a peer ${hot_standby ? 'has them in its kernel already' : 'puts them into its kernel when it takes over'}`,
    ],
    ...peers.map((peer) => [
      'peer',
      `${plain(peer.name)}: ${peer.alive ? (peer.holds_all ? 'in sync' : 'NOT IN SYNC') : 'NOT ALIVE'}, ` +
        `${counted(peer.unacknowledged, 'record')} behind (${span(peer.lag_ms)}), ${verification(peer.name, verified)}`,
    ]),
    [
      'not replicated',
      `${unfinished.join(', ') || 'no splice'}; ${counted(sockets, 'connection')} in user space`,
    ],
  ];
}

function verification(name: string, verified: SurveyReport['verified']): string {
  const found = verified.find((one) => one.name === name);
  if (!found) return 'not verified';
  return `holds ${counted(found.records, 'splice')}, ${plain(found.outcome)} by digest`;
}

function describeMove(move: MoveReport): string[] {
  const { handover, kept, lost, lost_names, not_spliced, outages } = move;
  const left = Object.entries(not_spliced).map(
    ([state, n]) => `, ${count(n)} ${plain(state)} left here`,
  );
  const rows = [
    ['kept', `${count(kept)} of ${counted(kept + lost, 'splice')}${left.join('')}`],
    ...(handover ? [['took', describeHandover(handover)]] : []),
    ...outages.map((outage) => ['address', describeOutage(outage)]),
    [
      'live flows',
      move.stall_ms === null
        ? 'how long they stood still cannot be told from here'
        : `stood still for ${move.stall_ms === 0 ? 'no time: both nodes translated them' : `at most ${span(move.stall_ms)}`}`,
    ],
    [
      'packets',
      `${count(move.translated_here)} translated here after the addresses had gone, ${count(move.dropped_here)} dropped`,
    ],
  ];
  const names = lost_names.map((name) => `  lost: ${plain(name)}`);
  const more =
    lost > lost_names.length ? [`  ... and ${count(lost - lost_names.length)} more`] : [];
  const peer = handover?.peer ?? undefined;
  const back = handover
    ? [
        '',
        `to return: splicectl handover on ${peer === undefined ? 'the other node' : plain(peer)}`,
      ]
    : [];
  return [...columns(rows), ...names, ...more, ...back];
}

function describeOutage({ address, answered_ms, connected_ms, station }: OutageReport): string {
  if (answered_ms === null) return `${plain(address)}: NOBODY ANSWERED for it`;
  const connected =
    connected_ms === null
      ? 'no connection was tried or accepted'
      : `accepted a connection after ${span(connected_ms)}`;
  return `${plain(address)}: nobody's for ${span(answered_ms)}, then ${plain(station ?? '?')}; ${connected}`;
}
