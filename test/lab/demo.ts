// npm run demo: transfers through a pair of load balancers, the active one dies, every byte checked.
import { parseArgs } from 'node:util';
import { holds, type Mode } from './account.js';
import { exitOnSignals, Lab, LabError, removeLeftovers } from './lab.js';
import { whatIsMissing } from './preflight.js';
import { runProgram } from './program.js';
import { Json, Plain, type Screen, TERMINAL_ROWS_MIN, Terminal } from './screen.js';
import { type FamilyChoice, isFamilyChoice } from './services.js';
import { Takeover } from './takeover.js';

const USAGE = `usage: npm run demo -- [options]
  --mode crash|switchover  how the active load balancer goes: it dies (default), or it is told to
  --family 4|6|both        what clients and servers talk: IPv4 (default), IPv6, or both and IPv6 to IPv4
  --flows N                transfers in all, 6 to 1000 (default 300); five sixths have begun when it goes
  --bytes N                bytes of each, 65536 to 268435456 (default 4194304)
  --json                   one JSON object on standard output, and nothing else
  --keep                   leave the lab standing and say how to look around in it
  --clean                  remove labs that were left standing, and do nothing else`;

const STARTS_PER_SECOND_MAX = 50;

interface Options {
  mode: Mode;
  family: FamilyChoice;
  flows: number;
  bytes: number;
  json: boolean;
  keep: boolean;
  clean: boolean;
}

function whole(name: string, text: string, low: number, high: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (value >= low && value <= high) return value;
  throw new LabError('USAGE', `--${name} ${text}: expected a whole number from ${low} to ${high}`);
}

function options(args: string[]): Options {
  const string = (fallback: string) => ({ type: 'string', default: fallback }) as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    args,
    options: {
      mode: string('crash'),
      family: string('4'),
      flows: string('300'),
      bytes: string('4194304'),
      json: flag,
      keep: flag,
      clean: flag,
    },
  });
  const { mode, family, json, keep, clean } = values;
  if (mode !== 'crash' && mode !== 'switchover') {
    throw new LabError('USAGE', `--mode ${mode}: expected crash or switchover`);
  }
  if (!isFamilyChoice(family)) {
    throw new LabError('USAGE', `--family ${family}: expected 4, 6 or both`);
  }
  const flows = whole('flows', values.flows, 6, 1000);
  const bytes = whole('bytes', values.bytes, 65_536, 1 << 28);
  return { mode, family, flows, bytes, json, keep, clean };
}

function screenFor(o: Options): Screen {
  if (o.json) return new Json();
  const room = process.stdout.isTTY && process.stdout.rows >= TERMINAL_ROWS_MIN;
  return room ? new Terminal() : new Plain();
}

function lookAround(lab: Lab): string[] {
  const enter = (node: string) => `nsenter --net=/run/netns/${lab.namespace(node)}`;
  const ctl = (node: string) => `  node dist/bin/splicectl.js -C ${lab.dir}/${node}/spliced.conf`;
  return [
    'The lab is left standing. To look around in it:',
    `${ctl('lb-b')} status`,
    `${ctl('lb-b')} dump internal`,
    `  cat ${lab.dir}/lb-b/bpf/spliced/table`,
    `  ${enter('client')} curl -s -o /dev/null -w '%{speed_download}\\n' http://10.1.0.100/get/sample-0`,
    `  ${enter('lb-b')} tcpdump -ni eth0`,
    `  ls ${lab.dir}/log`,
    'To remove it: npm run demo -- --clean',
  ];
}

/**
 * All that have begun when lb-a goes are under way then: a transfer takes longer than the beginning of
 * all of them. Where there are more, they begin over a longer time rather than faster.
 */
function paceFor(flows: number): { startsOverMs: number; transferMs: number } {
  const startsOverMs = Math.max(6000, (flows * 1000) / STARTS_PER_SECOND_MAX);
  return { startsOverMs, transferMs: startsOverMs + 2000 };
}

async function main(): Promise<number> {
  const o = options(process.argv.slice(2));
  if (o.clean) {
    const removed = removeLeftovers(true);
    console.log(`${removed} left-over ${removed === 1 ? 'lab' : 'labs'} removed`);
    return 0;
  }
  const missing = whatIsMissing();
  if (missing) throw new LabError('MISSING', missing);
  removeLeftovers(false);
  exitOnSignals();
  const lab = new Lab();
  const screen = screenFor(o);
  try {
    screen.begin();
    const result = await new Takeover(lab, screen, { ...o, ...paceFor(o.flows) }).run();
    screen.end(result);
    return holds(result) ? 0 : 1;
  } finally {
    if (o.keep) {
      lab.keep();
      console.error(lookAround(lab).join('\n'));
    }
    lab.remove();
  }
}

runProgram('demo', USAGE, main);
