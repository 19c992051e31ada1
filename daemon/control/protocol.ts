// The verbs of the control socket: what each takes and what it answers.
//
// A client connects, sends one JSON frame {v, verb, args} and reads: one hello frame {hello, node,
// nodes}, any number of record and JSON frames, and one last JSON frame {end: true, ok, ...}.
// When ok is false it holds {code, message}; when it is true, {result}.
import { ControlError } from './error.js';
import type { JsonObject } from './frame.js';

export const PROTOCOL_VERSION = 1;

/** First frame of each reply: who answers, and the names that stand for node ids in records. */
export interface Hello {
  readonly node: string;
  /** Decimal node id to name. */
  readonly nodes: Readonly<Record<string, string>>;
}

export const YES_NO = ['yes', 'no'] as const;
export type YesNo = (typeof YES_NO)[number];

export const CACHES = ['internal', 'external'] as const;
export type CacheName = (typeof CACHES)[number];
export const DUMPS = ['internal', 'external', 'kernel'] as const;
export type DumpName = (typeof DUMPS)[number];
export const STATS = ['network', 'cache', 'runtime', 'link', 'queue', 'kernel'] as const;
export type StatsName = (typeof STATS)[number];
export const ROLES = ['primary', 'backup', 'fault'] as const;
export type Role = (typeof ROLES)[number];

export type None = Record<string, never>;

/** What a commit made of the external cache. Records that the kernel refused are told by reason. */
export interface CommitResult {
  readonly committed: number;
  /** Hot standby: translated already, and to become this node's own in the background; else 0. */
  readonly claiming: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly epoch: number;
  readonly took_ms: number;
  /** What kept the peers that were alive from answering for the virtual addresses as well. */
  readonly fence: readonly FenceStatus[];
  /** A peer has taken over at the same time, by a stronger claim: this node does not answer. */
  readonly yielded_to: string | null;
}

export interface StatsSection {
  readonly name: StatsName;
  /** In the order in which they are shown; bigints of the kernel as decimal strings. */
  readonly values: Readonly<Record<string, number | string>>;
}

export interface PeerStatus {
  readonly name: string;
  readonly id: number;
  /** Of synchronisation, as it says. */
  readonly mode: string;
  /** The highest version of the wire that it speaks. */
  readonly wire_version: number;
  /** It holds all that this node owns, and this node all that it owns. */
  readonly in_sync: boolean;
  /** One or two words of the sync mode: "bulk under way", "silent", ... */
  readonly state: string;
  /** Records of this node that the peer has not acknowledged. */
  readonly unacknowledged: number;
  /** Age of the oldest of them; 0 when there is none. */
  readonly lag_ms: number;
  /** Since its last datagram; null: never. */
  readonly last_heard_ms: number | null;
  /** Entries of the external cache that it owns. */
  readonly entries: number;
}

/** Why a takeover began. */
export const TAKEOVER_REASONS = [
  'address', // a virtual address came to this node
  'command', // splicectl commit: a script, or an operator
  'told', // a script had said so before the daemon started
  'handover', // a peer asked for it, before it lets go of the addresses
  'taken-back', // a peer had taken flows, and the address stayed here
] as const;
export type TakeoverReason = (typeof TAKEOVER_REASONS)[number];

/** The last takeover of this node. */
export interface TakeoverStatus {
  readonly ago_ms: number;
  readonly why: TakeoverReason;
  readonly entries: number;
  /** Entries that the kernel refused. */
  readonly refused: number;
  readonly epoch: number;
  readonly took_ms: number;
  readonly fence: readonly FenceStatus[];
  /** null: nobody was nudged, or it is under way. */
  readonly nudged: NudgeStatus | null;
}

/** The ends of the flows were asked how they are; senders that waited for their timers were made to send. */
export interface NudgeStatus {
  readonly asked: number; // flows
  readonly busy: number; // of those, that their last owner had called busy
  readonly owed: number; // with data outstanding, one way or both
  readonly moved: number; // ... and that go on
  readonly unanswered: number; // an end has not answered in time
  readonly probes: number; // packets
  readonly errors: number; // packets
  readonly took_ms: number;
}

/** What a takeover would find. */
export interface SurveyReport {
  /** Virtual addresses that are on this node. */
  readonly addresses: readonly string[];
  /** That this node owns. */
  readonly splices: number;
  /** The peers' kernels hold them already. */
  readonly hot_standby: boolean;
  readonly peers: readonly {
    readonly name: string;
    readonly alive: boolean;
    readonly holds_all: boolean;
    readonly unacknowledged: number;
    readonly lag_ms: number;
  }[];
  readonly verified: readonly VerifiedPeer[];
  /** Entries that cannot be replicated yet, by state. */
  readonly not_spliced: Readonly<Record<string, number>>;
  /** Connections to the addresses that live in user space: they cannot be replicated at all. */
  readonly sockets: number;
  /** Sentences: what would be lost, and what to do. */
  readonly problems: readonly string[];
}

/** One address, from the moment when it was gone from this node; null: not within the time. */
export interface OutageReport {
  readonly address: string;
  readonly interface: string;
  /** Until another station answered for it by ARP or neighbour discovery. */
  readonly answered_ms: number | null;
  /** Until it accepted a TCP connection; null also where no port is known. */
  readonly connected_ms: number | null;
  /** The station's Ethernet address. */
  readonly station: string | null;
}

/** A move of the addresses, measured. */
export interface MoveReport {
  /** Why it did not succeed. */
  readonly failed: string | null;
  readonly handover: HandoverResult | null;
  /** Splices that the peer owns now. */
  readonly kept: number;
  /** Splices that nobody has taken, and up to 100 of them by name. */
  readonly lost: number;
  readonly lost_names: readonly string[];
  /** Left over here, by state. */
  readonly not_spliced: Readonly<Record<string, number>>;
  readonly outages: readonly OutageReport[];
  /** Packets that this node translated after the addresses were gone. */
  readonly translated_here: number;
  /** ... and packets to them that it dropped. */
  readonly dropped_here: number;
  /** How long a live flow can have stood still; null: not to be told from here. */
  readonly stall_ms: number | null;
}

export interface RehearsalReport {
  readonly node: string;
  readonly at: string; // ISO 8601
  readonly before: SurveyReport;
  /** null: nothing was moved. */
  readonly move: MoveReport | null;
  /** Nothing that was replicated is lost, and everything was. */
  readonly ok: boolean;
}

/** How the addresses were given to a peer. */
export interface HandoverResult {
  /** null: one of several, which VRRP chose. */
  readonly peer: string | null;
  /** Splices that it took over before the addresses moved; null: it did so when they had come. */
  readonly entries: number | null;
  /** What was not replicated when the addresses went. */
  readonly left: { readonly sockets: number; readonly unacknowledged: number };
  readonly took_ms: number;
  readonly steps: {
    readonly settle_ms: number;
    readonly splices_ms: number;
    readonly let_go_ms: number;
    readonly addresses_ms: number;
  };
}

/** Hot standby: entries that a takeover leaves to be made this node's own in the background. */
export interface ClaimsStatus {
  readonly total: number;
  readonly left: number;
}

/** One of the links between the nodes, as this node sends by it. */
export interface PathStatus {
  readonly name: string;
  readonly in_use: boolean;
  /** Why it carries nothing; null: it may well. */
  readonly fault: string | null;
  /** Live peers that hear nothing by it. */
  readonly unheard_by: readonly string[];
}

/** What one peer holds of this node's, compared by digests. */
export interface VerifiedPeer {
  readonly name: string;
  readonly outcome: VerifyOutcome;
  /** Records of this node's that it holds. */
  readonly records: number;
  /** Parts, of 4096, that differed, and of them those that do not any more. */
  readonly differed: number;
  readonly repaired: number;
}

export type VerifyOutcome =
  | 'equal'
  | 'repaired'
  | 'differs'
  | 'full'
  | 'unsure'
  | 'no-answer'
  | 'version'
  | 'uncached';

/** By what a peer was kept from answering for the virtual addresses as well. */
export const FENCE_WAYS = [
  'yielded', // it has said so
  'command', // FenceCommand has succeeded
  'silent', // not at all: it was alive and has not answered, and there is no FenceCommand
  'failed', // ... and FenceCommand has failed
  'timeout', // ... and FenceCommand has not ended in time
  'unable', // not at all: its version cannot be asked
] as const;
export type FenceWay = (typeof FENCE_WAYS)[number];

export interface FenceStatus {
  readonly peer: string;
  readonly way: FenceWay;
}

export interface StatusResult {
  readonly node: string;
  readonly id: number;
  readonly role: Role | 'undecided';
  /** It has been that for so long. */
  readonly role_for_ms: number;
  /** null: none since this start. */
  readonly takeover: TakeoverStatus | null;
  /** The peer that has taken over while this node has a virtual address, for which it does not answer. */
  readonly yielded_to: string | null;
  /** Of synchronisation: FTFW, NOTRACK or ALARM. */
  readonly mode: string;
  readonly epoch: number;
  readonly in_sync: boolean;
  readonly uptime_ms: number;
  readonly draining: boolean;
  readonly guard: {
    readonly state: 'off' | 'armed' | 'releasing';
    readonly remaining_ms: number;
    readonly held: number; // packets so far
    readonly addresses: readonly string[];
  };
  readonly interfaces: {
    readonly served: readonly string[];
    /** Configured, and tried again whenever an interface comes. */
    readonly unserved: readonly { readonly name: string; readonly why: string }[];
  };
  /** null: none are under way. */
  readonly claims: ClaimsStatus | null;
  /** Entries of the kernel, and how many of them are held for other owners (standby). */
  readonly table: { readonly live: number; readonly held: number; readonly size: number };
  /** A limit of 0: it is not kept (DisableInternalCache). */
  readonly internal: { readonly entries: number; readonly limit: number };
  readonly external: { readonly entries: number; readonly limit: number };
  readonly link: {
    /** The id of the key that seals; null: it is not sealed. */
    readonly seal_key: number | null;
    /** The preferred one first. */
    readonly paths: readonly PathStatus[];
  };
  readonly events_lost: number;
  readonly peers: readonly PeerStatus[];
  /** Sentences that tell the operator what is wrong and what to do; empty when all is well. */
  readonly warnings: readonly string[];
}

/** Each verb's arguments and the result of its last frame. */
export interface Verbs {
  /** `node`: only what this peer owned. `here` yes: not when the virtual addresses are elsewhere. */
  commit: { args: { node?: string; here?: YesNo }; result: CommitResult };
  /** Without `cache`: both. */
  flush: { args: { cache?: CacheName }; result: { internal: number; external: number } };
  'flush-kernel': { args: None; result: { removed: number } };
  /** Answers with frames of records; of `kernel`, with their counters. */
  dump: { args: { what: DumpName }; result: { records: number } };
  stop: { args: None; result: None };
  /** Without `what`: all sections. */
  stats: { args: { what?: StatsName }; result: { sections: readonly StatsSection[] } };
  /** null: there is no internal cache, and the others are told what the kernel holds. */
  resync: { args: None; result: { records: number | null } };
  request: { args: None; result: { peers: number } };
  /** null: as many as the kernel holds. */
  bulk: { args: None; result: { records: number | null } };
  /** `repair` yes: what differs is said again. Live peers only. */
  verify: { args: { repair?: YesNo }; result: { peers: readonly VerifiedPeer[] } };
  shorten: { args: None; result: { shortened: number } };
  /** Tells the daemon what VRRP or CARP has decided. It does not commit: that is its own verb. */
  role: { args: { role: Role }; result: None };
  /** JSON frames {progress: SENTENCE} while it waits. */
  handover: { args: None; result: HandoverResult };
  /** `moves` yes: hands over, and measures it; else only what it would find. Progress as in `handover`. */
  rehearse: { args: { moves: YesNo }; result: RehearsalReport };
  status: { args: None; result: StatusResult };
}
export type Verb = keyof Verbs;
export type Args<V extends Verb> = Verbs[V]['args'];
export type Result<V extends Verb> = Verbs[V]['result'];

/** A request that has been checked whole. */
export interface Request {
  readonly verb: Verb;
  readonly args: JsonObject;
}

interface Argument {
  readonly required?: true;
  readonly expected: string;
  readonly test: (value: string) => boolean;
}

function oneOf(choices: readonly string[], required?: true): Argument {
  const expected = `one of ${choices.join(', ')}`;
  const test = (value: string): boolean => choices.includes(value);
  return required ? { required, expected, test } : { expected, test };
}

/** Every argument is a string; a verb takes those of its row and no others. */
const ARGUMENTS: Readonly<Record<Verb, Readonly<Record<string, Argument>>>> = {
  commit: {
    node: {
      expected: 'the name of a node (1 to 63 letters, digits, ".", "_" or "-")',
      test: (value) => /^[A-Za-z0-9._-]{1,63}$/.test(value),
    },
    here: oneOf(YES_NO),
  },
  flush: { cache: oneOf(CACHES) },
  'flush-kernel': {},
  dump: { what: oneOf(DUMPS, true) },
  stop: {},
  stats: { what: oneOf(STATS) },
  resync: {},
  request: {},
  bulk: {},
  verify: { repair: oneOf(YES_NO) },
  shorten: {},
  role: { role: oneOf(ROLES, true) },
  handover: {},
  rehearse: { moves: oneOf(YES_NO, true) },
  status: {},
};

export const VERBS = Object.keys(ARGUMENTS) as readonly Verb[];

/** Checks all of a request before anything of it is done. Throws ControlError. */
export function checkRequest(frame: JsonObject): Request {
  if (frame.v !== PROTOCOL_VERSION) {
    throw new ControlError(
      'bad_version',
      `the client speaks version ${shown(frame.v)} of the control protocol and the daemon version ` +
        `${PROTOCOL_VERSION}: use the splicectl that came with this spliced, or restart spliced`,
    );
  }
  if (typeof frame.verb !== 'string' || !Object.hasOwn(ARGUMENTS, frame.verb)) {
    throw new ControlError(
      'bad_verb',
      `${shown(frame.verb)} is no verb of this daemon: expected one of ${VERBS.join(', ')}`,
    );
  }
  const verb = frame.verb as Verb;
  const args = frame.args ?? {};
  if (typeof args !== 'object' || Array.isArray(args)) {
    throw new ControlError('bad_args', `the arguments of ${verb} are no JSON object`);
  }
  checkArguments(verb, args as JsonObject);
  return { verb, args: args as JsonObject };
}

function checkArguments(verb: Verb, args: JsonObject): void {
  const known = ARGUMENTS[verb];
  for (const name of Object.keys(args)) {
    if (!Object.hasOwn(known, name)) {
      const expected = Object.keys(known).join(', ') || 'none';
      throw new ControlError(
        'bad_args',
        `${verb} has no argument ${shown(name)}: expected ${expected}`,
      );
    }
  }
  for (const [name, argument] of Object.entries(known)) {
    const value = Object.hasOwn(args, name) ? args[name] : undefined;
    if (value === undefined && !argument.required) continue;
    if (typeof value !== 'string' || !argument.test(value)) {
      throw new ControlError(
        'bad_args',
        `${name} of ${verb} cannot be ${shown(value)}: expected ${argument.expected}`,
      );
    }
  }
}

/** A foreign value inside a message: short, on one line, harmless to a terminal. */
function shown(value: unknown): string {
  // not as JSON: what is nested deeply enough would exhaust the stack
  if (typeof value === 'object' && value !== null)
    return Array.isArray(value) ? 'a list' : 'an object';
  const text = value === undefined ? 'missing' : JSON.stringify(value);
  const cut = text.length > 64 ? `${text.slice(0, 64)}...` : text;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
  return cut.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
}
