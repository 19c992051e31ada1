/** All links of the configuration as the paths of one: docs/links.md. */
import { watchAddresses } from '../../kernel/addresses.js';
import { SyncError } from '../error.js';
import type { Link, LinkStats } from '../ports.js';
import { multicastPath } from './multicast.js';
import { type Path, pathName, type Receive } from './path.js';
import type { LinkSettings } from './settings.js';
import { tcpPath } from './tcp.js';
import { udpPath } from './udp.js';

/**
 * A link that has just been set up has its carrier, and with it its address, a moment later; that of
 * IPv6 when nobody else has been found to have it (RFC 4862 section 5.4).
 */
const START_MS = { 4: 2000, 6: 4000 } as const;
const START_LOOK_MS = 100;
/** However many addresses come and go at once, as those of a takeover do. */
const CHANGES_MS = 20;
/** For what rtnetlink does not tell, such as a port that has become free. */
const LOOK_MS = 1000;

export interface ClosableLink extends Link {
  readonly names: readonly string[];
  fault(path: number): string | undefined;
  close(): void;
}

export interface LinkOptions {
  /** How long to wait for interfaces that are not there. */
  readonly startMs?: number;
  /** Told, in a sentence each, which links are not there. */
  readonly warn?: (message: string) => void;
}

/**
 * Open all links; path 0 is the preferred one. With several, one whose interface is not there is
 * waited for, and taken when it comes.
 * @param receive is given each datagram, valid during the call, and the path that it has come by
 * @throws SyncError INTERFACE when none is there; GROUP or SOCKET when one cannot be set up
 */
export async function openLinks(
  settings: readonly LinkSettings[],
  receive: (datagram: Uint8Array, path: number) => void,
  options: LinkOptions = {},
): Promise<ClosableLink> {
  const ordered = [...settings].sort((a, b) => Number(b.preferred) - Number(a.preferred));
  const names = distinct(ordered.map(pathName));
  let closed = true; // nobody listens until it is returned
  const paths = ordered.map((one, index) =>
    createPath(one, (datagram) => {
      if (!closed) receive(datagram, index);
    }),
  );
  try {
    const families = ordered.map(({ family }) => START_MS[family]);
    await openAll(paths, names, { startMs: Math.max(...families), ...options });
  } catch (error) {
    for (const path of paths) path.close();
    throw error;
  }
  const look = throttled(CHANGES_MS, () => {
    for (const path of paths) path.look();
  });
  const watch = watchAddresses(look);
  const timer = setInterval(() => {
    for (const path of paths) if (path.fault !== undefined) path.look();
  }, LOOK_MS).unref();
  closed = false;
  return {
    mtu: Math.min(...paths.map((path) => path.mtu)),
    paths: paths.length,
    names,
    send: (datagram, path) => !closed && paths[path].send(datagram),
    fault: (path) => paths[path].fault,
    stats: () => prefixed(paths, names),
    close() {
      if (closed) return;
      closed = true;
      clearInterval(timer);
      watch.close();
      for (const path of paths) path.close();
    },
  };
}

function createPath(settings: LinkSettings, receive: Receive): Path {
  if (settings.kind === 'multicast') return multicastPath(settings, receive);
  return settings.kind === 'udp' ? udpPath(settings, receive) : tcpPath(settings, receive);
}

async function openAll(
  paths: readonly Path[],
  names: readonly string[],
  { startMs = 0, warn = () => {} }: LinkOptions,
): Promise<void> {
  const missing = new Map(paths.map((path, index) => [path, names[index]]));
  const deadline = performance.now() + startMs;
  for (;;) {
    const faults = new Map<string, SyncError>();
    for (const [path, name] of missing) {
      const fault = await attempt(path);
      if (fault) faults.set(name, fault);
      else missing.delete(path);
    }
    const [first] = faults.values();
    if (!first) return;
    if (performance.now() > deadline) {
      if (missing.size === paths.length) throw first;
      for (const [name, { message }] of faults) warn(`${name} is waited for: ${message}`);
      for (const path of missing.keys()) path.look();
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, START_LOOK_MS));
  }
}

/** @returns why its interface does not do @throws SyncError when something else is wrong */
async function attempt(path: Path): Promise<SyncError | undefined> {
  try {
    await path.open();
    return undefined;
  } catch (error) {
    if (error instanceof SyncError && error.code === 'INTERFACE') return error;
    throw error;
  }
}

/** Calls fn at once, and once more after what came within ms of that. */
function throttled(ms: number, fn: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let again = false;
  return () => {
    again = timer !== undefined;
    if (timer) return;
    fn();
    timer = setTimeout(() => {
      timer = undefined;
      if (again) fn();
    }, ms);
  };
}

/** Two links of one kind on one interface are told apart by their number. */
function distinct(names: readonly string[]): string[] {
  return names.map((name, index) => {
    const before = names.slice(0, index).filter((other) => other === name).length;
    return before > 0 ? `${name} #${before + 1}` : name;
  });
}

function prefixed(paths: readonly Path[], names: readonly string[]): LinkStats {
  return Object.fromEntries(
    paths.flatMap((path, index) =>
      Object.entries(path.stats()).map(([name, value]) => [`${names[index]} ${name}`, value]),
    ),
  );
}
