/** switchd's configuration: layer7switch's file, with what its users have come to expect since. */
import {
  type Entry,
  loadConfig,
  type Problems,
  positionText,
  readConfig,
  type Schema,
  type Section,
  types,
} from '../config/index.js';
import { type Family, familyOf, plainAddress } from '../kernel/endpoint.js';
import { REST_MS, type SchedulerName } from './schedule.js';

export const BACKLOG_DEFAULT = 1024;
const REAL_SERVERS_MAX = 1024;
const WEIGHT_MAX = 65_535;
/** What every host must take (RFC 9293 section 3.7.1), and the most that Linux lets one say. */
const MSS_MIN = 536;
const MSS_MAX = 32_767;

export interface RealServer {
  readonly address: string;
  readonly port: number;
  readonly weight: number;
}

export interface VirtualServer {
  readonly address: string;
  readonly port: number;
  readonly scheduler: SchedulerName;
  readonly backlog: number;
  /**
   * Source address of the server legs, by their family; without one, the address that the client came
   * to, or where that is of the other family, the one that the kernel chooses.
   */
  readonly source: Readonly<Partial<Record<Family, string>>>;
  /** Largest segment that clients are told to send; 0 leaves it to the path. */
  readonly mss: number;
  /** This node's share of local ports for the server legs, both included. */
  readonly ports: readonly [low: number, high: number] | undefined;
  readonly real: readonly RealServer[];
}

export interface SwitchConfig {
  readonly virtual: readonly VirtualServer[];
}

/** In its canonical form, so that one address is one word wherever it is shown or compared. */
const address = types.without(
  {
    expected: types.address.expected,
    parse: (text) => (types.address.parse(text) === undefined ? undefined : plainAddress(text)),
  },
  (text) =>
    /^fe[89ab]/.test(text)
      ? 'a link-local address says nothing without its link: expected an address that is routed'
      : undefined,
);

const realServer: Schema = {
  weight: { args: [types.integer(0, WEIGHT_MAX)] },
  check: {
    refused:
      'health checks are not there yet; without one, a real server that does not answer is ' +
      `passed over for ${REST_MS / 1000} s at a time`,
  },
};

const schema: Schema = {
  virtual_server: {
    args: [address, types.port],
    repeat: true,
    required: true,
    block: {
      schedule_rr: {},
      schedule_lc: {},
      listen_backlog: { args: [types.integer(1, 65_535)] },
      mss: { args: [types.integer(MSS_MIN, MSS_MAX)] },
      source: { args: [address], repeat: true },
      ports: { args: [types.integer(1024, 65_535), types.integer(1024, 65_535)] },
      real_server: {
        args: [address, types.port],
        repeat: true,
        required: true,
        block: realServer,
        blockOptional: true,
      },
    },
  },
};

const grammar = { comments: '!' };

export function loadSwitchConfig(file: string): SwitchConfig {
  return loadConfig(file, schema, grammar, build);
}

export function readSwitchConfig(file: string, text: string): SwitchConfig {
  return readConfig(file, text, schema, grammar, build);
}

function build(root: Section, problems: Problems): SwitchConfig {
  const entries = root.all('virtual_server');
  refuseTwins(entries, problems);
  return { virtual: entries.map((entry) => buildVirtual(entry, problems)) };
}

function buildVirtual(entry: Entry, problems: Problems): VirtualServer {
  const { block } = entry;
  const [address, port] = entry.values as [string, number];

  const rr = block.one('schedule_rr');
  const lc = block.one('schedule_lc');
  if (rr && lc) {
    problems.add(lc.at, 'schedule_lc beside schedule_rr: expected one scheduler');
  }

  const ports = block.one('ports');
  const range = ports?.values as [number, number] | undefined;
  if (ports && range && range[0] > range[1]) {
    problems.add(ports.valuesAt[1], `ports ${range[0]} to ${range[1]}: expected LOW before HIGH`);
  }

  const real = block.all('real_server');
  refuseTwins(real, problems);
  if (real.length > REAL_SERVERS_MAX) {
    problems.add(entry.at, `${real.length} real servers: expected at most ${REAL_SERVERS_MAX}`);
  }
  const servers = real.map((r) => ({
    address: r.values[0] as string,
    port: r.values[1] as number,
    weight: r.block.value<number>('weight', 1),
  }));
  if (servers.every((server) => server.weight === 0)) {
    problems.add(entry.at, 'every real server has weight 0: expected one that may serve');
  }

  return {
    address,
    port,
    scheduler: lc ? 'lc' : 'rr',
    backlog: block.value<number>('listen_backlog', BACKLOG_DEFAULT),
    source: sourcesOf(block.all('source'), problems),
    mss: block.value<number>('mss', 0),
    ports: range,
    real: servers,
  };
}

/** At most one for each family. */
function sourcesOf(entries: readonly Entry[], problems: Problems): VirtualServer['source'] {
  const sources: Partial<Record<Family, string>> = {};
  for (const { at, values } of entries) {
    const text = values[0] as string;
    const family = familyOf(text);
    if (sources[family] !== undefined) {
      problems.add(at, `source ${text}: expected at most one IPv${family} address`);
    }
    sources[family] ??= text;
  }
  return sources;
}

/** Two of the same address and port are a slip of the hand, not a weight. */
function refuseTwins(entries: readonly Entry[], problems: Problems): void {
  const first = new Map<string, Entry>();
  for (const entry of entries) {
    const key = entry.values.join(' ');
    const twin = first.get(key);
    if (twin) {
      const where = positionText(twin.at);
      problems.add(entry.at, `${entry.name} ${key} stands here twice: the first is at ${where}`);
    } else first.set(key, entry);
  }
}
