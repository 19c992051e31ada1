// spliced.conf as a table. The names are conntrackd's where conntrackd has the directive. What the
// contract names and this version does not do yet is refused by name, never passed over.
import { type Directive, type Schema, types } from '../config/index.js';
import { plainAddress } from '../kernel/endpoint.js';
import { Timeout } from '../kernel/record/layout.js';
import { LINKS } from './link-settings.js';
import { MODE } from './sync-settings.js';

const LATER = 'not supported in this version';

function later(instead: string): Directive {
  return { refused: `${LATER}: ${instead}` };
}

const timeout = types.duration(1, 30 * 86400);

/** In its canonical form (RFC 5952), so that one address is one word wherever it is shown or compared. */
const virtualAddress: types.ValueType<string> = types.without(
  {
    expected: types.address.expected,
    parse: (text) => (types.address.parse(text) === undefined ? undefined : plainAddress(text)),
  },
  (address) =>
    /^fe[89ab]/.test(address)
      ? 'a link-local address says nothing without its link: expected an address that is routed'
      : undefined,
);

/** LogFile takes conntrackd's Yes and No as well as a path. */
export const LOG_FILE_DEFAULT = '/var/log/spliced.log';
const logFile: types.ValueType<string | false> = {
  expected: 'Yes, No or an absolute path',
  parse: (text) => {
    const flag = types.flag.parse(text);
    if (flag !== undefined) return flag ? LOG_FILE_DEFAULT : false;
    return types.path.parse(text);
  },
};

export const SCHEMA: Schema = {
  Sync: {
    required: true,
    block: {
      Mode: MODE,
      ...LINKS,
      Redis: later('use Multicast, UDP or TCP'),
      Authentication: { block: { KeyFile: { args: [types.path], required: true } } },
    },
  },
  Kernel: {
    required: true,
    block: {
      Interface: { rest: types.interfaceName, repeat: true, required: true },
      TableSize: { args: [types.integer(64, 1 << 23)] },
      Timeouts: {
        block: Object.fromEntries(Object.keys(Timeout).map((name) => [name, { args: [timeout] }])),
      },
      DebugLevel: { args: [types.integer(0, 3)] },
      PinPath: { args: [types.path] },
      Cgroup: { args: [types.path] },
    },
  },
  General: {
    block: {
      NodeName: { args: [types.name] },
      HashLimit: { args: [types.integer(64, 1 << 24)] },
      UNIX: { block: { Path: { args: [types.path], required: true } } },
      LogFile: { args: [logFile] },
      Nice: { args: [types.integer(-20, 19)] },
      Metrics: later('splicectl stats has the figures'),
      Syslog: later('use LogFile, or hand standard output to logger(1)'),
      Filter: later('every splice is replicated'),
    },
  },
  Failover: {
    block: {
      GuardTimeout: { args: [types.duration(0, 3600)] },
      VirtualAddress: {
        args: [virtualAddress],
        options: { dev: [types.interfaceName] },
        repeat: true,
      },
      TrackFile: { args: [types.path] },
      Nudge: { args: [types.flag] },
      HandoverCommand: { rest: types.word },
      HandoverCommandTimeout: { args: [types.duration(0.1, 60)] },
      FenceTimeout: { args: [types.duration(0, 60)] },
      FenceCommand: { rest: types.word },
      FenceCommandTimeout: { args: [types.duration(0.001, 600)] },
    },
  },
  Include: later('write everything in one file'),
};
