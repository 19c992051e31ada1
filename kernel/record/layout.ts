// Generated from record.h by kernel/generate-layout.ts. Change the header, then build.

export const RECORD_VERSION = 1;
export const PROBES_MAX = 3;
export const BATCH_ITEMS = 512;
export const BATCHES = 3;
export const SOL_SPLICE = 0x53504c43;
export const MARK_ALIGN = 0x53504e00;

/** struct splice_align: size and offsets in bytes. */
export const ALIGN_SIZE = 20;
export const AlignOffset = {
  address: 0,
  port: 16,
  options: 18,
  pad: 19,
} as const;

/** struct splice_batch: size and offsets in bytes. */
export const BATCH_SIZE = 79888;
export const BatchOffset = {
  op: 0,
  flags: 4,
  count: 8,
  done: 12,
  results: 16,
  records: 2064,
} as const;

/** struct splice_batch_item: size and offsets in bytes. */
export const BATCH_ITEM_SIZE = 272;
export const BatchItemOffset = {
  record: 0,
  live: 152,
  result: 264,
  slot: 268,
} as const;

/** struct splice_call: size and offsets in bytes. */
export const CALL_SIZE = 80;
export const CallOffset = {
  pending: 0,
  tuple: 8,
} as const;

/** struct splice_entry: size and offsets in bytes. */
export const ENTRY_SIZE = 264;
export const EntryOffset = {
  record: 0,
  live: 152,
} as const;

/** struct splice_event: size and offsets in bytes. */
export const EVENT_SIZE = 160;
export const EventOffset = {
  type: 0,
  lost: 4,
  record: 8,
} as const;

/** struct splice_leg_ref: size and offsets in bytes. */
export const LEG_REF_SIZE = 16;
export const LegRefOffset = {
  id: 0,
  slot: 8,
  leg: 12,
} as const;

/** struct splice_live: size and offsets in bytes. */
export const LIVE_SIZE = 112;
export const LiveOffset = {
  lastSeenNs: 0,
  timeoutMs: 8,
  shortened: 12,
  settled: 13,
  copied: 14,
  finKnown: 15,
  seen: 16,
  unproven: 18,
  probes: 19,
  mark: 20,
  changed: 21,
  deferredMs: 22,
  ownEnd: 24,
  localNext: 32,
  seenEnd: 40,
  seenAck: 48,
  seenWindow: 56,
  finEnd: 64,
  tsSent: 72,
  packets: 80,
  bytes: 96,
} as const;

/** struct splice_mailbox: size and offsets in bytes. */
export const MAILBOX_SIZE = 139296;
export const MailboxOffset = {
  op: 0,
  flags: 4,
  count: 8,
  cursor: 12,
  argument: 16,
  pad: 20,
  sinceNs: 24,
  items: 32,
} as const;

/** struct splice_record: size and offsets in bytes. */
export const RECORD_SIZE = 152;
export const RecordOffset = {
  id: 0,
  incarnation: 8,
  origin: 16,
  owner: 20,
  epoch: 24,
  remainingMs: 28,
  generation: 32,
  flags: 36,
  state: 38,
  tuple: 40,
  seqD: 112,
  tsvalD: 120,
  base: 128,
  wscaleIn: 136,
  wscaleOut: 138,
  idleMs: 140,
  mss: 144,
  options: 148,
  version: 149,
  reserved: 150,
} as const;

/** struct splice_service: size and offsets in bytes. */
export const SERVICE_SIZE = 36;
export const ServiceOffset = {
  vaddr: 0,
  raddr: 16,
  vport: 32,
  rport: 34,
} as const;

/** struct splice_snapshot: size and offsets in bytes. */
export const SNAPSHOT_SIZE = 48;
export const SnapshotOffset = {
  id: 0,
  tcpState: 8,
  rcvNxt: 12,
  copiedSeq: 16,
  sndNxt: 20,
  sndUna: 24,
  writeSeq: 28,
  mss: 32,
  sndWscale: 36,
  rcvWscale: 37,
  traits: 38,
  legState: 39,
  entryFlags: 40,
  pad: 42,
} as const;

/** struct splice_tunables: size and offsets in bytes. */
export const TUNABLES_SIZE = 120;
export const TunablesOffset = {
  incarnation: 0,
  nextId: 8,
  guardUntilNs: 16,
  objectId: 24,
  node: 32,
  epoch: 36,
  tableSize: 40,
  timeoutMs: 44,
  mark: 76,
  sweepMs: 80,
  draining: 84,
  frozen: 88,
  debugLevel: 92,
  deferMs: 96,
  standbyMs: 100,
  answerUntilNs: 104,
  takenNs: 112,
} as const;

/** struct splice_tuple: size and offsets in bytes. */
export const TUPLE_SIZE = 36;
export const TupleOffset = {
  saddr: 0,
  daddr: 16,
  sport: 32,
  dport: 34,
} as const;

/** enum splice_counter. */
export const Counter = {
  translated: 0,
  translated_bytes: 1,
  missed: 2,
  created: 3,
  committed: 4,
  inserted: 5,
  destroyed: 6,
  expired: 7,
  aborted: 8,
  events: 9,
  events_lost: 10,
  table_full: 11,
  reclaimed: 12,
  local_copy: 13,
  clamped: 14,
  guard_held: 15,
  drain_syn: 16,
  hold_ack: 17,
  hold_fin: 18,
  old_data: 19,
  local_rst: 20,
  local_fin: 21,
  local_stray: 22,
  rst_relayed: 23,
  rst_refused: 24,
  fin_refused: 25,
  syn_probed: 26,
  syn_reused: 27,
  port_reused: 28,
  malformed_passed: 29,
  drop_malformed: 30,
  drop_ttl: 31,
  drop_mtu: 32,
  drop_route: 33,
  drop_store: 34,
  drop_fragment: 35,
  drop_ecn: 36,
  fragments: 37,
  ip_options: 38,
  vlan_passed: 39,
  gso_resized: 40,
  trimmed: 41,
  icmp_relayed: 42,
  icmp_refused: 43,
  icmp_too_big: 44,
  icmp_ttl: 45,
  icmp_limited: 46,
  late_reset: 47,
  syn_aligned: 48,
  probed: 49,
  probe_expired: 50,
  adopted: 51,
  standby: 52,
  standby_taken: 53,
  standby_yielded: 54,
  deferred: 55,
  defer_expired: 56,
  fenced_resolution: 57,
  fenced_announcement: 58,
  fenced_probe: 59,
  fenced_unspliced: 60,
  fenced_sent: 61,
  demoted: 62,
  standby_expired: 63,
} as const;
export type CounterName = keyof typeof Counter;

/** enum splice_event_type. */
export const EventType = {
  NEW: 1,
  UPDATE: 2,
  DESTROY: 3,
} as const;
export type EventTypeName = keyof typeof EventType;

/** enum splice_flag. */
export const Flag = {
  FIN0: 1,
  FIN1: 2,
  FINACK0: 4,
  FINACK1: 8,
  ACKED0: 16,
  ACKED1: 32,
  OPEN0: 64,
  OPEN1: 128,
  STANDBY: 256,
  DEFER0: 512,
  DEFER1: 1024,
} as const;
export type FlagName = keyof typeof Flag;

/** enum splice_look. */
export const Look = {
  GONE: 1,
  HEARD0: 2,
  HEARD1: 4,
  MOVED0: 8,
  MOVED1: 16,
  OWED0: 32,
  OWED1: 64,
} as const;
export type LookName = keyof typeof Look;

/** enum splice_op. */
export const Operation = {
  INIT: 1,
  INSERT: 2,
  DELETE: 3,
  DUMP: 4,
  FLUSH: 5,
  SHORTEN: 6,
  ADOPT: 7,
  PROBE: 8,
  CONFIRM: 9,
  DEMOTE: 10,
  BUSY: 11,
  LOOK: 12,
} as const;
export type OperationName = keyof typeof Operation;

/** enum splice_op_flag. */
export const OperationFlag = {
  EVENTS: 1,
  OWNED: 2,
  LEFT: 4,
  RECENT: 8,
  JOIN: 16,
  ANNOUNCED: 32,
  HELD: 64,
  STALLED: 128,
} as const;
export type OperationFlagName = keyof typeof OperationFlag;

/** enum splice_op_result. */
export const Result = {
  OK: 0,
  NOT_FOUND: 1,
  EXISTS: 2,
  TUPLE_TAKEN: 3,
  TABLE_FULL: 4,
  INVALID: 5,
} as const;
export type ResultName = keyof typeof Result;

/** enum splice_option. */
export const Option = {
  TS0: 1,
  TS1: 2,
  SACK0: 4,
  SACK1: 8,
  ECN0: 16,
  ECN1: 32,
} as const;
export type OptionName = keyof typeof Option;

/** enum splice_sockopt. */
export const SocketOption = {
  SNAPSHOT: 1,
  RESERVE: 2,
  HOLD: 3,
  SETTLE: 4,
  ACTIVATE: 5,
  COMMIT: 6,
  ABORT: 7,
  SERVICE: 8,
  COUNT: 9,
  ALIGN: 10,
} as const;
export type SocketOptionName = keyof typeof SocketOption;

/** enum splice_state. */
export const State = {
  CLOSE: 0,
  ESTABLISHED: 1,
  PRE_SPLICED: 2,
  SPLICED: 3,
  FIN_RELAYED: 4,
  SHUTDOWN: 5,
  TIMEWAIT: 6,
} as const;
export type StateName = keyof typeof State;

/** enum splice_timeout. */
export const Timeout = {
  close: 0,
  synsent: 1,
  synack: 2,
  established: 3,
  finwait: 4,
  lastack: 5,
  timewait: 6,
  probe: 7,
} as const;
export type TimeoutName = keyof typeof Timeout;

/** enum splice_trait. */
export const Trait = {
  TIMESTAMPS: 1,
  SACK: 2,
  OUT_OF_ORDER: 4,
  SIGNED: 8,
  MPTCP: 16,
  SYN_DATA: 32,
  ECN: 64,
} as const;
export type TraitName = keyof typeof Trait;
