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

export interface LabRun {
  result: Result;
  told: string[];
  /** Connections that a RST tore down, by the client's own kernel's count. */
  resets: number;
  remains: string[];
}

/** The demo at a size for tests: the same lab and the same death, with fewer and shorter transfers. */
export async function runTakeover(mode: Mode): Promise<LabRun> {
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.once(signal, () => process.exit(128 + number));
  }
  const lab = new Lab();
  try {
    const notes = new Notes();
    const size = { flows: 60, bytes: 1 << 20, transferMs: 4000, startsOverMs: 3000 };
    const result = await new Takeover(lab, notes, { mode, ...size }).run();
    const resets = establishedResets(lab.exec('client', 'cat', '/proc/net/snmp'));
    lab.remove();
    return { result, told: notes.told, resets, remains: remains(lab) };
  } finally {
    lab.remove();
  }
}

/** EstabResets of /proc/net/snmp (RFC 1213, tcpEstabResets). */
function establishedResets(snmp: string): number {
  const [names, values] = snmp.split('\n').filter((line) => line.startsWith('Tcp:'));
  const column = names.split(' ').indexOf('EstabResets');
  return Number(values.split(' ')[column]);
}
