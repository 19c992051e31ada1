// SPDX-License-Identifier: MIT
/** The pairs that are compared. */
import type { Lab } from '../../test/lab/lab.js';
import { Arrivals } from './arrivals.js';
import { Conntrackd } from './conntrackd.js';
import { Spliced } from './spliced.js';
import type { System } from './system.js';

export const SystemName = { OURS: 'ours', SEALED: 'sealed', PEER: 'conntrackd' } as const;
export const PEER = SystemName.PEER;

/** As many as the conntrack table of a namespace takes by default. */
const TABLE_SIZE = 262_144;

export class Systems {
  static readonly #of = new WeakMap<Lab, Systems>();
  readonly arrivals: Arrivals;
  readonly all: System[];

  /** Those of a lab: made the first time, the same for all parts of a bench. */
  static of(lab: Lab): Systems {
    const systems = Systems.#of.get(lab) ?? new Systems(lab);
    Systems.#of.set(lab, systems);
    return systems;
  }

  private constructor(lab: Lab) {
    this.arrivals = new Arrivals(lab);
    this.all = [
      new Conntrackd(lab),
      new Spliced(lab, SystemName.OURS, { tableSize: TABLE_SIZE, sealed: false }),
      new Spliced(lab, SystemName.SEALED, { tableSize: TABLE_SIZE, sealed: true }),
    ];
  }
}
