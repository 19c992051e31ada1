// SPDX-License-Identifier: MIT
/** One run of an emulated machine: from switching it on until it switches itself off. */
import { type ChildProcess, spawn } from 'node:child_process';
import { consoleLines, isUp } from './console.js';
import { MachineError } from './error.js';
import type { Kernel } from './kernels.js';

export interface Hardware {
  initramfs: string;
  cpus: number;
  memoryMib: number;
}

export interface MachineOptions extends Hardware {
  deadlineSeconds: number;
  /** Called with each line on the console as it comes. */
  onLine: (line: string) => void;
}

export interface MachineRun {
  lines: string[];
  bootSeconds: number | undefined;
  seconds: number;
  /** Why it did not switch itself off; undefined when it did. */
  problem: string | undefined;
}

let running: ChildProcess | undefined;

/** Switches off the machine that is running, if one is. */
export function switchOff(): void {
  running?.kill('SIGKILL');
}

function share(tag: string, path: string): string[] {
  const options = 'security_model=none,readonly=on,multidevs=remap';
  return [
    ['-fsdev', `local,id=${tag},path=${path},${options}`],
    ['-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`],
  ].flat();
}

/**
 * What starts it. Emulated in software throughout: the processor's own support for virtual machines is
 * seldom to be had inside of one. It has no disk, and may read this machine's files, not write them.
 */
export function machineCommand(kernel: Kernel, { initramfs, cpus, memoryMib }: Hardware): string[] {
  return [
    ['qemu-system-x86_64', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', `${cpus}`],
    ['-m', `${memoryMib}M`, '-nodefaults', '-no-reboot', '-display', 'none'],
    ['-serial', 'stdio', '-kernel', kernel.image, '-initrd', initramfs],
    // the kernel panics when its first process ends, and -no-reboot makes that the end
    ['-append', 'console=ttyS0 quiet panic=-1 mitigations=off'],
    share('host', '/'),
    share('kernel', kernel.root),
  ].flat();
}

/** It has no network. */
export async function runMachine(kernel: Kernel, options: MachineOptions): Promise<MachineRun> {
  const started = performance.now();
  const elapsed = (): number => (performance.now() - started) / 1000;
  const [program, ...argv] = machineCommand(kernel, options);
  const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  running = child;
  let text = '';
  let complaints = '';
  let seen = 0;
  let bootSeconds: number | undefined;
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
    const complete = consoleLines(text.slice(0, text.lastIndexOf('\n') + 1)).slice(0, -1);
    for (const line of complete.slice(seen)) {
      if (isUp(line)) bootSeconds = elapsed();
      options.onLine(line);
    }
    seen = complete.length;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    switchOff();
  }, options.deadlineSeconds * 1000);
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) => reject(new MachineError(`qemu: ${error.message}`)));
    child.once('close', (code) => resolve(code));
  }).finally(() => {
    clearTimeout(timer);
    running = undefined;
  });
  let problem: string | undefined;
  if (late) problem = `not done after its deadline of ${options.deadlineSeconds} s`;
  else if (status !== 0) problem = `qemu ended with status ${status}: ${complaints.trim()}`;
  return { lines: consoleLines(text), bootSeconds, seconds: elapsed(), problem };
}
