// SPDX-License-Identifier: MIT
/** Two nodes, one of which serves, and what can be done to every such pair. */
import { chmodSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab, Started } from '../../test/lab/lab.js';
import { SIDES, type Side } from '../sync/network.js';
import { type Managed, type ManagerName, managerText, startManager } from './managers.js';
import { Network, other } from './network.js';

/** Seconds until a node is there, and until it holds all that the other one has. */
const UP_S = 30;
const SYNC_S = 120;
/** The slowest manager waits for three advertisements of a second before it takes an address. */
const ADDRESS_S = 30;
const LOOK_MS = 50;

export abstract class Pair {
  readonly network: Network;
  /** The one that serves. */
  active: Side = 'a';
  #manager: ManagerName | undefined;
  readonly #managers: Partial<Record<Side, Started>> = {};

  constructor(
    readonly lab: Lab,
    readonly name: string,
  ) {
    this.network = new Network(lab, name);
  }

  /** Where clients connect to. */
  abstract readonly targets: readonly string[];
  /** Starts the daemons of a node whose kernel is as after a boot; resolves when they answer. */
  protected abstract start(side: Side): Promise<void>;
  /** What a node left behind that a boot would not have kept. All of its processes are dead. */
  protected abstract clear(side: Side): void;
  protected abstract managed(side: Side): Managed;
  /** Flows that a node holds for the other one. */
  abstract held(side: Side): Promise<number>;

  get standby(): Side {
    return other(this.active);
  }

  async open(): Promise<void> {
    await Promise.all(SIDES.map((side) => this.start(side)));
  }

  /** Hands the addresses to this manager; who is active stays so. */
  async manage(manager: ManagerName): Promise<void> {
    if (this.#manager === manager) return;
    for (const side of [this.standby, this.active]) await this.#endManager(side);
    this.#manager = manager;
    this.#startManager(this.active);
    await this.#untilServing();
    this.#startManager(this.standby);
  }

  #startManager(side: Side): void {
    if (!this.#manager) return;
    this.#managers[side] = startManager(this.network, side, this.#manager, this.managed(side));
  }

  async #endManager(side: Side): Promise<void> {
    const started = this.#managers[side];
    delete this.#managers[side];
    if (started) await this.lab.end(started, 'SIGTERM');
  }

  #untilServing(): Promise<void> {
    const manager = this.#manager ? managerText(this.#manager) : 'nobody';
    return this.lab.until(
      `the addresses on ${this.active} of ${this.name}, by ${manager}`,
      ADDRESS_S,
      () => this.network.hasAddresses(this.active),
    );
  }

  /** Waits until the standby holds that many flows. */
  async inSync(flows: number): Promise<void> {
    let held = 0;
    await this.lab.until(`${flows} flows on the standby of ${this.name}`, SYNC_S, async () => {
      held = await this.held(this.standby);
      if (held < flows) await sleep(LOOK_MS);
      return held >= flows;
    });
  }

  /** The active node loses its cables, and every process on it dies in one stroke. */
  crash(): void {
    this.network.pullCables(this.active);
    this.lab.killNode(this.network.node(this.active));
  }

  /** The node that died boots, and is the backup of the one that has taken over. */
  async recover(): Promise<void> {
    const dead = this.active;
    this.active = this.standby;
    delete this.#managers[dead];
    this.clear(dead);
    this.network.reboot(dead);
    await this.start(dead);
    this.#startManager(dead);
  }

  /** Both nodes are gone, and what they held. */
  async close(): Promise<void> {
    for (const side of SIDES) {
      this.lab.killNode(this.network.node(side));
      delete this.#managers[side];
      this.clear(side);
      this.network.reboot(side);
    }
  }

  protected until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    return this.lab.until(`${what} of ${this.name}`, UP_S, holds);
  }

  /** A script of this node's, from lines of shell. @returns its path */
  protected script(side: Side, name: string, text: string): string {
    const file = this.lab.write(`${this.network.node(side)}/${name}`, text);
    chmodSync(file, 0o755);
    return file;
  }
}
