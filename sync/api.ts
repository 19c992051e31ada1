/**
 * What the daemon sees of the replication. engine.ts implements it: `new Sync(options)`.
 *
 * The daemon feeds it kernel events (`local`) and datagrams (`receive`), and it calls back when a
 * splice is this kernel's no more (`demoted`, `ended`). All calls are synchronous and made from one thread.
 */
import type { Cache, CacheStats } from './cache.js';
import type { Clock, Link, LinkStats, Random } from './ports.js';
import type { Role, RoleName } from './wire.js';

export type { Role, RoleName } from './wire.js';

export interface SyncOptions {
  /** This node: id as nodeId(name) gives it. */
  readonly node: number;
  readonly name: string;
  /** Of this start of the daemon: microseconds of Unix time. Not the one of the kernel table. */
  readonly incarnation: bigint;
  /** The highest that the kernel's table knows, so that none is used twice. Default 0. */
  readonly epoch?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly link: Link;
  readonly events: SyncEvents;
  /** FTFW (or NACK, its old name), NOTRACK or ALARM. Default FTFW. */
  readonly mode?: string;
  /** Records in the internal cache, and in all external caches together. Default 1048576. */
  readonly hashLimit?: number;
  /** Identities kept until every live peer has acknowledged them. Default 131072. */
  readonly resendQueueSize?: number;
  /** Records after which a receiver acknowledges at once (else within ackDelayMs). Default 300. */
  readonly ackWindowSize?: number;
  /** ALARM: every entry is said again within this. Default 15000. */
  readonly refreshMs?: number;
  /** ALARM: what a peer has not spoken of for so long leaves its external cache. Default 180000. */
  readonly cacheTimeoutMs?: number;
  /** NOTRACK: what this node owns is not kept; SyncEvents.readKernel has it. Default false. */
  readonly disableInternalCache?: boolean;
  /** FTFW, NOTRACK: call SyncEvents.standby and standbyGone. Default false. */
  readonly disableExternalCache?: boolean;
  /** FTFW: call SyncEvents.replicated. Default false. */
  readonly defer?: boolean;
  /** Ask the others for all that they own at the start. Default true. */
  readonly startupResync?: boolean;
  /** Without an answer for so long, this node is alone, and in sync. Default 2000. */
  readonly startupMs?: number;
  /** Between two keep-alives. Default 1000. */
  readonly helloMs?: number;
  /** A peer that has not been heard for so long is dead. Default 3500. */
  readonly deadAfterMs?: number;
  /** Between two verifications of what the others hold; 0: none. Default 60000, in ALARM none. */
  readonly verifyMs?: number;
  /** Highest version of the wire that this node speaks. Default: the newest. */
  readonly versionMax?: number;
  /** This node had yielded when its last daemon ended, and is silent since. Default false. */
  readonly yielded?: boolean;
}

/** Called back from within the calls of SyncEngine, and from timers. */
export interface SyncEvents {
  /**
   * These splices (n × 152 bytes, the caller's to keep) belong to another node now, by the claim (epoch,
   * owner) of each record: the kernel shall hold them for it. They have left the internal cache already.
   */
  demoted(records: Uint8Array): void;
  /** These have ended there: out of the kernel, without events. */
  ended(records: Uint8Array): void;
  /** `inSync` of the engine has changed. */
  syncChanged(inSync: boolean): void;
  /** A peer has come, gone, come back, or is in sync or not any more. */
  peerChanged(peer: PeerInfo, change: PeerChange): void;
  /** The highest epoch seen has risen: the datapath shall give it to new splices. */
  epochChanged(epoch: number): void;
  /**
   * DisableExternalCache: peers own these (n × 152 bytes, n up to 512, valid during the call), new or
   * changed: this kernel shall hold them as standby entries. Called at the end of the call that caused
   * it or a turn later, after `demoted` and `ended`.
   */
  standby?(records: Uint8Array): void;
  /** They do not own these any more: out of the kernel, without events. Not what was committed. */
  standbyGone?(records: Uint8Array): void;
  /**
   * Defer: these splices (as their NEW event had them, n up to 512, valid during the call) are held by
   * one live peer of the same mode at least; or there is none, and nothing to wait for.
   */
  replicated?(records: Uint8Array): void;
  /**
   * A peer that has the addresses asks this node to take over before they move, or has let go of them.
   * `answer` is to be called once: the peer waits for it.
   */
  offered?(peer: PeerInfo, what: OfferWhat, answer: (taken: OfferTaken) => void): void;
  /** DisableInternalCache: the kernel's table, in chunks of n × 152 bytes, as Table.dump() gives it. */
  readKernel?(): Iterable<Uint8Array>;
  /**
   * A peer has taken over: this node stops answering for the virtual addresses before the call returns,
   * since the peer is told so after it.
   */
  yield?(to: FencedPeer, epoch: number): void;
  /**
   * This node has yielded and holds an address, and nobody whom it hears stands for the addresses any
   * more: it shall take over.
   */
  unclaimed?(): void;
  /** A fallback or a loss, said in one sentence. Repeated at most once a second for each code. */
  notice(code: NoticeCode, message: string): void;
}

/** First the splices, while this node has the addresses; then those, when it has let them go. */
export type OfferWhat = 'splices' | 'addresses';

/** Why a peer does not take over what it was offered. */
export type OfferRefusal = 'failed' | 'busy' | 'not-in-sync' | 'fault' | 'has-address';

export type OfferTaken =
  | { readonly outcome: 'taken'; readonly entries: number; readonly epoch: number }
  | { readonly outcome: 'refused'; readonly why: OfferRefusal };

/** `no-answer`: it lives, and has not answered for 5 s. */
export type OfferAnswer = OfferTaken | { readonly outcome: 'no-answer' | 'dead' };

export type PeerChange = 'new' | 'restarted' | 'alive' | 'dead' | 'in-sync' | 'out-of-sync';

export type NoticeCode =
  | 'lost-for-good' // a peer no longer has what was lost: a bulk has been requested
  | 'resend-overflow' // the resend queue is full: a live peer will need a bulk
  | 'cache-full' // HashLimit reached: records are not kept
  | 'path-changed' // another path of the link is in use: the last one failed, or the preferred one is good again
  | 'versions-apart' // a peer speaks no version that all others do
  | 'verify-differs' // a peer holds something else than this node owns
  | 'verify-repaired' // ... and does not any more
  | 'twin' // another node uses the same NodeName
  | 'link-overflow' // the link did not take a datagram: as good as lost
  | 'mode-differs' // a peer is in another mode of synchronisation
  | 'recovered' // what was lost or has overflowed has been made good
  | 'incarnation-raised'; // the clock went back between two starts: the incarnation was corrected

export type VerifyOutcome =
  | 'equal'
  | 'repaired' // it differed, and does not any more
  | 'differs'
  | 'full' // it differs, since the peer has no room
  | 'unsure' // the peer could not tell in time: changes of it, or of this node, were under way
  | 'no-answer'
  | 'version' // the peer does not speak a version of the wire that knows digests
  | 'uncached'; // DisableInternalCache: there is nothing here to compare with

export interface VerifiedPeer {
  readonly node: number;
  readonly name: string;
  /** Records of this node that the peer holds. */
  readonly records: number;
  /** Parts, of 4096 by identity, that differed. */
  readonly differed: number;
  /** ... and that were made equal. */
  readonly repaired: number;
  readonly outcome: VerifyOutcome;
}

/** What the daemon knows of this node's part: see SyncEngine.place. */
export interface Standing {
  readonly role: RoleName;
  /** A virtual address is here; where nobody has said which those are: this node is primary. */
  readonly holds: boolean;
}

export interface FencedPeer {
  readonly node: number;
  readonly name: string;
}

/** What came of asking the others to yield. */
export interface FenceOutcome {
  /** This node has yielded itself, to this one. */
  readonly beaten: number | undefined;
  readonly answered: readonly FencedPeer[];
  /** They were alive when they were asked. */
  readonly silent: readonly FencedPeer[];
  /** They speak a version that does not know the question. */
  readonly unable: readonly FencedPeer[];
}

export interface FenceInfo {
  /** This node answers for the virtual addresses, or is about to. */
  readonly stands: boolean;
  /** Of the takeover by which it does; 0: of none. */
  readonly epoch: number;
  /** It holds an address and does not answer for it, for this node's takeover. */
  readonly yieldedTo: { readonly node: number; readonly epoch: number } | undefined;
  /** Node whose claim has been stronger than this node's last one. */
  readonly beatenBy: number | undefined;
}

export interface PeerInfo {
  readonly node: number;
  /** Its NodeName, or its id in hexadecimal while it has not said it yet. */
  readonly name: string;
  /** Of synchronisation: FTFW, NOTRACK, ALARM, or what a later version may have. */
  readonly mode: string;
  /** The highest of the wire that it speaks. */
  readonly version: number;
  readonly incarnation: bigint;
  /** Heard within deadAfterMs. */
  readonly alive: boolean;
  /** The external cache of this peer is complete. */
  readonly inSync: boolean;
  /** The peer has said that it holds all that this node owns. */
  readonly holdsAll: boolean;
  readonly lastHeardMs: number;
  /** Datagrams of its that are known to be missing here. */
  readonly missing: number;
  /** Records of ours that it has not acknowledged yet (an upper bound: changes count). */
  readonly unacknowledged: number;
  /** Age of the oldest of them: how far the peer is behind. 0 when there is none. */
  readonly lagMs: number;
  /** Records in its external cache. */
  readonly records: number;
  /** What it says that it stands for; undefined: its version does not say it. */
  readonly place: Role | undefined;
}

/** One path of the link, as this node sends by it. */
export interface PathInfo {
  /** "multicast eth2". */
  readonly name: string;
  /** What this node says goes by it. */
  readonly inUse: boolean;
  /** Why it carries nothing, as far as is known here. */
  readonly fault: string | undefined;
  /** Live peers that hear nothing by it. */
  readonly unheardBy: readonly string[];
}

export interface SyncStats {
  readonly cache: {
    readonly internal: CacheStats;
    /** By node id in hexadecimal. */
    readonly external: Readonly<Record<string, CacheStats>>;
    readonly tombstones: Readonly<Record<string, number>>;
  };
  readonly link: LinkStats;
  readonly queue: Readonly<Record<string, number>>;
  /** What was sent and received, and each kind of rejection, by name. */
  readonly network: Readonly<Record<string, number>>;
  /** What became of ownership: commits, demotions, stale and weaker claims, by name. */
  readonly ownership: Readonly<Record<string, number>>;
}

export interface SyncEngine {
  /** What this node owns. */
  readonly internal: Cache;
  /** What each peer says that it owns, by node id. */
  readonly external: ReadonlyMap<number, Cache>;
  readonly mode: string;
  /**
   * A complete bulk has been received from every live peer; or nobody answered in startupMs. A
   * repair that ends within startupMs does not withdraw it, so that VRRP does not flap.
   */
  readonly inSync: boolean;
  /** Highest epoch seen anywhere. */
  readonly epoch: number;

  /** Say hello, and ask for bulks. */
  start(): void;
  /** Send what waits, then nothing any more; timers end. */
  stop(): void;

  /** Say hello now: another node hears this one only from now on (a sealed link). */
  greet(): void;
  /** A datagram that has come by this path of the link. Whatever it is, nothing is thrown. */
  receive(datagram: Uint8Array, path?: number): void;
  /** n struct splice_event of the kernel's ring, in their order. */
  local(events: Uint8Array): void;

  /**
   * The internal cache anew from the kernel: begin, hand over each chunk of the dump in the turn in
   * which it was read (else an entry that ended in between would rise again), end. Entries that the
   * kernel does not have are withdrawn at the end; what changed is announced.
   * @param withdraw false where that an entry is not in the kernel does not say that it has ended
   */
  resyncBegin(): void;
  resyncRecords(records: Uint8Array): void;
  /** Returns what changed. */
  resyncEnd(withdraw?: boolean): { inserted: number; updated: number; deleted: number };

  /** Whenever it has changed: what this node is. The others are told. */
  place(standing: Standing): void;
  /**
   * A takeover begins: every node is asked to yield, again and again until `settle` is done. Returns its
   * epoch, which is above all that were seen. Nothing is waited for.
   */
  claim(): number;
  /**
   * `done` is called once: when every live peer that knows the question has yielded, when this node has
   * yielded itself, or timeoutMs after the claim if that is later than now.
   */
  settle(timeoutMs: number, done: (outcome: FenceOutcome) => void): void;
  /** The takeover has come to its end: this node answers from here on. Nothing, where it has yielded. */
  stand(): void;
  fence(): FenceInfo;

  /**
   * What a commit would insert into the kernel: chunks of at most 512 × 152 bytes, owned by this
   * node, under the epoch of the claim, or one above the highest seen. Insert each chunk without events and hand it
   * back to `committed` with the results, in the same turn; its memory is the plan's again then.
   * @param node only what this peer owns; default all
   * @param timeoutMs above 0: what remains to each, whatever its owner has said of it
   */
  plan(node?: number, timeoutMs?: number): Generator<Uint8Array, void, void>;
  /**
   * Of a chunk of the kernel's table (n × 152 bytes, as Table.dump() gives it): what it holds for nodes that are
   * not there, and that no cache knows. To be inserted where it stands, and handed to `committed`. For a node
   * that has taken over, and was started anew since.
   */
  orphans(records: Uint8Array): Uint8Array;
  /** Results as Table.insert gives them (enum splice_op_result). Returns how many are ours now. */
  committed(records: Uint8Array, results: Uint32Array): number;

  /**
   * Tell the peers which flows of this node have data under way (n × 152 bytes): all of them, each time.
   * Said when it differs from the last time, or that was seconds ago; lost, it is not repaired.
   */
  sayBusy(records: Uint8Array): void;
  /** Records of the peers (n × 152 bytes) whose owners have called them so last. Empty once they are ours. */
  busy(): Uint8Array;

  /** Ask one node, or all, for all that it owns. */
  request(node?: number): void;
  /** Send all that this node owns; what the others hold beyond that, they drop. */
  bulk(): void;
  /**
   * Empty caches here. The peers are not told: they keep their copies until a resync and a bulk
   * reconcile. After `flush('external')` this node is not in sync until it requests.
   */
  flush(which: 'internal' | 'external' | 'both'): void;

  /**
   * Compare what each live peer holds with what this node owns, by digests; where it differs, and
   * `repair` is set, say that part again. `done` is called once, also when nobody answers: within a
   * minute, as a rule within some milliseconds.
   */
  verify(repair: boolean, done: (peers: VerifiedPeer[]) => void): void;

  /**
   * Ask a peer to take over what this node has. `done` is called once: when its kernel has all that this
   * node owns, or when it has the addresses; or with why that will not be.
   * @returns ends it without an answer
   */
  offer(node: number, what: OfferWhat, done: (answer: OfferAnswer) => void): () => void;

  peers(): PeerInfo[];
  /** The preferred one first. */
  paths(): PathInfo[];
  /**
   * Changes of records that some live peer of the same mode has not acknowledged (an upper bound; 0
   * means none). With no such peer: the size of the internal cache.
   */
  unacknowledged(): number;
  /**
   * Does every live peer of the same mode, and at least one, hold the present state of this record of
   * ours?
   */
  acknowledged(record: Uint8Array): boolean;
  stats(): SyncStats;
}
