// spliced.conf as the daemon uses it: every default stands here and in docs/configuration.md.
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { loadConfig, type Problems, readConfig, type Section, types } from '../config/index.js';
import { Timeout, type TimeoutName } from '../kernel/record/layout.js';
import type { LinkSettings } from '../sync/transport/settings.js';
import { linkSettings } from './link-settings.js';
import { SCHEMA } from './schema.js';
import { type SyncSettings, syncSettings } from './sync-settings.js';

export const CONFIG_FILE_DEFAULT = '/etc/spliced/spliced.conf';
export const SOCKET_DEFAULT = '/run/spliced/spliced.ctl';

export interface KernelSettings {
  readonly interfaces: readonly string[];
  readonly tableSize: number; // splices
  readonly timeouts: Partial<Record<TimeoutName, number>>; // seconds
  readonly debugLevel: number;
  readonly pinPath: string;
  readonly cgroup: string;
}

export interface FailoverSettings {
  readonly guardTimeoutMs: number;
  readonly virtualAddresses: readonly string[];
  readonly trackFile: string | undefined;
  /** After a takeover senders are made to send at once. */
  readonly nudge: boolean;
  /** Words of the command line that lets go of the addresses or takes them; none: there is no such command. */
  readonly handoverCommand: readonly string[];
  readonly handoverCommandTimeoutMs: number;
  readonly fenceTimeoutMs: number;
  /** The words of its command line; none: there is no such command. */
  readonly fenceCommand: readonly string[];
  readonly fenceCommandTimeoutMs: number;
}

export interface Settings {
  readonly file: string;
  readonly nodeName: string;
  readonly hashLimit: number; // records in all caches of one kind
  readonly socketPath: string;
  readonly logFile: string | undefined;
  readonly nice: number;
  readonly sync: SyncSettings;
  readonly links: readonly LinkSettings[];
  /** Keys that seal what is sent between the nodes; unset: it is not sealed. */
  readonly keyFile: string | undefined;
  readonly kernel: KernelSettings;
  readonly failover: FailoverSettings;
}

/** Throws ConfigError with every problem of the file. */
export function loadSettings(file: string): Settings {
  return loadConfig(file, SCHEMA, {}, (root, problems) => settings(file, root, problems));
}

/** The same of a text. */
export function readSettings(file: string, text: string): Settings {
  return readConfig(file, text, SCHEMA, {}, (root, problems) => settings(file, root, problems));
}

function settings(file: string, root: Section, problems: Problems): Settings {
  const general = root.section('General');
  const sync = root.section('Sync');
  const kernel = kernelSettings(root.section('Kernel'), problems);
  return {
    file,
    nodeName: nodeName(general, problems),
    hashLimit: general.value('HashLimit', 1048576),
    socketPath: general.section('UNIX').value('Path', SOCKET_DEFAULT),
    logFile: general.value<string | false>('LogFile') || undefined,
    nice: general.value('Nice', -20),
    sync: syncSettings(sync, problems),
    links: linkSettings(sync, problems),
    keyFile: sync.section('Authentication').value('KeyFile'),
    kernel,
    failover: failoverSettings(root.section('Failover'), kernel, problems),
  };
}

function nodeName(general: Section, problems: Problems): string {
  const given = general.value<string>('NodeName');
  if (given !== undefined) return given;
  const host = hostname();
  if (types.name.parse(host) === undefined) {
    problems.add(
      general.at,
      `NodeName is missing, and the host's name cannot stand in for it: expected ${types.name.expected}`,
    );
  }
  return host;
}

function kernelSettings(kernel: Section, problems: Problems): KernelSettings {
  const interfaces = new Set<string>();
  for (const entry of kernel.all('Interface')) {
    entry.values.forEach((value, index) => {
      const name = value as string;
      if (interfaces.has(name)) {
        const at = entry.valuesAt[index] ?? entry.at;
        problems.add(at, `interface ${name} is named twice: expected each served interface once`);
      }
      interfaces.add(name);
    });
  }
  const timeouts: Partial<Record<TimeoutName, number>> = {};
  for (const name of Object.keys(Timeout) as TimeoutName[]) {
    const seconds = kernel.section('Timeouts').value<number>(name);
    if (seconds !== undefined) timeouts[name] = seconds;
  }
  return {
    interfaces: [...interfaces],
    tableSize: kernel.value('TableSize', 131072),
    timeouts,
    debugLevel: kernel.value('DebugLevel', 0),
    pinPath: kernel.value('PinPath', '/sys/fs/bpf/spliced'),
    cgroup: kernel.value<string>('Cgroup') ?? cgroupRoot(kernel, problems),
  };
}

/** Where the unified hierarchy is mounted, so that every process of the machine may splice. */
function cgroupRoot(kernel: Section, problems: Problems): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const root = mounts.map((line) => line.split(' ')).find((fields) => fields[2] === 'cgroup2')?.[1];
  if (root === undefined) {
    problems.add(
      kernel.at,
      'no cgroup2 is mounted: expected one (mount -t cgroup2 none DIR), or Cgroup with its path',
    );
  }
  return root ?? '';
}

function failoverSettings(
  failover: Section,
  kernel: KernelSettings,
  problems: Problems,
): FailoverSettings {
  const addresses = new Set<string>();
  for (const entry of failover.all('VirtualAddress')) {
    const address = entry.values[0] as string;
    if (addresses.has(address)) {
      problems.add(entry.at, `VirtualAddress ${address} is named twice: expected each one once`);
    }
    addresses.add(address);
    const dev = entry.options.dev?.[0] as string | undefined;
    if (dev !== undefined && !kernel.interfaces.includes(dev)) {
      const served = kernel.interfaces.join(', ');
      problems.add(entry.at, `${dev} is not a served interface: expected one of ${served}`);
    }
  }
  return {
    guardTimeoutMs: failover.value('GuardTimeout', 2) * 1000,
    virtualAddresses: [...addresses],
    trackFile: failover.value('TrackFile'),
    nudge: failover.value('Nudge', true),
    handoverCommand: command(failover, 'HandoverCommand', problems),
    handoverCommandTimeoutMs: failover.value('HandoverCommandTimeout', 5) * 1000,
    fenceTimeoutMs: failover.value('FenceTimeout', 0.03) * 1000,
    fenceCommand: command(failover, 'FenceCommand', problems),
    fenceCommandTimeoutMs: failover.value('FenceCommandTimeout', 10) * 1000,
  };
}

/** The words of a directive that is a command line: its first one says where the program is. */
function command(section: Section, name: string, problems: Problems): readonly string[] {
  const entry = section.one(name);
  if (!entry) return [];
  const words = entry.values as readonly string[];
  if (types.path.parse(words[0] as string) === undefined) {
    problems.add(
      entry.valuesAt[0] ?? entry.at,
      `${name} ${words[0]}: expected ${types.path.expected} of a program, and its arguments`,
    );
  }
  return words;
}
