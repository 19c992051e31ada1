// SPDX-License-Identifier: MIT
/**
 * Looks at both nodes again and again, and keeps what it saw of each flow: where it was spliced, where
 * held, and where the addresses were. The judge has no other witness.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ControlError, call, type StatusResult } from '../../daemon/control/index.js';
import { RECORD_SIZE } from '../../kernel/record/layout.js';
import { formatAddress, RecordView } from '../../kernel/record/record.js';
import { BALANCERS, type BalancerName, virtualAddress } from '../lab/topology.js';
import { monotonicMs } from '../support/clock.js';
import type { Node } from './node.js';

const LOOK_EVERY_MS = 200;
/** A daemon that is stopped does not answer: what it held it still holds. */
const ANSWER_MS_MAX = 400;

/** A flow by its client's end and where it goes: one port may be used towards several. */
export type FlowKey = string;

export function flowKey(client: string, port: number, toPort: number): FlowKey {
  return `${client}:${port} to ${toPort}`;
}

/** Something that was so from one look to another. */
export interface Span {
  readonly node: BalancerName;
  readonly from: number;
  until: number;
}

export interface History {
  /** In the node's kernel, further than PRE_SPLICED. */
  readonly spliced: Span[];
  /** In the kernel in any state. */
  readonly known: Span[];
  /** In the cache of what the peers own, or spliced in the kernel: the node could go on with it. */
  readonly held: Span[];
  /** The real server's address. */
  server?: string;
  state?: string;
}

interface Look {
  rows: Row[];
  copies: Set<FlowKey>;
  status: StatusResult | undefined;
  holdsAddress: boolean;
}

interface Row {
  key: FlowKey;
  server: string;
  state: string;
}

export interface Told {
  /** A node has got the addresses, or has them no more. */
  moved(node: BalancerName, here: boolean): void;
  /** A program has ended that nobody has ended. */
  ended(what: string): void;
}

const UNSPLICED = new Set(['CLOSE', 'ESTABLISHED', 'PRE_SPLICED']);

export class Watch {
  readonly flows = new Map<FlowKey, History>();
  readonly addresses: Span[] = [];
  readonly inSync: Span[] = [];
  /** The last look at each. */
  readonly last = new Map<BalancerName, Look>();
  looks = 0;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #stopped = false;

  constructor(
    readonly nodes: Readonly<Record<BalancerName, Node>>,
    readonly tell: Told,
  ) {}

  start(): void {
    const again = () => {
      if (this.#stopped) return;
      void this.look().finally(() => {
        this.#timer = setTimeout(again, LOOK_EVERY_MS);
      });
    };
    again();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** One look at both; a look that is under way is awaited first, since it may have seen too little. */
  async look(): Promise<void> {
    while (this.#looking) await this.#looking;
    this.#looking = this.#lookNow().finally(() => {
      this.#looking = undefined;
    });
    await this.#looking;
  }

  /** Both nodes' addresses, by the last look. */
  get holders(): BalancerName[] {
    return BALANCERS.filter((name) => this.last.get(name)?.holdsAddress);
  }

  async #lookNow(): Promise<void> {
    const before = this.#latest;
    const had = this.holders;
    await Promise.all(BALANCERS.map(async (name) => this.last.set(name, await this.#see(name))));
    const at = monotonicMs();
    this.looks++;
    for (const name of BALANCERS) this.#keep(name, this.last.get(name) as Look, before, at);
    this.#latest = at;
    for (const name of BALANCERS) {
      const here = this.holders.includes(name);
      for (const program of this.nodes[name].ended()) this.tell.ended(`${program} on ${name}`);
      if (here !== had.includes(name)) this.tell.moved(name, here);
    }
  }

  /** When the look before ended: what was seen then and now was so in between. */
  #latest = Number.NEGATIVE_INFINITY;

  #keep(node: BalancerName, look: Look, before: number, at: number): void {
    if (look.holdsAddress) extend(this.addresses, node, before, at);
    if (look.status?.in_sync) extend(this.inSync, node, before, at);
    for (const { key, server, state } of look.rows) {
      const history = this.#history(key);
      history.server = server;
      history.state = state;
      extend(history.known, node, before, at);
      if (UNSPLICED.has(state)) continue;
      extend(history.spliced, node, before, at);
      extend(history.held, node, before, at);
    }
    for (const key of look.copies) extend(this.#history(key).held, node, before, at);
  }

  #history(key: FlowKey): History {
    let history = this.flows.get(key);
    if (!history) {
      history = { spliced: [], known: [], held: [] };
      this.flows.set(key, history);
    }
    return history;
  }

  async #see(name: BalancerName): Promise<Look> {
    const node = this.nodes[name];
    const rows = rowsOf(node);
    if (!node.alive) return { rows: [], copies: new Set(), status: undefined, holdsAddress: false };
    const holdsAddress = holds(node);
    try {
      const within = { idleMs: ANSWER_MS_MAX };
      const status = await call(node.balancer.socket, 'status', {}, {}, within);
      const copies = new Set<FlowKey>();
      const records = (bytes: Uint8Array) => {
        for (let at = 0; at < bytes.length; at += RECORD_SIZE) {
          const { source, sourcePort, destinationPort } = new RecordView(bytes, at).tuple(0);
          copies.add(flowKey(source, sourcePort, destinationPort));
        }
      };
      await call(node.balancer.socket, 'dump', { what: 'external' }, { records }, within);
      return { rows, copies, status, holdsAddress };
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      const copies = node.runs('spliced') ? this.last.get(name)?.copies : undefined;
      return { rows, copies: copies ?? new Set(), status: undefined, holdsAddress };
    }
  }
}

/** The span that ends at the look before goes on; else a new one begins now. */
function extend(spans: Span[], node: BalancerName, before: number, at: number): void {
  const last = spans.findLast((span) => span.node === node);
  if (last && last.until >= before) last.until = at;
  else spans.push({ node, from: at, until: at });
}

/** From the pinned table, which needs no process of the node. */
function rowsOf(node: Node): Row[] {
  let text: string;
  try {
    text = readFileSync(join(node.balancer.pinPath, 'table'), 'utf8');
  } catch {
    return []; // not yet, or not any more
  }
  const rows = text.trimEnd().split('\n').slice(1);
  return rows.map((row) => {
    const [from, port, , toPort, , , server, , state] = row.split(/\s+/);
    return {
      key: flowKey(addressText(from), Number.parseInt(port, 16), Number.parseInt(toPort, 16)),
      server: addressText(server),
      state,
    };
  });
}

function addressText(hex: string): string {
  const mapped = hex.length === 8 ? `00000000000000000000ffff${hex}` : hex;
  return formatAddress(Buffer.from(mapped, 'hex'));
}

/** Whether the virtual address of the clients is there, as a process of the node would see it. */
function holds(node: Node): boolean {
  const [pid] = [...node.pids('spliced'), ...node.pids('switchd'), ...node.pids('keepalived')];
  if (pid === undefined) return false;
  try {
    const routes = readFileSync(`/proc/${pid}/net/fib_trie`, 'utf8');
    return routes.includes(`-- ${virtualAddress('clients', '4')}\n`);
  } catch {
    return false;
  }
}
