// One node of the replication on a real link, for the test that talks to it over standard input and
// output: a line in, `open N`, `close N` or `ask`; a line of JSON out.
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { clock, random } from '../../daemon/world.js';
import { EVENT_SIZE, EventOffset, EventType, State } from '../../kernel/record/layout.js';
import { newRecord, nodeId, type RecordView } from '../../kernel/record/record.js';
import type { Cache } from '../../sync/cache.js';
import { Sync } from '../../sync/engine.js';
import { openMulticast } from '../../sync/transport/multicast.js';
import { content } from './world.js';

export interface LinkNode {
  readonly sync: Sync;
  open(count: number): RecordView[];
  close(records: RecordView[]): void;
  stop(): void;
}

export async function linkNode(name: string, device: string): Promise<LinkNode> {
  const node = nodeId(name);
  const link = await openMulticast({
    address: '225.0.0.50',
    port: 3780,
    interface: device,
    interfaceAddress: undefined,
    sendBuffer: 1_249_280,
    receiveBuffer: 1_249_280,
    receive: (datagram) => sync.receive(datagram),
  });
  const quiet = {
    demoted() {},
    syncChanged() {},
    peerChanged() {},
    epochChanged() {},
    notice() {},
  };
  const sync: Sync = new Sync({
    node,
    name,
    incarnation: BigInt(Date.now()) * 1000n,
    clock,
    random,
    link,
    events: quiet,
    hashLimit: 65_536,
  });
  sync.start();
  let id = 1n;
  const emit = (type: number, records: RecordView[]): void => {
    const events = new Uint8Array(records.length * EVENT_SIZE);
    for (const [index, record] of records.entries()) {
      new DataView(events.buffer).setUint32(index * EVENT_SIZE + EventOffset.type, type, true);
      events.set(record.slice, index * EVENT_SIZE + EventOffset.record);
    }
    sync.local(events);
  };
  return {
    sync,
    open(count) {
      const records = Array.from({ length: count }, () => {
        const record = newRecord();
        record.id = id++;
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
      emit(EventType.NEW, records);
      return records;
    },
    close: (records) => emit(EventType.DESTROY, records),
    stop() {
      sync.stop();
      link.close();
    },
  };
}

export function digest(cache: Cache | undefined): string {
  return createHash('sha256').update(content(cache).join('\n')).digest('hex');
}

/** What this node has, and what it holds of its one peer. */
export function answer({ sync }: LinkNode) {
  const peer = [...sync.external.values()][0];
  return {
    owns: sync.internal.size,
    ownsDigest: digest(sync.internal),
    holds: peer?.size ?? 0,
    holdsDigest: digest(peer),
    unacknowledged: sync.unacknowledged(),
    inSync: sync.inSync,
  };
}

if (process.argv[2] === 'serve') {
  console.log('"here"'); // the interface can be moved to this process now
  let node: LinkNode | undefined;
  const open: RecordView[] = [];
  for await (const line of createInterface({ input: process.stdin })) {
    const [verb, argument] = line.split(' ');
    if (verb === 'start') node = await linkNode('lb-b', argument);
    if (verb === 'open') open.push(...(node?.open(Number(argument)) ?? []));
    if (verb === 'close') node?.close(open.splice(0, Number(argument)));
    console.log(JSON.stringify(node && answer(node)));
  }
  node?.stop();
}
