#!/usr/bin/env node
/** switchd: the HTTP load balancer. Command line, signals, log. */
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { type Logger, pino } from 'pino';
import { ConfigError } from '../config/index.js';
import { spliceAvailable } from '../kernel/available.js';
import { endpointText, familyOf } from '../kernel/endpoint.js';
import { KernelError } from '../kernel/error.js';
import { loadSwitchConfig, type SwitchConfig, type VirtualServer } from './config.js';
import { Counters } from './counters.js';
import { backlogMax, connectionsMax } from './limits.js';
import { Presence } from './presence.js';
import { Switch } from './switch.js';
import { Throttle } from './throttle.js';

const CONFIG_DEFAULT = '/etc/switchd/switchd.conf';
const COUNTERS_EVERY_MS = 60_000;
/** timeout(1) and others send one signal twice: to the process, and to its group. */
const ONE_SIGNAL_MS = 500;
const USAGE = `usage: switchd [-f FILE] [-t]
  -f FILE   configuration (default ${CONFIG_DEFAULT})
  -t        check the configuration and exit: 0 right, 2 wrong
  -h        this text
signals: TERM, INT  stop: finish what is being set up, leave what is spliced to the kernel
         HUP        read FILE again; a wrong one changes nothing
         USR1       the counters into the log
`;

interface Arguments {
  file: string;
  check: boolean;
}

function readArguments(argv: string[]): Arguments {
  const { values } = parseArgs({
    args: argv,
    options: {
      file: { type: 'string', short: 'f', default: CONFIG_DEFAULT },
      test: { type: 'boolean', short: 't', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  return { file: values.file, check: values.test };
}

function usageError(error: unknown): never {
  process.stderr.write(`switchd: ${(error as Error).message}\n${USAGE}`);
  process.exit(2);
}

function readConfiguration(file: string): SwitchConfig {
  try {
    return loadSwitchConfig(file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(error.exitCode);
  }
}

function tellServed({ virtual }: SwitchConfig, log: Logger): void {
  for (const one of virtual) {
    const { scheduler, backlog, real } = one;
    const at = endpointText(one);
    log.info({ scheduler, backlog, real: real.length }, `serving ${at}`);
    if (backlog > backlogMax()) {
      log.warn(
        { backlog, somaxconn: backlogMax() },
        `listen_backlog is cut to net.core.somaxconn on ${at}`,
      );
    }
    if (lacksSource(one)) {
      log.warn(
        `real servers of ${at} are of the other family, and no source is given for it: their ` +
          'connections come from an address that does not move with the virtual one',
      );
    }
  }
}

const lacksSource = ({ address, source, real }: VirtualServer): boolean =>
  real.some((r) => familyOf(r.address) !== familyOf(address) && !source[familyOf(r.address)]);

/** A configuration that is wrong, or cannot be listened on, leaves everything as it was. */
async function reload(balancer: Switch, file: string, log: Logger): Promise<void> {
  try {
    const config = loadSwitchConfig(file);
    const reloaded = await balancer.reload(config);
    log.info(reloaded, `SIGHUP: ${file} is in force`);
    tellServed(config, log);
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof KernelError)) throw error;
    log.error(`SIGHUP: nothing is changed: ${error.message}`);
  }
}

async function serve(config: SwitchConfig, file: string): Promise<void> {
  const log = pino({ name: 'switchd' });
  const counters = new Counters();
  const throttle = new Throttle(() => performance.now());
  const presence = new Presence(log);
  const limit = connectionsMax(config.virtual.length);

  let balancer: Switch;
  try {
    balancer = await Switch.open(config, { counters, log, throttle, presence }, limit);
  } catch (error) {
    process.stderr.write(`switchd: ${(error as Error).message}\n`);
    process.exit(1);
  }
  tellServed(config, log);
  presence.set(spliceAvailable());
  log.info({ connectionsMax: limit }, 'ready');

  let told = '';
  const tell = (always: boolean) => {
    const { options } = balancer;
    const known = Object.keys(options).length > 0;
    const counts = { open: balancer.open, ...counters.all(), ...(known && { lacking: options }) };
    const text = JSON.stringify(counts);
    if (always || text !== told) log.info(counts, 'counters');
    told = text;
  };
  process.on('SIGHUP', () => reload(balancer, file, log));
  process.on('SIGUSR1', () => tell(true));
  setInterval(() => tell(false), COUNTERS_EVERY_MS);

  let stoppingSinceMs: number | undefined;
  const stop = async (signal: string) => {
    if (stoppingSinceMs !== undefined) {
      if (performance.now() - stoppingSinceMs > ONE_SIGNAL_MS) process.exit(1);
      return;
    }
    stoppingSinceMs = performance.now();
    log.info({ open: balancer.open }, `${signal}: stopping; once more to stop at once`);
    await balancer.stop();
    tell(true);
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
}

let args: Arguments;
try {
  args = readArguments(process.argv.slice(2));
} catch (error) {
  usageError(error);
}
const config = readConfiguration(args.file);
if (args.check) {
  const real = config.virtual.reduce((sum, virtual) => sum + virtual.real.length, 0);
  process.stdout.write(
    `${args.file}: right (virtual servers: ${config.virtual.length}, real servers: ${real})\n`,
  );
} else {
  await serve(config, args.file);
}
