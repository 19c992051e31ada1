// SPDX-License-Identifier: MIT
/** A load balancer with a kernel of its own: an emulated machine on the lab's cables, told by its console. */
import type { ChildProcess } from 'node:child_process';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Lab, LabError } from '../lab/lab.js';
import { virtualServers } from '../lab/services.js';
import {
  addressesOf,
  addressOf,
  type BalancerName,
  plugTap,
  SYNC_GROUP,
  VIRTUAL_ADDRESSES,
} from '../lab/topology.js';
import { consoleLines } from '../machine/console.js';
import { makeInitramfs } from '../machine/initramfs.js';
import type { Kernel } from '../machine/kernels.js';
import { machineCommand } from '../machine/machine.js';
import { within } from '../support/within.js';
import { sleep } from './until.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const MEMORY_MIB = 1024;
const BOOT_MS = 600_000;
const ANSWER_MS = 600_000;
const PORTS: Record<BalancerName, string> = { 'lb-a': '20000 39999', 'lb-b': '40000 59999' };

export class Machine {
  readonly #directory: string;
  #child: ChildProcess | undefined;
  #text = '';
  #asked = 0;
  #waiting: { text: string; resolve: () => void }[] = [];

  constructor(
    readonly lab: Lab,
    readonly name: BalancerName,
  ) {
    this.#directory = join(ROOT, 'dist/machine/pair', name);
    mkdirSync(this.#directory, { recursive: true });
  }

  /** Resolves when it obeys. @param date of its hardware's clock, as qemu's -rtc base= takes it */
  async boot(kernel: Kernel, date: string): Promise<void> {
    const initramfs = join(this.#directory, 'initramfs');
    const COMMAND = 'bash test/nemesis/obey.sh';
    const machine = join(ROOT, 'test/machine');
    makeInitramfs(kernel, { ROOT, MACHINE: machine, COMMAND, SPLICED_PATIENCE: '10' }, initramfs);
    this.#writeConfiguration();
    const cables = addressesOf(this.name).flatMap(({ net, mac }) => [
      ...['-netdev', `tap,id=${net},ifname=${plugTap(this.lab, this.name, net)}`],
      ...['-device', `virtio-net-pci,netdev=${net},mac=${mac}`],
    ]);
    const quiet = cables.map((word) =>
      word.startsWith('tap,') ? `${word},script=no,downscript=no` : word,
    );
    const argv = machineCommand(kernel, { initramfs, cpus: 1, memoryMib: MEMORY_MIB });
    this.#child = this.lab.spawn('fabric', [...argv, ...quiet, '-rtc', `base=${date}`], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stdin?.on('error', () => {}); // it may have been switched off
    const log = join(this.#directory, 'console.log');
    writeFileSync(log, '');
    const hear = (piece: Buffer) => {
      appendFileSync(log, piece);
      this.#text += piece.toString();
      this.#waiting = this.#waiting.filter(({ text, resolve }) => {
        if (!this.#text.includes(text)) return true;
        resolve();
        return false;
      });
    };
    this.#child.stdout?.on('data', hear);
    this.#child.stderr?.on('data', hear);
    await this.#heard('machine: obeys', BOOT_MS);
    await this.#bringUp();
  }

  /** What the command says. @throws LabError when its status is not 0 */
  async ask(command: string): Promise<string> {
    const number = ++this.#asked;
    const from = this.#text.length;
    this.#child?.stdin?.write(`${number} ${command}\n`);
    const mark = `machine: answer ${number} `;
    await this.#heard(mark, ANSWER_MS);
    while (!this.#text.includes('\n', this.#text.indexOf(mark))) await sleep(10);
    const lines = consoleLines(this.#text.slice(from));
    const end = lines.findIndex((line) => line.startsWith(mark));
    const said = lines.slice(0, end).join('\n');
    if (lines[end] === `${mark}0`) return said;
    throw new LabError('COMMAND', `${this.name}: ${command}: ${said}`);
  }

  async splicectl(...words: string[]): Promise<string> {
    return this.ask(`node dist/bin/splicectl.js -S /run/spliced.ctl ${words.join(' ')}`);
  }

  /** Power goes. */
  switchOff(): void {
    this.#child?.kill('SIGKILL');
  }

  async addresses(here: boolean): Promise<void> {
    const word = here ? 'add' : 'del';
    const lines = VIRTUAL_ADDRESSES.map(
      ({ family, cidr, device }) =>
        `address ${word} ${cidr} dev ${device}${family === '6' && here ? ' nodad' : ''}`,
    );
    await this.ask(`printf '${lines.join('\\n')}\\n' | ip -batch -`);
  }

  #heard(text: string, ms: number): Promise<void> {
    if (this.#text.includes(text)) return Promise.resolve();
    const heard = new Promise<void>((resolve) => this.#waiting.push({ text, resolve }));
    return within(ms, `'${text.trim()}' on the console of ${this.name}`, heard);
  }

  async #bringUp(): Promise<void> {
    await this.ask('modprobe virtio_net && sleep 1');
    const lines = addressesOf(this.name).flatMap(({ lines }) => lines);
    await this.ask(`printf '${lines.join('\\n')}\\n' | ip -batch -`);
    const place = this.#directory.slice(ROOT.length + 1);
    const start = (program: string, option: string, file: string) =>
      this.ask(
        `(setsid node dist/${program}/main.js ${option} ${place}/${file} >/run/${program}.log 2>&1 &)`,
      );
    await start('daemon', '-C', 'spliced.conf');
    // by its log: in here every start of a program costs seconds
    await this.ask(
      "until grep -q '\"ready, with' /run/daemon.log; do pgrep -f daemon/main.js >/dev/null || break; sleep 1; done; " +
        "grep -q '\"ready, with' /run/daemon.log || { tail -n 5 /run/daemon.log; false; }",
    );
    await start('proxy', '-f', 'switchd.conf');
    await this.ask("until ss -Hltn | grep -q ':81 '; do sleep 1; done");
  }

  #writeConfiguration(): void {
    const text = `Sync {
  Mode FTFW { PurgeTimeout 10 }
  Multicast {
    IPv4_address ${SYNC_GROUP}
    Group 3780
    IPv4_interface ${addressOf(this.name, 'sync')}
    Interface eth2
  }
}
Kernel { Interface eth0 eth1 TableSize 1024 Timeouts { timewait 5 } }
General { NodeName ${this.name} UNIX { Path /run/spliced.ctl } }
Failover {
${VIRTUAL_ADDRESSES.map((a) => `  VirtualAddress ${a.address} dev ${a.device}`).join('\n')}
}
`;
    writeFileSync(join(this.#directory, 'spliced.conf'), text);
    writeFileSync(join(this.#directory, 'switchd.conf'), virtualServers(PORTS[this.name]));
  }
}

export const MACHINES = join(ROOT, 'dist/machine');
