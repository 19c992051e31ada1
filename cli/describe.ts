// A node's state in words, for somebody who has just been woken up: what is wrong comes first.
import type {
  FenceWay,
  PathStatus,
  PeerStatus,
  StatusResult,
  TakeoverReason,
  TakeoverStatus,
} from '../daemon/control/protocol.js';
import { columns, count, counted, plain, span } from './words.js';

export function describe(s: StatusResult): string[] {
  const { guard, internal, external } = s;
  const lines = [
    `${s.node}: ${s.role.toUpperCase()}, epoch ${s.epoch}, ${inSync(s)}`,
    ...s.warnings.map((warning) => `  !! ${plain(warning)}`),
    '',
    ...columns([
      ['role', `${ROLE_MEANS[s.role]}, for ${span(s.role_for_ms)}`],
      ['taken', describeTakeover(s.takeover)],
      ['fence', describeFence(s)],
      ['guard', describeGuard(guard)],
      ['serves', describeInterfaces(s.interfaces)],
      ['kernel', describeTable(s)],
      [
        'caches',
        `internal ${internal.limit === 0 ? 'not kept' : count(internal.entries)} (ours), external ${count(external.entries)} (of peers), ` +
          `at most ${count(external.limit)} each`,
      ],
      ['mode', describeMode(s)],
      ['link', describeLink(s.link)],
      [
        'events',
        s.events_lost === 0 ? 'none lost' : `${count(s.events_lost)} lost, then read anew`,
      ],
      [
        'daemon',
        `up ${span(s.uptime_ms)}${s.draining ? ', handing over: no new connections' : ''}`,
      ],
    ]),
    '',
  ];
  if (s.peers.length === 0) return [...lines, 'no peer has been heard'];
  const header = ['PEER', 'IN SYNC', 'LAG', 'LAST HEARD', 'ITS SPLICES HERE', 'WIRE', 'STATE'];
  return [...lines, ...columns([header, ...s.peers.map(describePeer)])];
}

const ROLE_MEANS: Readonly<Record<StatusResult['role'], string>> = {
  primary: 'primary: this node serves the virtual addresses',
  backup: 'backup: this node stands by to take the virtual addresses',
  fault: 'fault: this node does not take part; see the log of keepalived or ucarp',
  undecided: 'undecided: neither VRRP nor CARP has told yet',
};

const TAKEOVER_REASONS: Readonly<Record<TakeoverReason, string>> = {
  address: 'a virtual address came',
  command: 'splicectl commit',
  handover: 'a peer handed over',
  told: 'its script had said so before this start',
  'taken-back': 'the address stayed here',
};

function describeTakeover(takeover: TakeoverStatus | null): string {
  if (takeover === null) return 'none by this node since the daemon started';
  const { ago_ms, why, entries, refused, epoch, took_ms, nudged } = takeover;
  const but = refused === 0 ? '' : `, ${count(refused)} REFUSED by the kernel (see the log)`;
  const taken = `${counted(entries, 'splice')} in ${span(took_ms)}${but}`;
  const then =
    nudged && nudged.owed > 0 ? `; ${count(nudged.owed)} that stood still were nudged` : '';
  return `${span(ago_ms)} ago: ${TAKEOVER_REASONS[why] ?? plain(why)}; ${taken}, epoch ${epoch}${then}`;
}

const FENCE_WAYS: Readonly<Record<FenceWay, string>> = {
  yielded: 'yielded',
  command: 'was stopped by FenceCommand',
  silent: 'HAS NOT YIELDED',
  failed: 'HAS NOT YIELDED, and FenceCommand has failed',
  timeout: 'HAS NOT YIELDED, and FenceCommand has not ended in time',
  unable: 'COULD NOT BE ASKED to yield (older version)',
};

function describeFence({ yielded_to, takeover }: StatusResult): string {
  if (yielded_to !== null) {
    return `yielded to ${plain(yielded_to)}: this node does not answer for the virtual addresses`;
  }
  if (takeover === null) return 'nobody had to yield to this node';
  if (takeover.fence.length === 0) return 'no peer was alive when this node took over';
  return takeover.fence
    .map(({ peer, way }) => `${plain(peer)} ${FENCE_WAYS[way] ?? plain(way)}`)
    .join(', ');
}

/** A peer that is behind or silent comes first: nobody could take its part, whatever this node has. */
function inSync({ in_sync, peers }: StatusResult): string {
  if (peers.length === 0) return 'ALONE: nothing is replicated';
  const behind = peers.filter((peer) => !peer.in_sync).map((peer) => plain(peer.name));
  if (behind.length > 0) return `NOT IN SYNC with ${behind.join(', ')}`;
  return in_sync ? 'in sync' : 'NOT IN SYNC: this node does not have all that its peers own';
}

function describeGuard({ state, remaining_ms, held, addresses }: StatusResult['guard']): string {
  const so = {
    off: 'off',
    armed: `armed: packets of unknown connections to ${addresses.map(plain).join(', ')} get no reset`,
    releasing: `off in ${span(remaining_ms)}`,
  }[state];
  return held === 0 ? so : `${so}; ${counted(held, 'packet')} held back so far`;
}

function describeInterfaces({ served, unserved }: StatusResult['interfaces']): string {
  const without = unserved.map(({ name, why }) => `NOT ${plain(name)}: ${plain(why)}`);
  return [served.join(', ') || 'no interface', ...without].join('; ');
}

function describeLink({ seal_key, paths }: StatusResult['link']): string {
  const sealed = seal_key === null ? 'not sealed' : `sealed by key ${seal_key}`;
  return `${paths.map(describePath).join(', ')}; ${sealed}`;
}

function describePath({ name, in_use, fault, unheard_by }: PathStatus): string {
  const state = in_use ? 'in use' : 'good';
  if (fault !== null) return `${plain(name)} DOWN`;
  return unheard_by.length > 0
    ? `${plain(name)} NOT HEARD by ${unheard_by.map(plain).join(' and ')}`
    : `${plain(name)} ${state}`;
}

const MODE_MEANS: Readonly<Record<string, string>> = {
  FTFW: 'every change is acknowledged, and what is lost is said again',
  NOTRACK: 'every change is said once, and what is lost costs a bulk',
  ALARM: 'every change is said once, and every splice again and again',
};

function describeMode({ mode, peers }: StatusResult): string {
  const others = peers.filter((peer) => peer.mode !== mode);
  const but = others.map((peer) => `; BUT ${plain(peer.name)} is in ${plain(peer.mode)}`);
  return [`${mode}: ${MODE_MEANS[mode] ?? 'unknown to this splicectl'}`, ...but].join('');
}

function describeTable({ table, claims }: StatusResult): string {
  const { live, held, size } = table;
  if (claims) {
    const { left, total } = claims;
    return `${count(live)} splices of at most ${count(size)}${full(table)}; ${count(left)} of ${count(total)} taken over are still to be claimed`;
  }
  const standby = held > 0 ? `, ${count(held)} of them held for other nodes` : '';
  return `${count(live)} splices of at most ${count(size)}${full(table)}${standby}`;
}

function full({ live, size }: StatusResult['table']): string {
  const percent = size === 0 ? 0 : Math.floor((100 * live) / size);
  return percent >= 90 ? ` (${percent} % FULL: raise TableSize)` : ` (${percent} %)`;
}

function describePeer(peer: PeerStatus): string[] {
  const lag =
    peer.unacknowledged === 0
      ? 'none'
      : `${counted(peer.unacknowledged, 'record')}, ${span(peer.lag_ms)}`;
  return [
    plain(peer.name),
    peer.in_sync ? 'yes' : 'NO',
    lag,
    peer.last_heard_ms === null ? 'never' : `${span(peer.last_heard_ms)} ago`,
    count(peer.entries),
    `${peer.wire_version}`,
    plain(peer.state),
  ];
}
