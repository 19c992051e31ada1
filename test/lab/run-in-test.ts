import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { Mode, Result } from './account.js';
import { Lab } from './lab.js';
import type { Screen } from './screen.js';
import { Takeover } from './takeover.js';

/** Keeps what happened, for the report of a test that fails. */
class Notes implements Screen {
  readonly told: string[] = [];
  begin(): void {}
  show(): void {}
  end(): void {}
  tell(text: string): void {
    this.told.push(text);
  }
}

/** What of a lab can still be found on this machine. */
function remains(lab: Lab): string[] {
  const found = [lab.dir, lab.cgroup].filter((path) => existsSync(path));
  for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : []) {
    if (name.startsWith(lab.namespace(''))) found.push(name);
  }
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return [...found, ...mounts.filter((line) => line.includes(`${lab.dir}/`))];
}

/** What every test of a lab wants to know beside its own result. */
interface Aftermath {
  /** Connections that a RST tore down, by the client's own kernel's count. */
  resets: number;
  remains: string[];
}

/** Builds a lab, lets body work in it, and removes it whatever happens. */
export async function inLab<T>(body: (lab: Lab) => Promise<T>): Promise<T & Aftermath> {
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.once(signal, () => process.exit(128 + number));
  }
  const lab = new Lab();
  try {
    const result = await body(lab);
    const resets = establishedResets(lab.exec('client', 'cat', '/proc/net/snmp'));
    lab.remove();
    return { ...result, resets, remains: remains(lab) };
  } finally {
    lab.remove();
  }
}

export interface LabRun extends Aftermath {
  result: Result;
  told: string[];
}

/** The demo at a size for tests: the same lab and the same death, with fewer and shorter transfers. */
export function runTakeover(mode: Mode): Promise<LabRun> {
  return inLab(async (lab) => {
    const notes = new Notes();
    const size = { flows: 60, bytes: 1 << 20, transferMs: 4000, startsOverMs: 3000 };
    const result = await new Takeover(lab, notes, { mode, family: 'both', ...size }).run();
    return { result, told: notes.told };
  });
}

/** EstabResets of /proc/net/snmp (RFC 1213, tcpEstabResets). */
function establishedResets(snmp: string): number {
  const [names, values] = snmp.split('\n').filter((line) => line.startsWith('Tcp:'));
  const column = names.split(' ').indexOf('EstabResets');
  return Number(values.split(' ')[column]);
}
