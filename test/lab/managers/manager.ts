import * as fs from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Balancer } from '../balancer.js';
import type { Lab, Started } from '../lab.js';
import type { BalancerName, Net } from '../topology.js';

export const MANAGERS = [
  'keepalived',
  'keepalived-fifo',
  'keepalived-sync-group',
  'ucarp',
  'watch',
] as const;
export type ManagerName = (typeof MANAGERS)[number];

/** `cut`: it lives but can serve no more. */
export type NodeState = 'dead' | 'cut' | 'well';

/** What decides which node has the virtual addresses, and moves them. */
export interface Manager {
  readonly name: ManagerName;
  /** The node that has the addresses whenever it can; undefined: they stay where they are. */
  readonly prefers: BalancerName | undefined;
  /** Nets whose link it watches; a failure on another one is not its business. */
  readonly watches: readonly Net[];
  /** Nets on which the nodes hear of each other by its own protocol. */
  readonly hears: readonly Net[];
  /** What a handover calls to have the addresses moved; undefined: the track file does it. */
  handover(node: BalancerName): string | undefined;
  /** Starts it on a node, whether or not the daemon runs there. */
  start(node: Balancer): void;
  /** Tells it to end: it lets go of the addresses. */
  stop(node: Balancer): Promise<void>;
  /** SIGKILL to it alone: the addresses stay where they are. */
  crash(node: Balancer): Promise<void>;
  /** Moves the addresses away from a node in service, as an operator does; resolves when it has let go. */
  move(from: Balancer): Promise<void>;
  /** What has become of a node, for a manager that does not see it by itself. */
  told(node: Balancer, state: NodeState): void;
}

/** Path of one of the project's scripts. */
export function script(name: string): string {
  return fileURLToPath(new URL(`../../../scripts/${name}`, import.meta.url));
}

/**
 * One of the project's scripts as a manager calls it: managers give their scripts a bare environment,
 * so what it needs stands in a wrapper. Returns the wrapper's path.
 */
export function scriptFor(node: Balancer, name: string): string {
  const { lab } = node;
  const all = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    SPLICED_LOCK: lab.path(node.name, 'notify.lock'),
    SPLICECTL: node.splicectlCommand,
  };
  const assignments = Object.entries(all).map(([key, value]) => `export ${key}='${value}'`);
  const log = lab.path('log', `${node.name}-notify.log`);
  const wrapper = lab.write(
    join(node.name, name),
    `#!/bin/sh\n${assignments.join('\n')}\nexec ${script(name)} "$@" >>${log} 2>&1\n`,
  );
  fs.chmodSync(wrapper, 0o755);
  return wrapper;
}

/** The process of a manager on each node. */
export class Processes {
  readonly #started = new Map<BalancerName, Started>();

  constructor(private readonly lab: Lab) {}

  start(node: BalancerName, name: string, argv: string[]): void {
    this.#started.set(node, this.lab.start(node, name, argv));
  }

  async end(node: BalancerName, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const started = this.#started.get(node);
    this.#started.delete(node);
    if (started) await this.lab.end(started, signal);
  }
}
