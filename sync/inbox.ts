/**
 * What comes from the link: parsed, judged, and handed to whom it concerns. Each datagram ends here,
 * taken or rejected under one of the names of wire.ts.
 */
import { nodeId } from '../kernel/record/record.js';
import type { Bulk } from './bulk.js';
import type { Busy } from './busy.js';
import { RECORD_WORDS } from './cache.js';
import type { Compare } from './compare.js';
import { counts } from './counts.js';
import type { Fence } from './fence.js';
import { MODE_UNSAID } from './hello.js';
import type { Members } from './members.js';
import type { Mode } from './modes.js';
import type { Offer } from './offer.js';
import type { Ownership } from './ownership.js';
import type { Paths } from './paths.js';
import type { Peer } from './peer.js';
import type { Verify } from './verify.js';
import { versionsIn } from './versions.js';
import {
  contextOf,
  type Datagram,
  HeaderFlag,
  NAME_MAX,
  nameIn,
  parse,
  REJECTIONS,
  type Reading,
  type Rejection,
  readU64,
  Segment,
  Type,
  unpack,
} from './wire.js';

export interface InboxHost {
  readonly node: number;
  readonly reading: Reading;
  readonly members: Members;
  readonly paths: Paths;
  readonly ownership: Ownership;
  readonly mode: Mode;
  readonly bulk: Bulk;
  readonly compare: Compare;
  readonly busy: Busy;
  readonly verify: Verify;
  readonly fence: Fence;
  readonly offer: Offer;
  incarnation(): number;
  /** A peer knows this node under a later incarnation than its own. */
  knownAs(incarnation: number, peer: Peer): void;
  /** Another node uses this node's id. */
  twin(): void;
  /** All that a datagram says has been taken in. */
  settle(): void;
}

export class Inbox {
  readonly #host: InboxHost;
  readonly #counts = counts(
    'rx_datagrams',
    'rx_octets',
    'rx_records',
    'rx_gone',
    'rx_overheard', // to another node: only its header was used
    'rx_unknown_segments',
    'rx_version_1',
    'rx_version_2',
  );
  /** A compact record, in full. */
  readonly #words = new Uint32Array(RECORD_WORDS);
  readonly #record = new DataView(this.#words.buffer);
  readonly #rejections = counts<Rejection>(...REJECTIONS);

  constructor(host: InboxHost) {
    this.#host = host;
  }

  receive(bytes: Uint8Array, path: number): void {
    this.#counts.rx_datagrams++;
    this.#counts.rx_octets += bytes.length;
    const rejection = this.#take(parse(bytes, this.#host.reading), path);
    if (rejection) this.#rejections[rejection]++;
  }

  stats(): Readonly<Record<string, number>> {
    const rejections = Object.entries(this.#rejections);
    return {
      ...this.#counts,
      ...Object.fromEntries(rejections.map(([name, count]) => [`rejected_${name}`, count])),
    };
  }

  #take(datagram: Datagram | Rejection, path: number): Rejection | undefined {
    if (typeof datagram === 'string') return datagram;
    const { header } = datagram;
    const { node, members, ownership, paths, compare } = this.#host;
    if (header.sender === node) return this.#ownName(header.incarnation);
    const name = nameIn(datagram);
    if (name !== undefined && !isNameOf(name, header.sender)) return 'name';
    const peer = members.hear(header, versionsIn(datagram));
    if (typeof peer === 'string') return peer;
    if (name !== undefined) peer.name = name;
    paths.heard(peer, path);
    this.#counts.rx_unknown_segments += datagram.unknown;
    this.#counts[`rx_version_${header.version as 1 | 2}`]++;
    const rejection = this.#dispatch(peer, datagram, path);
    if (rejection === undefined) ownership.noteEpoch(header.epoch);
    members.tryReconcile(peer);
    compare.reconcile(peer);
    members.lookForUncovered();
    compare.answer(peer);
    return rejection;
  }

  #dispatch(peer: Peer, datagram: Datagram, path: number): Rejection | undefined {
    const { node, mode, bulk, verify, incarnation } = this.#host;
    const { header } = datagram;
    if (header.type === Type.DATA) return this.#data(peer, datagram);
    // the same HELLO by another path: once is enough
    const again = header.type === Type.HELLO && this.#heardPaths(peer, datagram, path);
    if (header.type === Type.HELLO && !again && header.flags & HeaderFlag.REPORT_WANTED) {
      this.#host.paths.asked();
    }
    mode.heard(peer, again ? { ...header, flags: 0 } : header);
    if (header.type === Type.HELLO) return this.#hello(peer, datagram);
    if (header.receiver !== 0 && header.receiver !== node) {
      this.#counts.rx_overheard++;
      return undefined;
    }
    const meant = header.receiverIncarnation;
    if (meant !== 0 && meant !== incarnation()) return 'other_start';
    if (header.type === Type.REPORT) return mode.report(peer, datagram);
    if (header.type === Type.OFFER) return this.#host.offer.heard(peer, datagram);
    if (header.type === Type.TAKEN) return this.#host.offer.answered(peer, datagram);
    if (header.type === Type.VERDICT) verify.verdict(peer, datagram);
    else if (header.type === Type.YIELD || header.type === Type.YIELDED) this.#role(peer, datagram);
    else bulk.wanted(header.ack);
    return undefined;
  }

  #data(peer: Peer, datagram: Datagram): Rejection | undefined {
    const { mode, settle } = this.#host;
    const rejection = mode.arriving(peer, datagram.header);
    if (rejection) return rejection;
    for (const { type, count, at, size } of datagram.segments) {
      for (let item = at; item < at + count * size; item += size) {
        this.#item(peer, datagram, type, item);
      }
    }
    settle();
    mode.arrived(peer, datagram);
    return undefined;
  }

  #item(peer: Peer, datagram: Datagram, type: number, at: number): void {
    const { ownership, members, compare, busy } = this.#host;
    const { view, header } = datagram;
    if (type === Segment.RECORD4 || type === Segment.RECORD6) {
      this.#counts.rx_records++;
      this.#expand(datagram, type, at);
      ownership.claimed(peer, this.#record, 0, header.sequence);
    } else if (type === Segment.RECORD) {
      this.#counts.rx_records++;
      ownership.claimed(peer, view, at, header.sequence);
    } else if (type === Segment.GONE) {
      this.#counts.rx_gone++;
      ownership.gone(peer, view, at, header.sequence);
    } else if (type === Segment.BULK_END) {
      members.bulkEnded(peer, readU64(view, at), header.sequence);
    } else if (type === Segment.DIGEST) {
      compare.digest(peer, view, at, header.sequence);
    } else if (type === Segment.BUCKET_END) {
      compare.ended(peer, view, at, header.sequence);
    } else if (type === Segment.ACTIVE) {
      busy.heard(peer, view, at);
    }
  }

  #expand({ header, view, contexts }: Datagram, type: number, at: number): void {
    const context = contexts[contextOf(view, at)];
    unpack(view, at, type === Segment.RECORD4, context, header.sender, this.#words);
  }

  #hello(peer: Peer, datagram: Datagram): Rejection | undefined {
    const { header, segments, bytes, view } = datagram;
    let mode = MODE_UNSAID;
    for (const { type, at, count, size } of segments) {
      if (type === Segment.MODE) {
        mode = String.fromCharCode(...bytes.subarray(at, at + Math.min(count, NAME_MAX)));
      } else if (type === Segment.KNOWN) {
        for (let item = at; item < at + count * size; item += size) {
          if (view.getUint32(item, true) !== this.#host.node) continue;
          this.#host.knownAs(readU64(view, item + 8), peer);
        }
      }
    }
    this.#host.members.modeOf(peer, mode);
    this.#role(peer, datagram);
    if (header.flags & HeaderFlag.LEAVING) this.#host.members.leaving(peer);
    return undefined;
  }

  /** What the peer stands for, if it says so. */
  #role(peer: Peer, { header, segments, view }: Datagram): void {
    const said = segments.find(({ type }) => type === Segment.ROLE);
    if (!said || said.count === 0) return;
    this.#host.fence.heard(peer, view, said.at, header.type === Type.YIELD);
  }

  /** True: this HELLO has come by another path already. */
  #heardPaths(peer: Peer, { segments, bytes, view }: Datagram, ours: number): boolean {
    const { paths, node } = this.#host;
    let again = false;
    for (const { type, at, count, size } of segments) {
      if (type === Segment.PATH && count > 0) {
        const serial = view.getUint32(at + 4, true);
        again = paths.hello(peer, ours, { path: bytes[at], paths: bytes[at + 1], serial });
      } else if (type === Segment.HEARD) {
        for (let item = at; item < at + count * size; item += size) {
          if (view.getUint32(item, true) !== node) continue;
          paths.hears(peer, view.getUint32(item + 4, true));
        }
      }
    }
    return again;
  }

  #ownName(incarnation: number): Rejection {
    if (incarnation <= this.#host.incarnation()) return 'own';
    this.#host.twin();
    return 'twin';
  }
}

function isNameOf(name: string, node: number): boolean {
  return name.length > 0 && name.length <= NAME_MAX && nodeId(name) === node;
}
