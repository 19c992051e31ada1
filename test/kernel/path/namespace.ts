// SPDX-License-Identifier: MIT
/**
 * Network namespaces that this process steps into and out of, by setns(2). A socket belongs to the
 * namespace in which it was made, so one process can be client, proxy and server at once; and nothing
 * of a namespace outlives the process.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { errnoName } from '../../../kernel/error.js';
import { errno } from '../../../kernel/native.js';
import { testLibc } from './libc.js';

const CLONE_NEWNET = 0x40000000;

const here = (): number => openSync('/proc/thread-self/ns/net', 'r');

function enter(fd: number): void {
  if (testLibc.setns(fd, CLONE_NEWNET)) throw new Error(`setns: ${errnoName(errno())}`);
}

export class Namespace {
  readonly #fd: number;
  /** A name for it that any program of this machine can open. */
  readonly path: string;

  private constructor(fd: number) {
    this.#fd = fd;
    this.path = `/proc/${process.pid}/fd/${fd}`;
  }

  /** The one that this process is in. */
  static current(): Namespace {
    return new Namespace(here());
  }

  /** A new one, with its loopback interface up. */
  static make(): Namespace {
    const back = here();
    if (testLibc.unshare(CLONE_NEWNET)) throw new Error(`unshare: ${errnoName(errno())}`);
    const made = Namespace.current();
    enter(back);
    closeSync(back);
    made.ip('link set lo up');
    made.withoutDad();
    return made;
  }

  /** Links made from now on have IPv6 at once: nobody else can have their addresses (RFC 4862 section 5.4). */
  withoutDad(): void {
    this.sysctl('ipv6/conf/default/accept_dad', 0);
  }

  /** Do something in it that is over when it returns: what comes later happens outside. */
  run<T>(work: () => T): T {
    const back = here();
    enter(this.#fd);
    try {
      return work();
    } finally {
      enter(back);
      closeSync(back);
    }
  }

  /** Run a program in it. */
  exec(program: string, ...args: string[]): string {
    return this.run(() => execFileSync(program, args, { encoding: 'utf8' }));
  }

  /** Commands of ip(8), one a line, in one go. */
  ip(...lines: string[]): void {
    this.run(() => execFileSync('ip', ['-batch', '-'], { input: `${lines.join('\n')}\n` }));
  }

  /** Rules of nft(8), in place of those that are there. */
  filter(rules: string): void {
    this.run(() => execFileSync('nft', ['-f', '-'], { input: `flush ruleset\n${rules}\n` }));
  }

  sysctl(name: string, value: number | string): void {
    this.run(() => writeFileSync(`/proc/sys/net/${name}`, `${value}`));
  }

  readSysctl(name: string): string {
    return this.run(() => readFileSync(`/proc/sys/net/${name}`, 'utf8').trim());
  }
}
