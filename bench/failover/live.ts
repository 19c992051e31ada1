// SPDX-License-Identifier: MIT
/** Takeovers with so many live flows, by every manager; the flows live through all of them. */
import type { Context, Part, Row } from '../bench.js';
import { row } from '../bench.js';
import { compilePrograms, Load, type Programs } from './load.js';
import { MANAGERS, managerText, QUICK } from './managers.js';
import type { Pair } from './pair.js';
import { round, type Sample } from './round.js';
import { NEEDS, PEER, pairOf, rows, SYSTEMS } from './systems.js';

const ROUNDS = 4;
/** More than that, and the machine has enough to do with the flows of one system at a time. */
const TOGETHER_MAX = 10_000;

interface Loaded {
  readonly system: string;
  readonly pair: Pair;
  readonly load: Load;
}

/** Some systems side by side, each with its flows. */
class Run {
  readonly samples = new Map<string, Map<string, Sample[]>>();
  readonly ended = new Map<string, number>();

  constructor(
    readonly context: Context,
    readonly programs: Programs,
    readonly count: number,
  ) {}

  get #managers() {
    return this.context.quick ? [QUICK] : MANAGERS;
  }

  #tell(what: string): void {
    this.context.tell(`${this.count} flows, ${what}`);
  }

  async measure(systems: readonly string[]): Promise<void> {
    const loaded: Loaded[] = [];
    try {
      for (const system of systems) loaded.push(await this.#load(system));
      for (const manager of this.#managers) {
        const name = managerText(manager);
        for (const { pair } of loaded) await pair.manage(manager);
        const rounds = this.context.quick ? 1 : ROUNDS;
        for (let i = 0; i < rounds; i++) {
          const order = i % 2 ? loaded : [...loaded].reverse();
          for (const one of order) {
            this.#tell(`${name}, round ${i + 1} of ${rounds}: ${one.system}`);
            this.#keep(name, one.system, await round(one.pair, one.load));
          }
        }
      }
      for (const { system, load } of loaded) {
        this.#tell(`to their end: ${system}`);
        this.ended.set(system, (await load.ended('live', this.count)).ended);
      }
    } finally {
      for (const { load } of loaded) await load.stop();
    }
  }

  async #load(system: string): Promise<Loaded> {
    this.#tell(`are made: ${system}`);
    const pair = await pairOf(this.context.lab, system);
    await pair.manage(this.#managers[0]);
    const load = await Load.open(pair, this.programs, this.count);
    await load.live(this.count);
    return { system, pair, load };
  }

  #keep(manager: string, system: string, sample: Sample): void {
    const { kept, of, resets, outage, takeover, stallMedian, stallWorst, told } = sample;
    const times = [outage, takeover, stallMedian, stallWorst].map((ms) => ms.toFixed(1));
    this.#tell(
      `${system}, ${manager}: ${kept} of ${of} kept, ${resets} resets; outage, takeover, stall p50, p99: ${times.join(', ')} ms ${told}`,
    );
    const systems = this.samples.get(manager) ?? new Map<string, Sample[]>();
    this.samples.set(manager, systems);
    systems.set(system, [...(systems.get(system) ?? []), sample]);
  }

  rows(): Row[] {
    const flows = `${this.count.toLocaleString('en')} flows`;
    const all = [...this.samples].flatMap(([manager, samples]) =>
      rows(`${flows}, ${manager}`, samples),
    );
    const { [PEER]: peer, ...ours } = Object.fromEntries(this.ended);
    for (const [system, ended] of Object.entries(ours)) {
      const peers = { limit: this.count, ...(peer !== undefined && { [PEER]: peer }) };
      all.push(
        row({
          name: `at their end after all of that, ${flows}${system === SYSTEMS[0] ? '' : `, ${system}`}`,
          unit: 'flows',
          better: 'higher',
          ours: ended,
          peers,
          aim: { limit: 1 },
        }),
      );
    }
    return all;
  }
}

/** @param count of live flows; the busy transfers come on top */
export function live(count: number): Part {
  return {
    needs: NEEDS,
    async run(context) {
      if (context.quick && !context.named && count > 1000) return [];
      const run = new Run(context, compilePrograms(context.lab), count);
      const batches = count > TOGETHER_MAX ? SYSTEMS.map((system) => [system]) : [SYSTEMS];
      for (const systems of batches) await run.measure(systems);
      return run.rows();
    },
  };
}
