// One node of the replication on real links, in a process of its own: a line of JSON in, [verb, …], a
// line of JSON out. test/sync/transport/nodes.ts is the other end.
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { clock, random } from '../../../daemon/world.js';
import { EVENT_SIZE, EventOffset, EventType, State } from '../../../kernel/record/layout.js';
import { newRecord, nodeId, type RecordView } from '../../../kernel/record/record.js';
import type { SyncOptions } from '../../../sync/api.js';
import type { Cache } from '../../../sync/cache.js';
import { Sync } from '../../../sync/engine.js';
import { type ClosableLink, openLinks } from '../../../sync/transport/links.js';
import type { LinkSettings } from '../../../sync/transport/settings.js';
import { content } from '../world.js';

export type Timing = Pick<SyncOptions, 'helloMs' | 'deadAfterMs'>;

export type Command =
  | ['start', string, LinkSettings[], Timing?]
  | ['open', number]
  | ['close', number]
  /** With digests? They cost as much as thousands of records. */
  | ['ask', boolean]
  | ['stop'];

export interface Answer {
  /** Of a link that could not be opened. */
  readonly error?: string;
  readonly owns: Holding;
  /** By the name of the peer. */
  readonly holds: Readonly<Record<string, Holding & { alive: boolean }>>;
  readonly unacknowledged: number;
  readonly inSync: boolean;
  readonly notices: readonly string[];
  readonly warnings: readonly string[];
  /** Datagrams of the peers that had to be said again. */
  readonly repaired: number;
  readonly mtu: number;
  readonly link: Readonly<Record<string, number>>;
}

export interface Holding {
  readonly records: number;
  readonly digest: string;
}

class LinkNode {
  readonly sync: Sync;
  readonly notices: string[] = [];
  readonly records: RecordView[] = [];
  #id = 1n;

  constructor(
    readonly name: string,
    readonly link: ClosableLink,
    readonly warnings: readonly string[],
    timing: Timing = {},
  ) {
    this.sync = new Sync({
      node: nodeId(name),
      name,
      incarnation: BigInt(Date.now()) * 1000n,
      clock,
      random,
      link,
      events: {
        demoted() {},
        ended() {},
        syncChanged() {},
        peerChanged() {},
        epochChanged() {},
        notice: (code, message) => this.notices.push(`${code}: ${message}`),
      },
      hashLimit: 131_072,
      ...timing,
    });
    this.sync.start();
  }

  open(count: number): void {
    const node = nodeId(this.name);
    const records = Array.from({ length: count }, () => {
      const record = newRecord();
      record.id = this.#id++;
      record.incarnation = 1n;
      record.origin = node;
      record.owner = node;
      record.epoch = 1;
      record.generation = 1;
      record.remainingMs = 60_000;
      record.setState(0, State.SPLICED);
      record.setState(1, State.SPLICED);
      return record;
    });
    this.records.push(...records);
    this.#emit(EventType.NEW, records);
  }

  close(count: number): void {
    this.#emit(EventType.DESTROY, this.records.splice(0, count));
  }

  stop(): void {
    this.sync.stop();
    this.link.close();
  }

  answer(digests: boolean): Answer {
    const { sync } = this;
    const holds = sync.peers().map(({ node, name, alive }) => {
      return [name, { ...holding(sync.external.get(node), digests), alive }];
    });
    return {
      owns: holding(sync.internal, digests),
      holds: Object.fromEntries(holds),
      unacknowledged: sync.unacknowledged(),
      inSync: sync.inSync,
      notices: this.notices,
      warnings: this.warnings,
      repaired: sync.stats().queue.nacks_sent,
      mtu: this.link.mtu,
      link: sync.stats().link,
    };
  }

  #emit(type: number, records: RecordView[]): void {
    const events = new Uint8Array(records.length * EVENT_SIZE);
    for (const [index, record] of records.entries()) {
      new DataView(events.buffer).setUint32(index * EVENT_SIZE + EventOffset.type, type, true);
      events.set(record.slice, index * EVENT_SIZE + EventOffset.record);
    }
    this.sync.local(events);
  }
}

function holding(cache: Cache | undefined, withDigest: boolean): Holding {
  const hash = createHash('sha256');
  if (withDigest) hash.update(content(cache).join('\n'));
  return { records: cache?.size ?? 0, digest: withDigest ? hash.digest('hex') : '' };
}

let node: LinkNode | undefined;

async function obey([verb, ...args]: Command): Promise<unknown> {
  switch (verb) {
    case 'start': {
      const [name, settings, timing] = args as [string, LinkSettings[], Timing?];
      const warnings: string[] = [];
      const link = await openLinks(
        settings,
        (datagram, path) => node?.sync.receive(datagram, path),
        { startMs: 1000, warn: (message) => warnings.push(message) },
      );
      node = new LinkNode(name, link, warnings, timing);
      break;
    }
    case 'open':
      node?.open(args[0] as number);
      break;
    case 'close':
      node?.close(args[0] as number);
      break;
    case 'stop':
      node?.stop();
      node = undefined;
      return {};
  }
  return node?.answer(verb === 'ask' && args[0] === true);
}

console.log('{}'); // interfaces can be moved to this process now
for await (const line of createInterface({ input: process.stdin })) {
  let answer: unknown;
  try {
    answer = await obey(JSON.parse(line));
  } catch (error) {
    answer = { error: (error as Error).message };
  }
  console.log(JSON.stringify(answer));
}
node?.stop();
