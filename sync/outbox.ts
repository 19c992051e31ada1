/**
 * What this node says: items are packed into the datagram under way in the order in which they
 * happen, and leave when it is full or when whoever filled it calls flush, which is at the end of
 * the same turn. No queue of its own: what the link cannot take is as good as lost, and repaired.
 */
import type { Cache } from './cache.js';
import { counts } from './counts.js';
import { IDENTITY_SIZE, Identity } from './identity.js';
import type { Paths } from './paths.js';
import type { Link } from './ports.js';
import type { Claim } from './tombstones.js';
import {
  ACTIVE_HASH,
  compressible,
  DIGEST_SUM,
  END_BUCKETS,
  GONE_EPOCH,
  GONE_OWNER,
  HELLO_VERSION,
  type Header,
  HeaderFlag,
  ROUND_BUCKETS,
  Segment,
  Type,
  Writer,
  writeU64,
} from './wire.js';

/** Of what is not written in the version that all speak: whoever can read it shall, without the others. */
const VERSIONS: Readonly<Record<number, number>> = {
  [Type.HELLO]: HELLO_VERSION,
  [Type.YIELD]: 2,
  [Type.YIELDED]: 2,
};

/** What a mode keeps of what has been sent. */
export interface Retention {
  /**
   * Lowest sequence that can still be repaired, when `sequence` is the last that was sent; `carried`:
   * by the datagram that says so.
   */
  oldest(sequence: number, carried: boolean): number;
  /** The datagram under way speaks of this splice (or of a bulk's end: origin 0). */
  keep(key: Identity): void;
  /** It has left. `repairs`: earlier ones that it stands in for. */
  sent(sequence: number, repairs: readonly number[]): void;
}

export interface Sender {
  readonly node: number;
  readonly link: Link;
  /** Of datagrams that are not sealed. */
  readonly checksums: boolean;
  now(): number;
  incarnation(): number;
  epoch(): number;
  readonly paths: Paths;
  /** The version to write, HELLO aside. */
  version(): number;
  /** The link has not taken a datagram: it is as good as lost. */
  refused(): void;
}

export class Outbox {
  readonly #sender: Sender;
  readonly #internal: Cache;
  readonly #retention: Retention;
  readonly #data: Writer;
  readonly #control: Writer;
  readonly #key = new Identity();
  /** That the datagram under way is written in. */
  #version = 0;
  /** When it was begun: it leaves in the same turn. */
  #now = 0;
  #sequence = 0;
  #repairs: number[] = [];
  /** First datagram that carries content of the repair under way. */
  #repairFrom = 0;
  #continued = false;
  #reportWanted = false;
  readonly counts = counts(
    'tx_datagrams',
    'tx_octets',
    'tx_records',
    'tx_gone',
    'tx_repairs',
    'tx_hello',
    'tx_data',
    'tx_report',
    'tx_request',
    'tx_verdict',
    'tx_yield',
    'tx_yielded',
    'tx_offer',
    'tx_taken',
    'tx_refused',
    'tx_version_1',
    'tx_version_2',
  );

  constructor(sender: Sender, internal: Cache, retention: Retention) {
    this.#sender = sender;
    this.#internal = internal;
    this.#retention = retention;
    const checksums = sender.checksums && !sender.link.sealed;
    this.#data = new Writer(sender.link.mtu, checksums);
    this.#control = new Writer(sender.link.mtu, checksums);
  }

  /** Highest sequence that has been sent. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Say the present state of a record of ours. */
  record(slot: number): void {
    if (!this.#compact(slot)) {
      const at = this.#room(Segment.RECORD);
      this.#internal.render(slot, this.#data.view, at, this.#now);
    }
    this.#internal.setSequence(slot, this.#sequence + 1, 0);
    this.#retention.keep(this.#internal.identity(slot, this.#key));
    this.counts.tx_records++;
  }

  /** Say that this node does not own a splice (any more); and the claim under which it has ended. */
  gone(key: Identity, end: Claim | undefined): void {
    const at = this.#room(Segment.GONE);
    key.write(this.#data.view, at);
    this.#data.view.setUint32(at + GONE_EPOCH, end?.epoch ?? 0, true);
    this.#data.view.setUint32(at + GONE_OWNER, end?.owner ?? 0, true);
    this.#retention.keep(key);
    this.counts.tx_gone++;
  }

  /** Say that all we own has been said since the datagram `first`. */
  bulkEnd(first: number, listed: number): void {
    const at = this.#room(Segment.BULK_END);
    writeU64(this.#data.view, at, first);
    writeU64(this.#data.view, at + 8, listed);
    // origin 0 is nobody's: the end of a bulk is kept, and repaired, like a splice
    this.#retention.keep(this.#key.load(endIdentity(first, listed), 0));
  }

  /** Say the end of a bulk, or of some buckets, once more, from what was kept of it. */
  endAgain(key: Identity): void {
    const first = key.idHigh * 0x100000000 + key.idLow;
    const what = key.incarnationHigh * 0x100000000 + key.incarnationLow;
    if (what < OF_BUCKETS) this.bulkEnd(first, what);
    else this.bucketEnd(first, key.incarnationLow & 0xffff, key.incarnationLow >>> 16);
  }

  /** Say the digest of some buckets of what we own: not kept, since it is asked again if need be. */
  digest(round: number, first: number, buckets: number, low: number, high: number): void {
    const at = this.#room(Segment.DIGEST);
    const { view } = this.#data;
    view.setUint32(at, round, true);
    view.setUint16(at + ROUND_BUCKETS, first, true);
    view.setUint16(at + ROUND_BUCKETS + 2, buckets, true);
    view.setUint32(at + DIGEST_SUM, low, true);
    view.setUint32(at + DIGEST_SUM + 4, high, true);
  }

  /** Say that all records of some buckets have been said since the datagram `from`. */
  bucketEnd(from: number, first: number, buckets: number): void {
    const at = this.#room(Segment.BUCKET_END);
    const { view } = this.#data;
    writeU64(view, at, from);
    view.setUint16(at + END_BUCKETS, first, true);
    view.setUint16(at + END_BUCKETS + 2, buckets, true);
    view.setUint32(at + END_BUCKETS + 4, 0, true);
    const what = OF_BUCKETS + buckets * 0x10000 + first;
    this.#retention.keep(this.#key.load(endIdentity(from, what), 0));
  }

  /** Say that a flow is busy: a hint, which is not kept. */
  active(statement: number, hash: number): void {
    const at = this.#room(Segment.ACTIVE);
    this.#data.view.setUint32(at, statement, true);
    this.#data.view.setUint32(at + ACTIVE_HASH, hash, true);
  }

  /** Whoever gets the datagram under way (or the next one) shall report at once. */
  wantReport(): void {
    this.#reportWanted = true;
  }

  /** What follows is the present state of what a lost datagram spoke of. */
  beginRepair(): void {
    this.#repairFrom = this.#sequence + 1;
  }

  /** It is complete: from here on, these datagrams need not come any more. */
  endRepair(repaired: readonly number[]): void {
    for (const sequence of repaired) {
      const at = this.#room(Segment.REPAIRS);
      writeU64(this.#data.view, at, sequence);
      this.#repairs.push(sequence);
      if (this.#repairFrom !== this.#sequence + 1) this.#continued = true;
      this.counts.tx_repairs++;
    }
  }

  /** Send the datagram under way, if there is anything in it. */
  flush(): void {
    if (this.#data.empty) return;
    const sequence = ++this.#sequence;
    const repairs = this.#repairs;
    this.#repairs = [];
    const flags =
      (this.#continued ? HeaderFlag.CONTINUED : 0) |
      (this.#reportWanted ? HeaderFlag.REPORT_WANTED : 0);
    this.#continued = false;
    this.#reportWanted = false;
    this.#retention.sent(sequence, repairs);
    this.counts.tx_data++;
    this.#send(this.#data, { type: Type.DATA, flags, version: this.#version });
  }

  /**
   * A datagram outside of the stream, to one node or (receiver 0) to all.
   * @param path to go by, whichever is in use
   */
  control(
    type: number,
    fields: Partial<Header>,
    fill?: (writer: Writer) => void,
    path?: number,
  ): void {
    this.flush();
    fill?.(this.#control);
    if (type === Type.HELLO) this.counts.tx_hello++;
    else if (type === Type.REPORT) this.counts.tx_report++;
    else if (type === Type.VERDICT) this.counts.tx_verdict++;
    else if (type === Type.YIELD) this.counts.tx_yield++;
    else if (type === Type.YIELDED) this.counts.tx_yielded++;
    else if (type === Type.OFFER) this.counts.tx_offer++;
    else if (type === Type.TAKEN) this.counts.tx_taken++;
    else this.counts.tx_request++;
    const version = VERSIONS[type] ?? this.#sender.version();
    this.#send(this.#control, { ...fields, type, version }, path);
  }

  #send(
    writer: Writer,
    fields: Partial<Header> & { type: number; version: number },
    path?: number,
  ): void {
    const datagram = writer.finish({
      type: fields.type,
      version: fields.version,
      flags: fields.flags ?? 0,
      receiver: fields.receiver ?? 0,
      receiverIncarnation: fields.receiverIncarnation ?? 0,
      ack: fields.ack ?? 0,
      sender: this.#sender.node,
      incarnation: this.#sender.incarnation(),
      sequence: this.#sequence,
      oldest: this.#retention.oldest(this.#sequence, fields.type === Type.DATA),
      epoch: this.#sender.epoch(),
    });
    const { link } = this.#sender;
    if (path === undefined ? this.#byPathsInUse(datagram) : link.send(datagram, path)) {
      this.counts.tx_datagrams++;
      this.counts.tx_octets += datagram.length;
      this.counts[`tx_version_${fields.version as 1 | 2}`]++;
    } else {
      this.counts.tx_refused++;
      // a HELLO by one of several paths says nothing of the others
      if (path === undefined) this.#sender.refused();
    }
  }

  /** One that has just gone down is left for another one. False: nothing takes it. */
  #byPathsInUse(datagram: Uint8Array): boolean {
    const { link, paths } = this.#sender;
    const { inUse } = paths;
    let taken = false;
    for (const path of inUse) {
      if (link.send(datagram, path)) {
        taken = true;
        continue;
      }
      for (const other of paths.failed(path)) {
        if (!inUse.includes(other) && link.send(datagram, other)) taken = true;
      }
    }
    return taken;
  }

  /** False: the version or the record does not allow it. */
  #compact(slot: number): boolean {
    if (this.#begun() < 2) return false;
    const { words } = this.#internal;
    const at = this.#internal.wordsAt(slot);
    if (!compressible(words, at, this.#sender.node)) return false;
    const age = this.#internal.age(slot, this.#now);
    if (this.#data.compact(words, at, age)) return true;
    this.flush();
    this.#begun();
    return this.#data.compact(words, at, age);
  }

  #room(type: number): number {
    if (!this.#data.fits(type)) this.flush();
    this.#begun();
    return this.#data.item(type);
  }

  /** The version of the datagram under way: it is chosen when the datagram begins. */
  #begun(): number {
    if (this.#data.empty) {
      this.#version = this.#sender.version();
      this.#now = this.#sender.now();
    }
    return this.#version;
  }
}

/** In place of the records that a bulk has listed: the end of some buckets, and which. */
const OF_BUCKETS = 0x100000000;

/** An "identity" that stands for the end of a bulk: first sequence, what has ended, origin 0. */
function endIdentity(first: number, what: number): DataView {
  const view = new DataView(new ArrayBuffer(IDENTITY_SIZE));
  writeU64(view, 0, first);
  writeU64(view, 8, what);
  return view;
}
