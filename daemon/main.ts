#!/usr/bin/env node
// spliced, the daemon: its command line, its signals, its exit status.
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { ConfigError } from '../config/index.js';
import { CONFIG_FILE_DEFAULT, loadSettings, type Settings } from './config.js';
import { reportFailure, reportReady, startDetached } from './daemonize.js';
import { DaemonError } from './error.js';
import { loadKeys } from './key-file.js';
import { type Log, openLog } from './log.js';
import { LOG_FILE_DEFAULT } from './schema.js';

const USAGE = `usage: spliced [-C FILE] [-d] [-t]
  -C, --config FILE   configuration (default ${CONFIG_FILE_DEFAULT})
  -d, --daemonize     go to the background when ready; the log goes to a file
  -t, --test          check the configuration and exit
  -h, --help          this text`;

/**
 * What is young on the heap is little, and swept in a millisecond; but with helpers the event loop waits for
 * threads that a busy machine lets run ten milliseconds later.
 */
setFlagsFromString('--no-parallel-scavenge');

/** What keeps the daemon from starting: configuration, privileges, kernel, another daemon. */
const EXIT_CANNOT_START = 2;
const EXIT_BROKEN = 1;

interface Options {
  readonly config: string;
  readonly daemonize: boolean;
  readonly test: boolean;
  readonly help: boolean;
}

function options(args: string[]): Options {
  try {
    const { values } = parseArgs({
      args,
      options: {
        config: { type: 'string', short: 'C' },
        daemonize: { type: 'boolean', short: 'd' },
        test: { type: 'boolean', short: 't' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    return {
      config: values.config ?? CONFIG_FILE_DEFAULT,
      daemonize: values.daemonize ?? false,
      test: values.test ?? false,
      help: values.help ?? false,
    };
  } catch (error) {
    throw new DaemonError('USAGE', `${(error as Error).message}\n${USAGE}`);
  }
}

async function main(args: string[]): Promise<void> {
  const chosen = options(args);
  if (chosen.help) {
    process.stdout.write(`${USAGE}\n`);
    return;
  }
  const settings = loadSettings(chosen.config);
  if (settings.keyFile !== undefined) loadKeys(settings.keyFile);
  if (chosen.test) {
    process.stdout.write(`${chosen.config}: the configuration is good\n`);
    return;
  }
  if (chosen.daemonize) {
    await startDetached(fileURLToPath(import.meta.url), ['-C', chosen.config]);
    return;
  }
  await serve(settings);
}

async function serve(settings: Settings): Promise<void> {
  // Nobody reads the standard output of a process that -d has started.
  const logFile = settings.logFile ?? (process.connected ? LOG_FILE_DEFAULT : undefined);
  const { log, counters, reopen } = openLog(logFile, settings.nodeName);
  // Loaded late: it opens libbpf, which checking a file (-t) does not need.
  const { Daemon } = await import('./daemon.js');
  // A takeover happens when the machine is busiest: it must not wait for its own proxy.
  setPriority(settings.nice);
  const daemon = new Daemon(settings, log, counters);
  let serving = false;
  surviveNothing(log);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      log.info({ signal }, 'stopping; the splices go on');
      // Whatever a start hangs in, it can be ended; the next one adopts what it finds.
      if (!serving) process.exit(EXIT_CANNOT_START);
      void daemon.stop();
    });
  }
  process.on('SIGHUP', () => {
    reopen();
    daemon.reload();
  });
  await daemon.start();
  serving = true;
  reportReady();
}

/**
 * An error that nobody expected: said, and then the end. The kernel's table stays as it is, and the
 * next daemon picks it up; one that goes on with half a state would replicate it.
 */
function surviveNothing(log: Log): void {
  process.on('uncaughtException', (error, origin) => {
    log.fatal({ error: { message: error.message, stack: error.stack }, origin }, 'internal error');
    process.exit(EXIT_BROKEN);
  });
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const message = error instanceof Error ? error.message : String(error);
  const expected = error instanceof Error && error.name !== 'Error' && error.name !== 'TypeError';
  const text = expected || !(error instanceof Error) ? message : (error.stack ?? message);
  process.stderr.write(error instanceof ConfigError ? `${text}\n` : `spliced: ${text}\n`);
  reportFailure(text);
  process.exitCode = expected ? EXIT_CANNOT_START : EXIT_BROKEN;
});
