// npm run managers: each failover manager through each event, with the same flows all the way.
import { parseArgs } from 'node:util';
import { Journey, type Passage } from '../journey.js';
import { exitOnSignals, Lab, LabError, removeLeftovers } from '../lab.js';
import { whatIsMissing } from '../preflight.js';
import { runProgram } from '../program.js';
import { BALANCERS } from '../topology.js';
import { EVENTS, type Event, type EventName } from './events.js';
import { MANAGERS, type ManagerName } from './index.js';

const USAGE = `usage: npm run managers -- [options]
  --manager NAME   only this one (may be repeated): ${MANAGERS.join(', ')}
  --event NAME     only this one (may be repeated): ${Object.keys(EVENTS).join(', ')}
  --prefers lb-a   lb-a has the addresses whenever it can; without it they stay where they are
  --flows N        downloads and uploads at once over each of the three services (default 8), and as many pings
  --json           one JSON object on a line for each event, instead of the table`;

interface Options {
  managers: ManagerName[];
  events: EventName[];
  prefers: 'lb-a' | undefined;
  flows: number;
  json: boolean;
}

function chosen<T extends string>(
  name: string,
  all: readonly T[],
  some: string[] | undefined,
): T[] {
  for (const one of some ?? []) {
    if (!all.includes(one as T)) {
      throw new LabError('USAGE', `--${name} ${one}: expected one of ${all.join(', ')}`);
    }
  }
  return some === undefined ? [...all] : all.filter((one) => some.includes(one));
}

function options(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      manager: { type: 'string', multiple: true },
      event: { type: 'string', multiple: true },
      prefers: { type: 'string' },
      flows: { type: 'string', default: '8' },
      json: { type: 'boolean', default: false },
    },
  });
  if (values.prefers !== undefined && values.prefers !== BALANCERS[0]) {
    throw new LabError('USAGE', `--prefers ${values.prefers}: expected ${BALANCERS[0]}`);
  }
  const flows = Number(values.flows);
  if (!Number.isInteger(flows) || flows < 1 || flows > 1000) {
    throw new LabError('USAGE', `--flows ${values.flows}: expected a whole number from 1 to 1000`);
  }
  return {
    managers: chosen('manager', MANAGERS, values.manager),
    events: chosen('event', Object.keys(EVENTS) as EventName[], values.event),
    prefers: values.prefers === undefined ? undefined : 'lb-a',
    flows,
    json: values.json,
  };
}

const COLUMNS = [22, 21, 9, 7, 9, 14, 14, 14];

function row(...cells: string[]): string {
  return cells
    .map((cell, i) => cell.padEnd(COLUMNS[i]))
    .join(' ')
    .trimEnd();
}

function tableRow(manager: string, passage: Passage): string {
  const { event, outage_ms, stall_ms, back_stall_ms, answering, alive, flows, resets } = passage;
  const packets = Object.values(resets).reduce((sum, n) => sum + n, 0);
  return row(
    manager,
    event,
    `${alive}/${flows}`,
    String(packets),
    outage_ms === undefined ? '-' : String(outage_ms),
    `${stall_ms.p50} ${stall_ms.max}`,
    `${back_stall_ms.p50} ${back_stall_ms.max}`,
    answering.join(' '),
  );
}

/** One lab for each manager, since what one of them leaves must not be found by the next. */
async function journey(manager: ManagerName, o: Options): Promise<boolean> {
  const lab = new Lab();
  let well = true;
  try {
    const flows = { both: o.flows, ping: o.flows, idle: 2 };
    const trip = new Journey(lab, { manager, prefers: o.prefers, flows, pace: 50_000, every: 20 });
    await trip.start();
    for (const event of o.events) {
      const { not }: Event = EVENTS[event];
      if (not?.(trip.nodes.manager)) continue;
      const passage = await trip.pass(event);
      console.log(o.json ? JSON.stringify({ manager, ...passage }) : tableRow(manager, passage));
      well &&= passage.alive === passage.flows;
    }
    const right = await trip.load.finish();
    if (right !== trip.flows) console.log(`${manager}: only ${right} of ${trip.flows} ended right`);
    return well && right === trip.flows;
  } finally {
    if (process.env.KEEP) lab.keep();
    lab.remove();
  }
}

async function main(args: string[]): Promise<number> {
  const o = options(args);
  const missing = whatIsMissing();
  if (missing) throw new LabError('MISSING', missing);
  removeLeftovers(false);
  exitOnSignals();
  if (!o.json) {
    console.log(
      row('manager', 'event', 'kept', 'RSTs', 'outage', 'stall 50 max', 'back 50 max', 'answering'),
    );
  }
  let well = true;
  for (const manager of o.managers) {
    try {
      well = (await journey(manager, o)) && well;
    } catch (error) {
      console.log(`${manager}: ${(error as Error).message}`);
      well = false;
    }
  }
  return well ? 0 : 1;
}

runProgram('managers', USAGE, () => main(process.argv.slice(2)));
