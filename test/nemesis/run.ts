// SPDX-License-Identifier: MIT
/** One run: traffic begins, the faults of a schedule happen, all is healed, and then it is judged. */
import type { Lab } from '../lab/lab.js';
import { monotonicMs } from '../support/clock.js';
import { Bed } from './bed.js';
import { FAULTS } from './faults.js';
import { explain } from './judge.js';
import { atRest, type Rest } from './rest.js';
import { type Step, stepText } from './schedule.js';
import type { Totals } from './traffic.js';
import { sleep } from './until.js';
import { flowKey, type History } from './watch.js';

export interface RunOptions {
  readonly steps: readonly Step[];
  /** How long faults may begin and traffic flows, in ms. */
  readonly ms: number;
  /** Long-lived flows, and short requests a second. */
  readonly flows: number;
  readonly rate: number;
  readonly say: (text: string) => void;
}

export interface Verdict {
  readonly totals: Totals;
  /** Lost flows, by what explains them. */
  readonly explained: Record<string, number>;
  /** ... and those that nothing explains: each with what is known of it. */
  readonly unexplained: string[];
  /** How often each kind of fault happened. */
  readonly faults: Record<string, number>;
  readonly moves: number;
  /** Times that a flow went on over a move of the addresses, or the death of a node. */
  readonly carried: number;
  readonly rest: Rest;
}

const AFTER_MS = 1000;
/** Until the first fault: flows have begun by then. */
const LEAD_MS = 1500;

export async function run(lab: Lab, o: RunOptions): Promise<Verdict> {
  const began = monotonicMs();
  const since = () => ((monotonicMs() - began) / 1000).toFixed(1).padStart(6);
  const say = (text: string) => o.say(`${since()} s  ${text}`);
  const bed = new Bed(lab, say);
  await bed.start();
  await bed.traffic.begin(o);
  say('the pair stands, and traffic flows');
  const faults: Record<string, number> = {};
  await sleep(LEAD_MS);
  await Promise.all([sleep(o.ms), ...o.steps.map((step) => suffer(bed, step, faults))]);
  await bed.settled('the pair, all healed,');
  say('all is healed');
  await bed.traffic.end();
  const rest = await atRest(bed);
  await bed.watch.stop();
  return { ...judged(bed, began), totals: await bed.traffic.totals(), faults, rest };
}

/** One fault, from its time to its being healed. */
async function suffer(bed: Bed, step: Step, faults: Record<string, number>): Promise<void> {
  await sleep(step.at);
  const text = stepText(step);
  bed.say(text);
  faults[step.kind] = (faults[step.kind] ?? 0) + 1;
  const heal = await FAULTS[step.kind](bed, step);
  await sleep(step.lasts);
  await heal();
  if (step.lasts > 0) bed.say(`healed: ${text}`);
}

function judged(
  bed: Bed,
  began: number,
): Pick<Verdict, 'explained' | 'unexplained' | 'moves' | 'carried'> {
  const { watch, moments, troubles, traffic } = bed;
  const explained: Record<string, number> = {};
  const unexplained: string[] = [];
  for (const { here, to, group, lost, begun, at, made, received, sent } of traffic.losses) {
    const key = flowKey(here?.address ?? '', here?.port ?? 0, to?.port ?? 0);
    const history = watch.flows.get(key);
    const loss = { key, what: group, error: lost, began: begun, ended: at };
    const why = explain(loss, { flows: watch.flows, moments, troubles });
    if (why !== undefined) {
      explained[why] = (explained[why] ?? 0) + 1;
      continue;
    }
    const when = (ms: number) => ((ms - began) / 1000).toFixed(1);
    const spans = (name: 'known' | 'spliced' | 'held') =>
      `${name} ${history?.[name].map(({ node, from, until }) => `${node} ${when(from)}-${when(until)}`).join(', ') || 'nowhere'}`;
    unexplained.push(
      `${group} ${key}, ${made ? 'answered' : 'not answered'}: begun at ${when(begun)} s, ${lost} at ${when(at)} s, ` +
        `${sent} octets sent, ${received} received; ${spans('known')}; ${spans('spliced')}; ` +
        `${spans('held')}; ${history?.state ?? 'no state'}, server ${history?.server ?? 'unknown'}`,
    );
  }
  const takeovers = moments.filter(
    ({ kind }) => kind === 'addresses moved' || kind === 'node crashed',
  );
  const carried = takeovers.reduce(
    (sum, { from }) => sum + [...watch.flows.values()].filter((flow) => goesOn(flow, from)).length,
    0,
  );
  return { explained, unexplained, moves: takeovers.length, carried };
}

/** Spliced before that moment, and known a while after. */
function goesOn({ spliced, known }: History, at: number): boolean {
  return spliced.some(({ from }) => from < at) && known.some(({ until }) => until > at + AFTER_MS);
}
