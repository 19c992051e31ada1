// SPDX-License-Identifier: MIT
/** Two nodes, one of which serves, and what can be done to every such pair. */
import { chmodSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab, Started } from '../../test/lab/lab.js';
import { SIDES, type Side } from '../sync/network.js';
import { type Managed, type ManagerName, managerText, startManager } from './managers.js';
import { Network, other } from './network.js';

/** Seconds until a node is there, and until it holds all that the other one has. */
const UP_S = 90;
const SYNC_S = 180;
/** The slowest manager waits for three advertisements of a second before it takes an address. */
const ADDRESS_S = 60;
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

  /** What a node says of the takeover that it has just made. */
  async told(_side: Side): Promise<string> {
    return '';
  }

  get standby(): Side {
    return other(this.active);
  }

  async open(): Promise<void> {
    await Promise.all(SIDES.map((side) => this.start(side)));
  }

  /** Hands the addresses to this manager; who is active stays so. */
  async manage(manager: ManagerName): Promise<void> {
    if (this.#manager === manager) return;
    if (this.#manager) await this.settle();
    for (const side of [this.standby, this.active]) await this.#endManager(side);
    this.#manager = manager;
    this.#startManager(this.active);
    await this.#until('the addresses', ADDRESS_S, () => this.network.hasAddresses(this.active));
    this.#startManager(this.standby);
  }

  /**
   * Waits until one node has the addresses and the other one has not, and that is the active one: on a busy
   * machine a manager may have moved them by itself.
   */
  async settle(): Promise<void> {
    await this.#until('one node with the addresses', ADDRESS_S, () => {
      const holders = SIDES.filter((side) => this.network.hasAddresses(side));
      if (holders.length !== 1) return false;
      [this.active] = holders;
      return true;
    });
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

  /** Waits until the standby holds that many flows. */
  async inSync(flows: number): Promise<void> {
    await this.#until(`${flows} flows on the standby`, SYNC_S, async () => {
      if ((await this.held(this.standby)) >= flows) return true;
      await sleep(LOOK_MS);
      return false;
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
    return this.#until(what, UP_S, holds);
  }

  #until(what: string, seconds: number, holds: () => boolean | Promise<boolean>): Promise<void> {
    const by = this.#manager ? `, by ${managerText(this.#manager)}` : '';
    return this.lab.until(`${what} of ${this.name}${by}`, seconds, holds);
  }

  /** A script of this node's, from lines of shell. @returns its path */
  protected script(side: Side, name: string, text: string): string {
    const file = this.lab.write(`${this.network.node(side)}/${name}`, text);
    chmodSync(file, 0o755);
    return file;
  }
}
